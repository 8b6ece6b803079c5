"""Real crash dumps of real kernels, made in QEMU on first use and kept in the user's cache.

Entry point: `real_dump`. Everything that can go wrong is a HarnessError whose text says why.
"""

from .errors import HarnessError
from .product import RealDump, real_dump

__all__ = ["HarnessError", "RealDump", "real_dump"]
