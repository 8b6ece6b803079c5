"""The architectures whose tasks and processes are understood."""

from typing import Dict, Tuple, Type

from .arch import Architecture
from .arch_aarch64 import Aarch64
from .arch_riscv64 import Riscv64
from .arch_x86_64 import X86_64

KNOWN: Tuple[Type[Architecture], ...] = (X86_64, Aarch64, Riscv64)
ARCHITECTURES: Dict[str, Type[Architecture]] = {arch.gdb_name: arch for arch in KNOWN}
