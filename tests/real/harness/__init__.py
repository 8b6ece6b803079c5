"""Real crash dumps of real kernels, made in QEMU on first use and kept in the user's cache.

Entry points: `real_dump`, and `catalogue` for what there is. Everything that can go wrong is a
HarnessError whose text says why.
"""

from .catalogue import Wanted, all_dumps, catalogue
from .errors import HarnessError
from .product import RealDump, real_dump

__all__ = ["HarnessError", "RealDump", "Wanted", "all_dumps", "catalogue", "real_dump"]
