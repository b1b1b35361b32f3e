"""model in, proved bundle out."""

from osparse.packager.packing import package
from osparse.packager.verifying import Check, Verification, verify

__all__ = ["Check", "Verification", "package", "verify"]
