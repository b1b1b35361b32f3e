"""osparse: from raw text to proved learned sparse retrieval on OpenSearch.

The rooms hold the work: ``osparse.corpus``, ``osparse.trainer``, ``osparse.packager``, ``osparse.deployer``,
``osparse.retrieval``. This package holds what two of them share; importing it imports nothing heavy.

Importing it also sets OMP_WAIT_POLICY=PASSIVE for this process and its children, unless the environment says how
OpenMP's threads are to wait; see :mod:`osparse.threads`.
"""

from osparse.threads import wait_without_spinning

__version__ = "0.1.0"
__all__ = ["__version__"]

wait_without_spinning()
