"""How an architecture is declared: registers, target-description features, layouts."""

from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, Type
from typing import Union as Either

from ..address_space import USER_END, AddressSpace, ByteOrder
from ..vmcoreinfo import Vmcoreinfo
from .frames import EntryCode
from .paging import Paging
from .task_state import TaskState


class Flags(NamedTuple):
    """A flags type of a target description (GDB manual, "Target Description Format").

    `bits` maps a flag's name to its bit number; `size` is in bytes. `numbers` are fields of more
    bits: name, first and last bit.
    """

    id: str
    size: int
    bits: Tuple[Tuple[str, int], ...]
    numbers: Tuple[Tuple[str, int, int], ...] = ()


def named_bits(text: str) -> Tuple[Tuple[str, int], ...]:
    """Return the names and bit numbers in "NAME:BIT NAME:BIT ..."."""
    pairs = (word.split(":") for word in text.split())
    return tuple((name, int(bit)) for name, bit in pairs)


class Vector(NamedTuple):
    """A vector type: `length` elements of the type named `element`."""

    id: str
    element: str
    length: int


class Union(NamedTuple):
    """A union type: field name to type name."""

    id: str
    fields: Tuple[Tuple[str, str], ...]


TypeDefinition = Either[Flags, Vector, Union]


class Register(NamedTuple):
    """One register as gdb knows it; `bits` is its width, `type` gdb's type name.

    `group` is gdb's register group where it is not the default. `dwarf` is the
    number of the psABI's DWARF mapping, where it has one; `role` names what LLDB
    calls a generic register: pc, sp, fp, ra, flags or argN.
    """

    name: str
    bits: int
    type: str = "int"
    group: Optional[str] = None
    dwarf: Optional[int] = None
    role: Optional[str] = None

    @property
    def size(self) -> int:
        """Width in bytes, as it stands in a `g` packet."""
        return self.bits // 8


class Feature(NamedTuple):
    """A feature of a target description: a named, ordered group of registers.

    Names and the registers each must have are fixed by the GDB manual, appendix
    "Standard Target Features".
    """

    name: str
    registers: Tuple[Register, ...]
    types: Tuple[TypeDefinition, ...] = ()


class Slot(NamedTuple):
    """Where a register lies in a layout: its number, and the bytes from `offset` to `end`."""

    register: Register
    number: int
    offset: int
    end: int


class RegisterLayout:
    """The registers of one view, numbered and laid out as in a `g` packet.

    gdb numbers registers in the order in which the target description names
    them, so the order of `features` is the layout.
    """

    def __init__(self, features: Tuple[Feature, ...], byte_order: ByteOrder) -> None:
        self.features = features
        self.byte_order: ByteOrder = byte_order
        slots: List[Slot] = []
        offset = 0
        for feature in features:
            for register in feature.registers:
                end = offset + register.size
                slots.append(Slot(register, len(slots), offset, end))
                offset = end
        self.slots = tuple(slots)
        self.size = offset
        self.by_name: Mapping[str, Slot] = {slot.register.name: slot for slot in slots}
        if len(self.by_name) != len(slots):
            raise ValueError("two registers of one layout have the same name")


class NoteLayout(NamedTuple):
    """Where registers lie in a note of a CPU: gdb's name, offset and width in bytes of each.

    `size` is that of the descriptor, `pid_at` the offset of its 32-bit pid, where it has one.
    """

    size: int
    registers: Tuple[Tuple[str, int, int], ...]
    pid_at: Optional[int] = None


def prstatus(names: str) -> NoteLayout:
    """Return the layout of struct elf_prstatus of a 64-bit kernel (include/linux/elfcore.h).

    `names` are those of elf_gregset_t, one for each 64-bit word of it, "-" for one that gdb
    does not know. The registers follow on 112 bytes, pr_fpvalid and its padding on them.
    """
    words = names.split()
    registers = tuple((name, 112 + 8 * i, 8) for i, name in enumerate(words) if name != "-")
    return NoteLayout(112 + 8 * len(words) + 8, registers, pid_at=32)


class Vdso(NamedTuple):
    """Kernel symbols that tell where the vDSO of a process is in the kernel's memory.

    Either `image`, a struct vdso_image, which begins with the address and the size (x86:
    arch/x86/include/asm/vdso.h), or the symbols at its beginning and its end.
    """

    image: str = ""
    start: str = ""
    end: str = ""


class Process(NamedTuple):
    """What is special about a user process.

    `thread_pointer` names the register that holds it (glibc, sysdeps/*/nptl/tls.h), or the two
    with a half each, the upper first; with
    `tls_below` it is the address of struct pthread and the static blocks lie below it (variant
    II of "ELF Handling For Thread-Local Storage"), else both are above it (variant I).
    `is_user_mode` tells from a CPU's registers, whose pc is a user address, whether they are of
    user mode; without it the pc is enough. `zero_if_unknown` are registers that notes leave at 0
    where they do not know them.
    """

    thread_pointer: str = ""
    tls_below: bool = False
    is_user_mode: Optional[Callable[[Mapping[str, int]], bool]] = None
    zero_if_unknown: Tuple[str, ...] = ()
    vdso: Optional[Vdso] = None


# From VMCOREINFO and the kernel's memory: the run-time address of vmlinux's first PT_LOAD, or
# None where it cannot be proved.
FirstSegment = Callable[[Vmcoreinfo, AddressSpace], Optional[int]]
# From a kernel's registers to those of one of its 32-bit processes, by gdb's names.
FromKernel = Callable[[Mapping[str, int]], Dict[str, int]]


class Arch:
    """One architecture of a dumped kernel, declared as data.

    `name` is the kernel's (`uname -m`) name, `aliases` are others for it, `gdb_name` is the one
    of gdb's target descriptions, `pointer_size` is in bytes. `features` are always there;
    `optional` ones (floating point, vectors) only in views that have their values; the key of
    `extends` comes with its value (gdb wants sse with avx). `dump_names` maps names used by
    dumps and sidecars to gdb's. `vmcoreinfo_marks` are VMCOREINFO keys that no other
    architecture writes. `kdumpfile_name` is what libkdumpfile calls the architecture and its page
    tables, "" where it does not know it.

    `paging` tells how page tables are walked, `entry_flags` the flags of their entries: name and
    bit. `prstatus` is the CPUs' NT_PRSTATUS note, `qemu_note` the one that QEMU puts beside it,
    `fp_note` its NT_FPREGSET. `image_base` is what the kernel's linker script takes off its
    virtual addresses to make load addresses of them; `first_symbol` is at vmlinux's first
    PT_LOAD, and `first_segment` finds that without symbols.

    By VMCOREINFO, `machine_registers` are values that all threads of a machine have, by gdb's
    names, and `addressing_bits` is how many bits of an address count where those above may hold
    an authentication code. `has_orc` says that its kernels carry ORC tables as
    `domain.symbols.orc` reads them; where they have none, `entry_code` knows how entry code is
    left. `spare_address` is one where neither a kernel nor a process can have anything.
    `return_address_at` are the offsets in struct inactive_task_frame at which the return address
    can be.

    `compat_of` is the name of the architecture whose kernel runs this one's programs, and
    `from_kernel` renames the registers that it keeps for them, where more than names differ.
    `kernel_start` is the first address that the kernel's page tables map, the upper half's but
    where kernel and processes have an address space each. `clean_pointer` takes an address as a
    pointer holds it to the address itself, and `task_state` knows what the kernel keeps of a
    task, None where tasks cannot be read.
    """

    def __init__(
        self,
        *,
        name: str,
        gdb_name: str,
        pointer_size: int,
        features: Tuple[Feature, ...],
        pc: str,
        sp: str,
        elf_machine: int,
        byte_order: ByteOrder = "little",
        osabi: str = "GNU/Linux",
        aliases: Tuple[str, ...] = (),
        optional: Optional[Mapping[str, Feature]] = None,
        extends: Optional[Mapping[str, str]] = None,
        dump_names: Optional[Mapping[str, str]] = None,
        vmcoreinfo_marks: Tuple[str, ...] = (),
        triple: str = "",
        kdumpfile_name: str = "",
        paging: Optional[Paging] = None,
        entry_flags: Tuple[Tuple[str, int], ...] = (),
        prstatus: Optional[NoteLayout] = None,
        qemu_note: Optional[NoteLayout] = None,
        fp_note: Optional[NoteLayout] = None,
        image_base: int = 0,
        first_symbol: str = "_text",
        first_segment: Optional[FirstSegment] = None,
        machine_registers: Callable[[Vmcoreinfo], Dict[str, int]] = lambda info: {},
        addressing_bits: Callable[[Vmcoreinfo], Optional[int]] = lambda info: None,
        has_orc: bool = False,
        entry_code: Optional[EntryCode] = None,
        spare_address: int = 0,
        return_address_at: Tuple[int, ...] = (),
        process: Process = Process(),  # noqa: B008
        compat_of: str = "",
        from_kernel: Optional[FromKernel] = None,
        kernel_start: int = USER_END,
        clean_pointer: Callable[[int], int] = lambda address: address,
        task_state: Optional[Type[TaskState]] = None,
    ) -> None:
        self.name = name
        self.gdb_name = gdb_name
        self.pointer_size = pointer_size
        self.features = features
        self.pc = pc
        self.sp = sp
        self.elf_machine = elf_machine
        self.byte_order: ByteOrder = byte_order
        self.osabi = osabi
        self.aliases = aliases
        self.optional: Mapping[str, Feature] = optional or {}
        self.extends: Mapping[str, str] = extends or {}
        self.dump_names: Mapping[str, str] = dump_names or {}
        self.vmcoreinfo_marks = vmcoreinfo_marks
        self.triple = triple
        self.kdumpfile_name = kdumpfile_name
        self.paging = paging
        self.entry_flags = entry_flags
        self.prstatus = prstatus
        self.qemu_note = qemu_note
        self.fp_note = fp_note
        self.image_base = image_base
        self.first_symbol = first_symbol
        self.first_segment = first_segment
        self.machine_registers = machine_registers
        self.addressing_bits = addressing_bits
        self.has_orc = has_orc
        self.entry_code = entry_code
        self.spare_address = spare_address
        self.return_address_at = return_address_at
        self.process = process
        self.compat_of = compat_of
        self.from_kernel = from_kernel
        self.kernel_start = kernel_start
        self.clean_pointer = clean_pointer
        self.task_state = task_state
        self.pointer_mask = (1 << (8 * pointer_size)) - 1  # the largest address
        self._layouts: Dict[Tuple[str, ...], RegisterLayout] = {}

    def __repr__(self) -> str:
        return f"Arch({self.name})"

    def layout(self, *optional: str) -> RegisterLayout:
        """Return the layout with the named optional features; KeyError for unknown ones."""
        if optional not in self._layouts:
            features = self.features + tuple(self.optional[name] for name in optional)
            self._layouts[optional] = RegisterLayout(features, self.byte_order)
        return self._layouts[optional]

    def layout_for(self, names: Iterable[str]) -> RegisterLayout:
        """Return the layout with those optional features that have one of the named registers.

        A feature whose registers extend another's comes with that one.
        """
        there = set(names)
        wanted: List[str] = []
        for key, feature in reversed(list(self.optional.items())):
            has_some = any(register.name in there for register in feature.registers)
            if has_some or any(self.extends.get(other) == key for other in wanted):
                wanted.insert(0, key)
        return self.layout(*wanted)

    def gdb_register(self, name: str) -> str:
        """Return gdb's name of a register that a dump or a sidecar calls `name`."""
        return self.dump_names.get(name, name)

    def is_user_mode(self, registers: Mapping[str, int]) -> bool:
        """Whether a CPU's registers, by gdb's names, are of user mode."""
        pc = registers.get(self.pc)
        if pc is None or pc >= USER_END:
            return False
        test = self.process.is_user_mode
        return test is None or test(registers)

    def note_registers(
        self, layout: NoteLayout, descriptor: bytes, byte_order: Optional[ByteOrder] = None
    ) -> Dict[str, int]:
        """Return the registers of a note by gdb's names, unsigned.

        Notes keep segment registers and flags in 64 bits; what the architecture defines of
        them fits gdb's narrower registers.
        """
        slots = self.layout().by_name
        values: Dict[str, int] = {}
        for name, offset, size in layout.registers:
            value = int.from_bytes(
                descriptor[offset : offset + size], byte_order or self.byte_order
            )
            slot = slots.get(name)
            values[name] = value & ((1 << slot.register.bits) - 1) if slot else value
        return values
