"""osparse: from raw text to proved learned sparse retrieval on OpenSearch.

The rooms hold the work: ``osparse.corpus``, ``osparse.trainer``, ``osparse.packager``, ``osparse.deployer``,
``osparse.retrieval``. This package holds what two of them share; importing it imports nothing heavy.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
