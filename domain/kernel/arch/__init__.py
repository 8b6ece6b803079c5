"""What the kernel keeps of registers, by architecture: those whose tasks and processes we read."""

from typing import Dict, Tuple, Type

from .aarch64 import Aarch64
from .architecture import Architecture
from .ppc64le import Ppc64le
from .riscv64 import Riscv64
from .s390x import S390x
from .x86_64 import X86_64

KNOWN: Tuple[Type[Architecture], ...] = (X86_64, Aarch64, Riscv64, Ppc64le, S390x)
BY_NAME: Dict[str, Type[Architecture]] = {arch.name: arch for arch in KNOWN}
ARCHITECTURES: Dict[str, Type[Architecture]] = {arch.gdb_name: arch for arch in KNOWN}
