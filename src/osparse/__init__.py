"""osparse trains, packages, deploys and evaluates learned sparse retrieval on OpenSearch.

    import osparse
    bundle = osparse.package("build/model", "build/bundle")

``__init__.pyi`` lists what is public; each name is imported when it is first used, so that this import is quick. It
also sets OMP_WAIT_POLICY=PASSIVE for this process and its children, unless the environment says how OpenMP's threads
are to wait; see :mod:`osparse.runtime.openmp`.
"""

import lazy_loader

from osparse.runtime.openmp import wait_without_spinning

__version__ = "0.2.0"

wait_without_spinning()
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
