from .checks.registry import Check
from .make_bundle import package
from .verify_bundle import Verification, verify

__all__ = [
    "Check",
    "Verification",
    "package",
    "verify",
]
