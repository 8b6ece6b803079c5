"""Commands for gdb connected to kdump-gdbserver's kernel view: `source KdumpGdbCommands.py`.

    kdump-kernel-ps                     list every task
    kdump-save-kernel-json FILE         save the tasks, for `kdump-gdbserver -k FILE`
    kdump-save-process-json FILE PID    save one process, for `kdump-gdbserver -j FILE`

`help COMMAND` tells more. The file needs nothing but gdb with Python 3.6 or newer, the dump's
vmlinux, and a connection; it reads and never writes the target.

Once sourced it also lets gdb's backtraces pass from a CPU's interrupt stack to the stack that
was interrupted, on x86_64 (`info unwinder` lists it as kdump-interrupt-stacks).

Everything here lands in the one name space that all scripts sourced in gdb share, hence the
prefix on every name. The parts, from the bottom up:

    memory and layouts    bytes of the target, and where a structure keeps its members
    kernel structures     lists and the pid tree, walked so that a torn one does no harm
    architectures         what the scheduler saves of a task's registers
    the kernel            symbols, CPUs, tasks
    processes             mappings, paths, user registers, signals of one
    interrupt stacks      the frame of a function that changed stacks
    files                 the sidecar's text, written all or nothing
    commands              what the user types

Facts about the kernel are from its source; file names below are paths in it.
"""

# ruff: noqa: N999  (users know the file by this name)
import contextlib
import json
import os
import pathlib
import re
import struct
import tempfile
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Set,
    Tuple,
)

if TYPE_CHECKING:
    gdb: Any  # type checkers would take this file's folder for gdb's module
else:
    import gdb
    import gdb.unwinder

# ------------------------------------------------------------------------------ errors


class KdumpError(Exception):
    """Something the user is told in one line; the command ends."""


class KdumpUnreadable(KdumpError):
    """The dump does not hold the memory at `address`."""

    def __init__(self, address: int, size: int) -> None:
        super().__init__("cannot read %d bytes at 0x%x" % (size, address))
        self.address = address


class KdumpCorrupt(KdumpError):
    """A kernel structure contradicts itself; what was read before it still counts."""


# ------------------------------------------------------------------------------ memory and layouts


class KdumpMemory:
    """The target's memory.

    `fetch(address, size)` returns exactly `size` bytes or raises KdumpUnreadable; `clean` takes
    an address as a pointer holds it to the address itself (see KdumpAarch64.clean).
    """

    def __init__(
        self,
        fetch: Callable[[int, int], bytes],
        byte_order: Any = "little",
        pointer_size: int = 8,
        clean: Optional[Callable[[int], int]] = None,
    ) -> None:
        self._fetch = fetch
        self.byte_order = byte_order
        self.pointer_size = pointer_size
        self.clean = clean or (lambda address: address)

    def fetch(self, address: int, size: int) -> bytes:
        return self._fetch(address % 2**64, size)  # a bad pointer less an offset may be negative

    def integer(self, address: int, size: int) -> int:
        return int.from_bytes(self.fetch(address, size), self.byte_order)

    def pointer(self, address: int) -> int:
        return self.clean(self.integer(address, self.pointer_size))

    def string(self, address: int, limit: int = 4096) -> bytes:
        """The bytes from `address` up to a NUL, at most `limit`.

        Never asks for a byte of the page behind the one that holds the NUL.
        """
        text = b""
        while len(text) < limit:
            at = address + len(text)
            text += self.fetch(at, min(128, 128 - at % 128))
            if b"\0" in text:
                break
        return text.split(b"\0", 1)[0][:limit]

    def words(self, address: int, count: int) -> List[int]:
        """`count` unsigned integers of pointer size from `address` on."""
        return self.split(self.fetch(address, self.pointer_size * count))

    def split(self, data: bytes) -> List[int]:
        """The unsigned integers of pointer size in `data`."""
        size = self.pointer_size
        return [
            int.from_bytes(data[at : at + size], self.byte_order)
            for at in range(0, len(data) - size + 1, size)
        ]


class KdumpMember:
    """Where one member lies: `offset` and `size` in bytes; `kind` is int, pointer or bytes."""

    __slots__ = ("kind", "offset", "size")

    def __init__(self, offset: int, size: int, kind: str = "int") -> None:
        self.offset = offset
        self.size = size
        self.kind = kind


class KdumpLayout:
    """The members of a structure that we read, all in one request to the target.

    One large read is much cheaper than one small read for each member: each read is a packet to
    the server and back.
    """

    def __init__(self, size: int, members: Dict[str, KdumpMember]) -> None:
        self.size = size
        self.members = members
        self.low = min(m.offset for m in members.values())
        self.high = max(m.offset + m.size for m in members.values())

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def offset(self, name: str) -> int:
        return self.members[name].offset

    def read(self, memory: KdumpMemory, address: int) -> Dict[str, Any]:
        """{member: value} of the structure at `address`; arrays come as bytes."""
        data = memory.fetch(address + self.low, self.high - self.low)
        return self.decode(memory, data)

    def decode(self, memory: KdumpMemory, data: bytes) -> Dict[str, Any]:
        """The same from `data`, which begins with the first byte of the first member."""
        values: Dict[str, Any] = {}
        for name, member in self.members.items():
            start = member.offset - self.low
            piece = data[start : start + member.size]
            if member.kind == "bytes":
                values[name] = piece
            else:
                number = int.from_bytes(piece, memory.byte_order)
                values[name] = memory.clean(number) if member.kind == "pointer" else number
        return values


# ------------------------------------------------------------------------------ kernel structures


def kdump_list(head: int, first: int, next_of: Callable[[int], int], what: str) -> Iterator[int]:
    """Yield the nodes of a circular list (include/linux/list.h), without its head.

    `first` is the first node and `next_of(node)` the one after `node`. A list that loops or
    leads to unreadable memory raises KdumpCorrupt, after all nodes before that point.
    """
    seen = {head}
    node = first
    while node != head:
        if node in seen:
            raise KdumpCorrupt("%s: loops back to 0x%x" % (what, node))
        seen.add(node)
        yield node
        try:
            node = next_of(node)
        except KdumpUnreadable as error:
            raise KdumpCorrupt("%s: torn: %s" % (what, error)) from None


class KdumpRadixTree:
    """Walks an IDR's tree (include/linux/idr.h): pid number to struct pid.

    Since 4.20 it is an XArray, in which an inner node's pointer has 2 in its low two bits; before,
    a radix tree, where that mark is 1 (include/linux/xarray.h, include/linux/radix-tree.h).
    """

    MAX_DEPTH = 11  # 64 slots a node, 64-bit indices

    def __init__(self, memory: KdumpMemory, node_layout: KdumpLayout, inner_mark: int) -> None:
        self.memory = memory
        self.layout = node_layout
        self.inner_mark = inner_mark

    def entries(self, root: int, problems: List[str]) -> Iterator[int]:
        """Yield the leaf pointers below the entry `root`; unreadable branches go to `problems`."""
        return self._below(root, problems, set(), 0)

    def _below(self, entry: int, problems: List[str], seen: Set[int], depth: int) -> Iterator[int]:
        if entry & 3 == 0:
            if entry:
                yield entry
            return
        if entry & 3 != self.inner_mark or entry < 4096:
            return  # a value, or a mark such as "retry": no pid
        node = self.memory.clean(entry & ~3)
        if node in seen or depth > self.MAX_DEPTH:
            problems.append("pid tree: loops back to 0x%x" % node)
            return
        seen.add(node)
        member = self.layout.members["slots"]
        try:
            slots = self.memory.words(node + member.offset, member.size // self.memory.pointer_size)
        except KdumpUnreadable as error:
            problems.append("pid tree: torn: %s" % error)
            return
        for slot in slots:
            for leaf in self._below(slot, problems, seen, depth + 1):
                yield leaf


class KdumpMapleTree:
    """Walks a maple tree (include/linux/maple_tree.h), since 6.1 the home of a process's VMAs.

    A pointer to a node has its type in bits 3 to 6 and says with 2 in the low bits that it is
    one; nodes are aligned to 256 bytes. Slots behind the last one in use hold leftovers, so the
    pivots (each the last index of its slot) tell where to stop.
    """

    LEAF, RANGE, ARANGE = 1, 2, 3  # enum maple_type; 0 (dense) is not used for ranges
    LAST = 2**64 - 1
    MAX_DEPTH = 16

    def __init__(
        self, memory: KdumpMemory, range_layout: KdumpLayout, arange_layout: KdumpLayout
    ) -> None:
        self.memory = memory
        self.layouts = {
            self.LEAF: range_layout,
            self.RANGE: range_layout,
            self.ARANGE: arange_layout,
        }

    def entries(self, root: int, problems: List[str]) -> Iterator[int]:
        """Yield the entries in the order of their indices; unreadable parts go to `problems`."""
        if root & 3 == 2 and root > 4096:
            for entry in self._below(root, self.LAST, problems, set(), 0):
                yield entry
        elif root & 3 == 0 and root:
            yield self.memory.clean(root)

    def _below(
        self, pointer: int, last: int, problems: List[str], seen: Set[int], depth: int
    ) -> Iterator[int]:
        node = self.memory.clean(pointer & ~0xFF)
        kind = pointer >> 3 & 0xF
        if node in seen or depth > self.MAX_DEPTH:
            problems.append("VMA tree: loops back to 0x%x" % node)
            return
        if kind not in self.layouts:
            problems.append("VMA tree: node of unknown type %d at 0x%x" % (kind, node))
            return
        seen.add(node)
        try:
            values = self.layouts[kind].read(self.memory, node)
        except KdumpUnreadable as error:
            problems.append("VMA tree: torn: %s" % error)
            return
        for entry, end in self._slots(values, last):
            if kind != self.LEAF:
                if entry:
                    for below in self._below(entry, end, problems, seen, depth + 1):
                        yield below
            elif entry & 3 == 0 and entry:
                yield self.memory.clean(entry)

    def _slots(self, values: Dict[str, Any], last: int) -> Iterator[Tuple[int, int]]:
        """(entry, last index) of the slots in use."""
        pivots = self.memory.split(values["pivot"])
        for number, entry in enumerate(self.memory.split(values["slot"])):
            end = pivots[number] if number < len(pivots) else last
            if number and not end:
                end = last  # no pivot needed: the rest of the node is this slot's
            yield entry, end
            if end >= last:
                return


class KdumpPageTables:
    """A process's page tables, walked through the kernel's direct mapping of all memory.

    `direct` is what to add to a physical address to get the kernel's; `shifts` are the lowest
    address bits that the tables of each level look at, the top level first; `bits` is how many
    each looks at; `decode(entry, shift)` returns None or (is it a page, physical address).
    """

    def __init__(
        self,
        memory: KdumpMemory,
        direct: int,
        shifts: List[int],
        decode: Callable[[int, int], Optional[Tuple[bool, int]]],
        bits: int = 9,
    ) -> None:
        self.memory = memory
        self.direct = direct
        self.shifts = shifts
        self.decode = decode
        self.bits = bits

    def page(self, table: int, address: int) -> Tuple[int, int]:
        """(kernel address of the page, its size) that holds a user address; KdumpUnreadable."""
        for shift in self.shifts:
            index = address >> shift & (1 << self.bits) - 1
            found = self.decode(self.memory.integer(table + 8 * index, 8), shift)
            if found is None:
                break
            is_page, physical = found
            if is_page:
                return self.direct + (physical >> shift << shift), 1 << shift
            table = self.direct + physical
        raise KdumpUnreadable(address, 1)


def kdump_per_cpu_base(
    symbol: int,
    start: Optional[int],
    offsets: Dict[int, int],
    is_right: Callable[[int, int], Optional[bool]],
) -> Optional[int]:
    """The base of a per-CPU variable, None if unknown: a CPU's copy is at base + offsets[cpu].

    `symbol` and `start` are the variable and __per_cpu_start as gdb has them, `offsets` maps a
    CPU to __per_cpu_offset[cpu], `is_right(cpu, address)` looks whether that CPU's copy lies
    there, or says None if the dump does not have the address.

    A kernel whose per-CPU section is part of its image (all but x86_64 before 6.15) just adds
    the offset to the symbol. Where the section is linked at 0 instead, the symbol must not be
    relocated by KASLR, but both `file vmlinux -o OFFSET` and the server's relocation do it; the
    section's start moves along, so the distance from it is right however the file was loaded.
    """
    tried = [symbol]
    if start is not None:
        tried.append(symbol - start)
    for base in tried:
        found = [is_right(cpu, (base + offset) % 2**64) for cpu, offset in offsets.items()]
        if True in found and False not in found:
            return base
    return None


def kdump_bits(data: bytes, byte_order: Any) -> List[int]:
    """The numbers of the bits set in a kernel bitmap (include/linux/bitmap.h)."""
    words = [data[at : at + 8] for at in range(0, len(data), 8)]
    return [
        64 * index + bit
        for index, word in enumerate(words)
        for bit in range(64)
        if int.from_bytes(word, byte_order) >> bit & 1
    ]


def kdump_build_id(notes: bytes, byte_order: Any) -> Optional[str]:
    """The build-id in a notes section as hex, or None. Format: elf(5), "Notes (Nhdr)"."""
    mark = "<" if byte_order == "little" else ">"
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from(mark + "III", notes, at)
        name_at = at + 12
        at = name_at + (name_size + 3 & ~3)
        if kind == 3 and notes[name_at : name_at + name_size] == b"GNU\0":
            return "".join("%02x" % byte for byte in notes[at : at + size])
        at += size + 3 & ~3
    return None


def kdump_vmcoreinfo(text: bytes) -> Dict[str, str]:
    """The lines NAME=VALUE of a VMCOREINFO text; what is not such a line is left out."""
    lines = text.split(b"\0", 1)[0].decode("ascii", "replace").splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line]
    notes = dict(pairs)
    for name, base in (("CRASHTIME", 10), ("KERNELOFFSET", 16), ("BUILD-ID", 16)):
        try:
            int(notes.get(name, "0"), base)
        except ValueError:
            del notes[name]
    return notes


def kdump_number(notes: Dict[str, str], name: str) -> Optional[int]:
    """NUMBER(name) of VMCOREINFO, which is decimal or, with 0x, hex; None if there is none."""
    try:
        return int(notes["NUMBER(%s)" % name], 0) % 2**64
    except (KeyError, ValueError):
        return None


# ------------------------------------------------------------------------------ tasks

KDUMP_PF_KTHREAD = 0x00200000  # include/linux/sched.h
KDUMP_PID_LIMIT = 4 * 1024 * 1024  # PID_MAX_LIMIT, include/linux/threads.h

KDUMP_STATES = "RSDTtXZPI"  # task_index_to_char(), include/linux/sched.h
KDUMP_TASK_REPORT = 0x7F
KDUMP_TASK_IDLE = 0x402  # TASK_UNINTERRUPTIBLE | TASK_NOLOAD
KDUMP_TASK_HIDDEN = 0x1000 | 0x8000  # TASK_RTLOCK_WAIT, TASK_FROZEN: shown as D


def kdump_state_letter(state: int, exit_state: int) -> str:
    """The letter ps(1) shows: __task_state_index() in include/linux/sched.h."""
    if state & KDUMP_TASK_IDLE == KDUMP_TASK_IDLE:
        return "I"
    if state & KDUMP_TASK_HIDDEN:
        return "D"
    return KDUMP_STATES[((state | exit_state) & KDUMP_TASK_REPORT).bit_length()]


def kdump_text(raw: bytes) -> str:
    """A kernel string as text: what is not printable (nor UTF-8) becomes \\xNN."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else "".join("\\x%02x" % b for b in c.encode("utf-8", "replace"))
        for c in text
    )


KDUMP_USER_END = 1 << 63  # user addresses are below, kernel ones above


class KdumpTask:
    """One task_struct as it was read: `values` holds the members, `address` where it lies."""

    def __init__(self, address: int, values: Dict[str, Any]) -> None:
        self.address = address
        self.values = values
        self.idle_cpu: Optional[int] = None  # number of the CPU whose idle task this is
        self.cpu: Optional[int] = None  # number of the CPU it was running on at the crash

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def is_kthread(self) -> bool:
        return self.idle_cpu is not None or bool(self.flags & KDUMP_PF_KTHREAD)

    @property
    def name(self) -> str:
        """The command name; a kernel thread's in brackets, as ps(1) has it."""
        comm = kdump_text(self.comm)
        return "[%s]" % comm if self.is_kthread else comm

    @property
    def state_letter(self) -> str:
        return kdump_state_letter(self.state, self.exit_state)

    def doubt(self) -> Optional[str]:
        """Why this cannot be a task, or None: memory reached through a bad pointer is not one."""
        if not 0 <= self.pid <= KDUMP_PID_LIMIT or not 0 <= self.tgid <= KDUMP_PID_LIMIT:
            return "pid %d, tgid %d" % (self.pid, self.tgid)
        if b"\0" not in self.comm:
            return "its name has no end"
        return None


class KdumpTaskTable:
    """Finds the tasks: by the lists the scheduler keeps, and by the pids handed out.

    Neither source alone is enough in a crashed kernel: one torn link hides every task behind it
    from the lists, and a task being born or dying may have no pid.
    """

    def __init__(
        self,
        memory: KdumpMemory,
        layout: KdumpLayout,
        signal_layout: KdumpLayout,
        progress: Optional[Callable[[int], None]] = None,
    ) -> None:
        self.memory = memory
        self.layout = layout
        self.signal_layout = signal_layout
        self.progress = progress or (lambda count: None)
        self.problems: List[str] = []
        self._tasks: Dict[int, KdumpTask] = {}  # by address
        self._groups: Dict[int, List[KdumpTask]] = {}  # by tgid, in the order of finding
        self._by_pid: Dict[int, KdumpTask] = {}

    def at(self, address: int) -> KdumpTask:
        """The task at `address`; KdumpUnreadable or KdumpCorrupt if there is none."""
        address %= 2**64
        task = self._tasks.get(address)
        if task is None:
            task = KdumpTask(address, self.layout.read(self.memory, address))
            doubt = task.doubt()
            if doubt:
                raise KdumpCorrupt("no task at 0x%x (%s)" % (address, doubt))
            self._tasks[address] = task
            self.progress(len(self._tasks))
        return task

    def add(self, task: KdumpTask) -> None:
        """Count a task in, once; two of one pid cannot be, so the first one found is kept."""
        other = self._by_pid.setdefault(task.pid, task)
        if other is not task:
            text = "pid %d is there twice: at 0x%x and, left out, at 0x%x"
            self.problems.append(text % (task.pid, other.address, task.address))
        elif task not in self._groups.setdefault(task.tgid, []):
            self._groups[task.tgid].append(task)

    def found(self) -> List[KdumpTask]:
        """Every task added: process by process, threads behind their leader."""
        return [task for group in self._groups.values() for task in group]

    def walk_lists(self, init_task: int) -> None:
        """Add every task on the list that begins at init_task, with its threads."""
        offset = self.layout.offset("tasks.next")
        first = self.at(init_task).values["tasks.next"]
        for leader in self._walk(init_task + offset, first, "tasks.next", "task list"):
            self.add(leader)
            self._walk_threads(leader)

    def walk_pids(self, pids: Iterable[int]) -> int:
        """Add the tasks at the addresses `pids` yields that no list led to; return how many."""
        count = 0
        for address in pids:
            known = address in self._tasks
            try:
                task = self.at(address)
            except KdumpError as error:
                self.problems.append("pid tree: %s" % error)
                continue
            if not known:
                self.add(task)
                count += 1
        return count

    def _walk_threads(self, leader: KdumpTask) -> None:
        """Add the other threads of a process.

        signal->thread_head exists in every kernel since 3.14; the older task->thread_group went
        with 6.7 and serves only where the former is missing.
        """
        if "thread_node.next" in self.layout:
            if not leader.signal:
                return
            head = leader.signal + self.signal_layout.offset("thread_head.next")
            key = "thread_node.next"
            if leader.values[key] == head == leader.values["thread_node.prev"]:
                return  # alone: no need to read the head
            try:
                first = self.memory.pointer(head)
            except KdumpUnreadable as error:
                self.problems.append("threads of pid %d: %s" % (leader.pid, error))
                return
        else:
            key = "thread_group.next"
            head = leader.address + self.layout.offset(key)
            first = leader.values[key]
        for task in self._walk(head, first, key, "threads of pid %d" % leader.pid):
            self.add(task)

    def _walk(self, head: int, first: int, key: str, what: str) -> Iterator[KdumpTask]:
        """Yield the tasks on a list; what goes wrong ends it and is kept in `problems`."""
        offset = self.layout.offset(key)
        nodes = kdump_list(head, first, lambda node: self.at(node - offset).values[key], what)
        try:
            for node in nodes:
                yield self.at(node - offset)
        except KdumpCorrupt as error:
            text = str(error)
            self.problems.append(text if text.startswith(what) else "%s: %s" % (what, text))
        except KdumpUnreadable as error:
            self.problems.append("%s: torn: %s" % (what, error))


# ------------------------------------------------------------------------------ saved vectors

KDUMP_XSAVE_HEADER = 512  # where the XSAVE header begins, behind the FXSAVE area
KDUMP_XSAVE_AVX = 576  # where the high halves of ymm0 to ymm15 are, compacted or not
KDUMP_XSAVE_AVX_END = 832
KDUMP_X87, KDUMP_SSE, KDUMP_AVX = 1, 2, 4  # bits of XCR0 and XSTATE_BV
KDUMP_MXCSR_INIT = 0x1F80


def kdump_xsave(data: bytes, features: int) -> Dict[str, int]:
    """gdb's x87, SSE and AVX registers from an XSAVE area (Intel SDM volume 1, chapter 13).

    `features` says which components the kernel saves (0: an FXSAVE area, no header). One that
    the header leaves out was in its initial state, which is as good as saved.
    """

    def field(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little")

    present, compacted = KDUMP_X87 | KDUMP_SSE, False
    if features:
        present = field(KDUMP_XSAVE_HEADER, 8)
        compacted = bool(field(KDUMP_XSAVE_HEADER + 8, 8) >> 63)
    registers = kdump_x87(field) if present & KDUMP_X87 else kdump_x87_initial()
    sse = present & KDUMP_SSE
    for n in range(16):
        registers["xmm%d" % n] = field(160 + 16 * n, 16) if sse else 0
    registers["mxcsr"] = field(24, 4) if sse or not compacted else KDUMP_MXCSR_INIT
    if features & KDUMP_AVX:
        for n in range(16):
            at = KDUMP_XSAVE_AVX + 16 * n
            registers["ymm%dh" % n] = field(at, 16) if present & KDUMP_AVX else 0
    return registers


def kdump_x87(field: Callable[[int, int], int]) -> Dict[str, int]:
    """The x87 registers of an FXSAVE area (Intel SDM volume 1, "FXSAVE Area")."""
    status = field(2, 2)
    st = [field(32 + 16 * n, 10) for n in range(8)]
    registers = {"st%d" % n: value for n, value in enumerate(st)}
    registers.update(
        fctrl=field(0, 2),
        fstat=status,
        ftag=kdump_x87_tags(field(4, 1), status >> 11 & 7, st),
        fop=field(6, 2) & 0x7FF,
        fioff=field(8, 4),
        fiseg=field(12, 2),
        fooff=field(16, 4),
        foseg=field(20, 2),
    )
    return registers


def kdump_x87_initial() -> Dict[str, int]:
    """The x87 registers after FNINIT."""
    registers = {"st%d" % n: 0 for n in range(8)}
    registers.update(fctrl=0x37F, fstat=0, ftag=0xFFFF, fop=0, fioff=0, fiseg=0, fooff=0, foseg=0)
    return registers


def kdump_x87_tags(valid: int, top: int, st: List[int]) -> int:
    """The full tag word: two bits a register, where FXSAVE keeps one (in use or not).

    Bit and tag count physical registers; st(i) is physical register top + i, modulo 8.
    """
    word = 0
    for physical in range(8):
        tag = 3  # empty
        if valid >> physical & 1:
            value = st[(physical - top) % 8]
            exponent, mantissa = value >> 64 & 0x7FFF, value % 2**64
            if not exponent and not mantissa:
                tag = 1  # zero
            else:
                tag = 0 if 0 < exponent < 0x7FFF and mantissa >> 63 else 2  # valid or special
        word |= tag << 2 * physical
    return word


# ------------------------------------------------------------------------------ architectures


class KdumpArchitecture:
    """What has to be known of an architecture; the defaults fit more than one."""

    name = ""  # as uname -m has it
    gdb_name = ""
    saved: Dict[str, str] = {}  # members of task_struct that switch_registers() needs
    user_frame: Dict[str, str] = {}  # members of struct pt_regs: gdb's registers
    stack_padding: Tuple[int, ...] = (0,)  # bytes that may be between pt_regs and stack end
    stack_align = 1  # the size of pt_regs is rounded up to a multiple of it
    user_thread: Dict[str, str] = {}  # members of task_struct with more of the user's state
    # What of the user's registers the CPU still holds while it runs the kernel.
    kept_in_kernel: Tuple[str, ...] = ()
    narrow: Dict[str, int] = {}  # bits of the registers that are not as wide as their place

    def __init__(self, kernel: "KdumpKernel") -> None:
        self.kernel = kernel
        self.memory = kernel.memory

    @staticmethod
    def clean(address: int) -> int:
        """An address as a pointer holds it, without what is not part of the address."""
        return address

    def switch_registers(self, task: KdumpTask) -> Dict[str, int]:
        """What the scheduler saved of a task's registers when it switched to another."""
        raise NotImplementedError

    def is_user_frame(self, values: Dict[str, Any]) -> bool:
        """Whether these members of pt_regs are registers of user mode."""
        raise NotImplementedError

    def is_user_mode(self, registers: Dict[str, int]) -> bool:
        """Whether a CPU with these registers was in user mode."""
        raise NotImplementedError

    def is_compat(self, registers: Dict[str, int], auxv_is_32: bool) -> bool:
        """Whether a thread with these registers runs 32-bit code."""
        return False

    def compat_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """Those that 32-bit code has, by the names the kernel keeps them under."""
        return registers

    def compat_fp_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """The same of the floating-point registers."""
        return registers

    def thread_registers(self, thread: Dict[str, Any]) -> Dict[str, int]:
        """The user's registers among the values of `user_thread`."""
        return {}

    def fault_address(self, thread: Dict[str, Any]) -> Optional[int]:
        """The address of the last page fault that became a signal, if known."""
        return None

    def page_tables(self, pgd: int) -> Optional[KdumpPageTables]:
        """How to walk a process's page tables; None if the dump does not tell."""
        return None

    def fp_registers(self, task: KdumpTask) -> Dict[str, int]:
        """Floating-point and vector registers of a task that is not running."""
        return {}


class KdumpX86_64(KdumpArchitecture):
    """x86_64: a task that was switched out has its registers on its kernel stack."""

    name = "x86_64"
    gdb_name = "i386:x86-64"
    saved = {"saved.sp": "thread.sp"}
    # arch/x86/include/asm/switch_to.h: which of them exist, and in what order, depends on the
    # kernel's version and configuration; never assume more than the names.
    frame = "struct inactive_task_frame"
    frame_registers = {
        "bx": "rbx",
        "bp": "rbp",
        "r12": "r12",
        "r13": "r13",
        "r14": "r14",
        "r15": "r15",
        "ret_addr": "rip",
    }

    # arch/x86/include/asm/ptrace.h; the stack's end may be kept free of them by as much as
    # TOP_OF_KERNEL_STACK_PADDING (arch/x86/include/asm/thread_info.h): 16 bytes with FRED.
    user_frame = {
        **{"r%d" % n: "r%d" % n for n in range(8, 16)},
        **{name: "r" + name for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")},
        "orig_ax": "orig_rax",
        "ip": "rip",
        "flags": "eflags",
        "cs": "cs",
        "ss": "ss",
    }
    stack_padding = (0, 16)
    user_thread = {
        "ds": "thread.ds",
        "es": "thread.es",
        "fs": "thread.fsindex",
        "gs": "thread.gsindex",
        "fs_base": "thread.fsbase",
        "gs_base": "thread.gsbase",
        "tls": "thread.tls_array",
        "cr2": "thread.cr2",
        "trap_nr": "thread.trap_nr",
    }
    KEPT = ("ds", "es", "fs", "gs", "fs_base", "gs_base")
    kept_in_kernel = ("ds", "es", "fs", "gs", "fs_base")
    only64 = tuple("r%d" % n for n in range(8, 16))
    TLS_SEGMENTS = (12, 13, 14)  # GDT_ENTRY_TLS_MIN to _MAX, arch/x86/include/asm/segment.h
    narrow = {"eflags": 32, "cs": 16, "ss": 16, "ds": 16, "es": 16, "fs": 16, "gs": 16}
    USER_CS, USER32_CS = 0x33, 0x23  # arch/x86/include/asm/segment.h
    PAGE_FAULT = 14  # X86_TRAP_PF

    def __init__(self, kernel: "KdumpKernel") -> None:
        super().__init__(kernel)
        self.layout = kernel.layout(self.frame, optional=self.frame_registers)

    def switch_registers(self, task: KdumpTask) -> Dict[str, int]:
        """What the scheduler saved: the registers a called function must preserve.

        thread.sp points at the frame, whose last word is the return address; so the stack
        pointer as of that address is behind the whole frame.
        """
        sp = task.values["saved.sp"]
        values = self.layout.read(self.memory, sp)
        registers = {self.frame_registers[name]: value for name, value in values.items()}
        registers["rsp"] = sp + self.layout.size
        return registers

    def is_user_frame(self, values: Dict[str, Any]) -> bool:
        """Whether these are registers of user mode: its code segments, and a user stack."""
        return values["cs"] & 0xFFFF in (self.USER_CS, self.USER32_CS) and values["ss"] & 3 == 3

    def is_user_mode(self, registers: Dict[str, int]) -> bool:
        return registers.get("cs", 0) & 3 == 3

    def is_compat(self, registers: Dict[str, int], auxv_is_32: bool) -> bool:
        """Whether it is an i386 process; an x32 one has 32-bit pointers, but all registers."""
        return auxv_is_32 and registers.get("cs") == self.USER32_CS

    def compat_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """Those that 32-bit code has, by the names the kernel keeps them under."""
        return {name: value for name, value in registers.items() if name not in self.only64}

    def compat_fp_registers(self, registers: Dict[str, int]) -> Dict[str, int]:
        """Without the vector registers that only 64-bit code has."""
        gone = re.compile(r"[xy]mm([89]|1\d)")
        return {name: value for name, value in registers.items() if not gone.match(name)}

    def thread_registers(self, thread: Dict[str, Any]) -> Dict[str, int]:
        """The segments and their bases, from thread_struct.

        Where a selector names one of the thread's own segments, as those of 32-bit programs do,
        the segment has the base; without FSGSBASE thread_struct then says 0 (x86_fsbase_read_task()
        in arch/x86/kernel/process_64.c).
        """
        registers = {name: thread[name] for name in self.KEPT if name in thread}
        segments = self.memory.split(thread.get("tls", b""))
        for name in ("fs", "gs"):
            number = registers.get(name, 0) >> 3
            if number in self.TLS_SEGMENTS and segments:
                registers[name + "_base"] = self.segment_base(segments[number - 12])
        return registers

    @staticmethod
    def segment_base(descriptor: int) -> int:
        """Intel SDM volume 3, "Segment Descriptors"."""
        return descriptor >> 16 & 0xFFFFFF | (descriptor >> 56) << 24

    def fault_address(self, thread: Dict[str, Any]) -> Optional[int]:
        """The address of the last page fault that became a signal."""
        return thread["cr2"] if thread.get("trap_nr") == self.PAGE_FAULT else None

    def fp_registers(self, task: KdumpTask) -> Dict[str, int]:
        """x87, SSE and AVX registers of a task that is not running, {} if the kernel has none."""
        address, size, features = self._fpu_state(task)
        if address is None:
            return {}
        return kdump_xsave(self.memory.fetch(address, min(size, KDUMP_XSAVE_AVX_END)), features)

    def _fpu_state(self, task: KdumpTask) -> Tuple[int, int, int]:
        """(address, size, feature bits) of the task's XSAVE or FXSAVE area.

        struct fpu has it inside at first, by a pointer since 5.16, and is itself no longer in
        task_struct but behind it since 6.16 (arch/x86/include/asm/fpu/types.h, processor.h).
        """
        task_type = self.kernel.type("struct task_struct")
        fpu_type = self.kernel.type("struct fpu")
        inside = kdump_resolve(task_type, "thread.fpu")
        fpu = task.address + (inside.offset if inside else task_type.sizeof)
        pointer = kdump_resolve(fpu_type, "fpstate")
        if pointer is None:
            state = kdump_member(fpu_type, "state")
            features = self.kernel.variable("xfeatures_mask") or self.kernel.variable(
                "xfeatures_mask_all"
            )
            return fpu + state.offset, state.size, features or 0
        layout = self.kernel.layout("struct fpstate", ["size", "xfeatures"])
        regs = kdump_member(self.kernel.type("struct fpstate"), "regs")
        address = self.memory.pointer(fpu + pointer.offset)
        values = layout.read(self.memory, address)
        return address + regs.offset, values["size"], values["xfeatures"]

    def page_tables(self, pgd: int) -> Optional[KdumpPageTables]:
        """Intel SDM volume 3, "4-Level Paging and 5-Level Paging".

        With page-table isolation mm->pgd maps user addresses too.
        """
        direct = self.kernel.variable("page_offset_base")
        if direct is None:
            return None  # a kernel without KASLR of its memory; not worth more tables here
        hidden = self.kernel.variable("sme_me_mask") or 0  # the encryption bit is no address
        address_bits = (1 << 52) - (1 << 12) & ~hidden

        def decode(entry: int, shift: int) -> Optional[Tuple[bool, int]]:
            if not entry & 1:
                return None
            is_page = shift == 12 or (shift < 39 and bool(entry & 1 << 7))
            return is_page, entry & address_bits

        shifts = [39, 30, 21, 12]
        if self.kernel.variable("__pgtable_l5_enabled", 4):
            shifts.insert(0, 48)
        return KdumpPageTables(self.memory, direct, shifts, decode)


class KdumpAarch64(KdumpArchitecture):
    """aarch64: thread.cpu_context holds a switched-out task's registers."""

    name = "aarch64"
    gdb_name = "aarch64"
    # arch/arm64/include/asm/processor.h: struct cpu_context; gdb calls fp x29.
    context = dict({"x%d" % n: "x%d" % n for n in range(19, 29)}, fp="x29", sp="sp", pc="pc")
    saved = {"saved." + name: "thread.cpu_context." + name for name in context}

    # arch/arm64/include/asm/ptrace.h
    user_frame = {"regs": "regs", "sp": "sp", "pc": "pc", "pstate": "cpsr"}
    user_thread = {"tpidr": "thread.uw.tp_value", "fault": "thread.fault_address"}
    narrow = {"cpsr": 32}
    EL_MASK, AARCH32 = 0xF, 0x10  # of pstate: the exception level (0: user), 32-bit mode
    FP_STATE_SVE = 2  # enum fp_type, arch/arm64/include/asm/processor.h

    def __init__(self, kernel: "KdumpKernel") -> None:
        super().__init__(kernel)
        self.code_mark = self.code_bits(kernel.address("_stext"))

    @staticmethod
    def clean(address: int) -> int:
        """Without the tag that the address's top byte may carry (KASAN, MTE)."""
        return address | 0xFF << 56 if address >> 55 & 1 else address

    @staticmethod
    def code_bits(stext: int) -> int:
        """The bits that all kernel code addresses have set: those above _stext's first zero."""
        return 2**64 - (1 << (~stext % 2**64).bit_length())

    def code_address(self, address: int) -> int:
        """Without the authentication code an address may carry in its high bits.

        Bit 55 tells kernel from user addresses and is never part of the code (Arm ARM, "Pointer
        authentication").
        """
        return address | self.code_mark if address >> 55 & 1 else address

    def switch_registers(self, task: KdumpTask) -> Dict[str, int]:
        registers = {name: task.values["saved." + member] for member, name in self.context.items()}
        registers["pc"] = self.code_address(registers["pc"])
        return registers

    def is_user_frame(self, values: Dict[str, Any]) -> bool:
        return bool(values["pstate"] & self.EL_MASK == 0 and values["pc"] < KDUMP_USER_END)

    def is_user_mode(self, registers: Dict[str, int]) -> bool:
        return registers.get("cpsr", 5) & self.EL_MASK == 0

    def thread_registers(self, thread: Dict[str, Any]) -> Dict[str, int]:
        return {"tpidr": thread["tpidr"]} if "tpidr" in thread else {}

    def is_compat(self, registers: Dict[str, int], auxv_is_32: bool) -> bool:
        return bool(registers.get("cpsr", 0) & self.AARCH32)  # the server renames (D1.20.1)

    def fault_address(self, thread: Dict[str, Any]) -> Optional[int]:
        return thread.get("fault") or None

    def page_tables(self, pgd: int) -> Optional[KdumpPageTables]:
        """Arm ARM, "VMSAv8-64 translation table format descriptors".

        The direct mapping begins at the bottom of the kernel's addresses, before 5.4 in their
        middle (arch/arm64/include/asm/memory.h); the table itself is in it and tells.
        """
        notes = self.kernel.vmcoreinfo()
        va_bits, phys_offset = kdump_number(notes, "VA_BITS"), kdump_number(notes, "PHYS_OFFSET")
        if va_bits is None or phys_offset is None or not notes.get("PAGESIZE", "").isdigit():
            return None
        page_shift = int(notes["PAGESIZE"]).bit_length() - 1
        half = va_bits - (pgd >> va_bits - 1 & 1)
        direct = 2**64 - (1 << half) - phys_offset
        used_bits = 64 - (kdump_number(notes, "TCR_EL1_T1SZ") or 64 - va_bits)
        address_bits = (1 << 48) - (1 << page_shift)

        def decode(entry: int, shift: int) -> Optional[Tuple[bool, int]]:
            if not entry & 1 or (shift == page_shift and not entry & 2):
                return None
            is_page = shift == page_shift or not entry & 2
            return is_page, entry & address_bits

        step = page_shift - 3
        shifts = range(page_shift, used_bits, step)
        return KdumpPageTables(self.kernel.memory, direct, list(reversed(shifts)), decode, step)

    def fp_registers(self, task: KdumpTask) -> Dict[str, int]:
        """The FPSIMD registers; where SVE's are in use, their low 128 bits."""
        memory, type_ = self.kernel.memory, self.kernel.type("struct task_struct")
        state = kdump_resolve(type_, "thread.uw.fpsimd_state.vregs")
        if state is None:
            return {}
        data = memory.fetch(task.address + state.offset, 32 * 16 + 8)
        stride, vectors = 16, data
        fp_type = kdump_resolve(type_, "thread.fp_type")
        if fp_type and memory.integer(task.address + fp_type.offset, 4) == self.FP_STATE_SVE:
            layout = self.kernel.layout("struct task_struct", (), ("thread.sve_state", "thread.vl"))
            values = layout.read(memory, task.address)
            stride = int.from_bytes(values["thread.vl"][:4], memory.byte_order)
            vectors = memory.fetch(values["thread.sve_state"], 32 * stride)
        registers = {
            "v%d" % n: int.from_bytes(vectors[n * stride : n * stride + 16], memory.byte_order)
            for n in range(32)
        }
        registers["fpsr"] = int.from_bytes(data[512:516], memory.byte_order)
        registers["fpcr"] = int.from_bytes(data[516:520], memory.byte_order)
        return registers


class KdumpRiscv64(KdumpArchitecture):
    """riscv64: struct thread_struct holds a switched-out task's registers itself."""

    name = "riscv64"
    gdb_name = "riscv:rv64"
    # arch/riscv/include/asm/processor.h; s[0] is the frame pointer, which gdb calls fp.
    saved = {"saved.ra": "thread.ra", "saved.sp": "thread.sp", "saved.s": "thread.s"}
    s_names = ["fp"] + ["s%d" % n for n in range(1, 12)]
    # arch/riscv/include/asm/ptrace.h; task_pt_regs() rounds their size up to 16 bytes.
    user_frame = {
        **{name: name for name in ("ra", "sp", "gp", "tp")},
        **{"a%d" % n: "a%d" % n for n in range(8)},
        **{"t%d" % n: "t%d" % n for n in range(7)},
        **{"s%d" % n: name for n, name in enumerate(s_names)},
        "epc": "pc",
    }
    stack_align = 16

    def switch_registers(self, task: KdumpTask) -> Dict[str, int]:
        raw = task.values["saved.s"]
        registers = {
            name: int.from_bytes(raw[8 * n : 8 * n + 8], self.memory.byte_order)
            for n, name in enumerate(self.s_names)
        }
        registers["pc"] = task.values["saved.ra"]
        registers["sp"] = task.values["saved.sp"]
        return registers

    def is_user_frame(self, values: Dict[str, Any]) -> bool:
        return bool(0 < values["epc"] < KDUMP_USER_END)

    def is_user_mode(self, registers: Dict[str, int]) -> bool:
        return registers.get("pc", KDUMP_USER_END) < KDUMP_USER_END

    def is_compat(self, registers: Dict[str, int], auxv_is_32: bool) -> bool:
        if auxv_is_32:
            raise KdumpError("32-bit RISC-V processes are not supported")
        return False

    def page_tables(self, pgd: int) -> Optional[KdumpPageTables]:
        """RISC-V privileged architecture, "Sv39" and its larger kin."""
        notes = self.kernel.vmcoreinfo()
        va_bits, ram = kdump_number(notes, "VA_BITS"), kdump_number(notes, "phys_ram_base")
        page_offset = kdump_number(notes, "PAGE_OFFSET")
        if va_bits is None or ram is None or page_offset is None:
            return None

        def decode(entry: int, shift: int) -> Optional[Tuple[bool, int]]:
            if not entry & 1:
                return None
            return bool(entry & 0xE), (entry >> 10 & (1 << 44) - 1) << 12

        shifts = list(reversed(range(12, va_bits, 9)))
        return KdumpPageTables(self.kernel.memory, page_offset - ram, shifts, decode)


KDUMP_ARCHITECTURES = {arch.gdb_name: arch for arch in (KdumpX86_64, KdumpAarch64, KdumpRiscv64)}

# ------------------------------------------------------------------------------ the kernel


def kdump_fetch(address: int, size: int) -> bytes:
    """Read the target's memory through gdb."""
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    except (gdb.error, OverflowError, ValueError):
        raise KdumpUnreadable(address, size) from None


def kdump_find_member(type_: Any, name: str) -> Optional[Tuple[int, Any]]:
    """(offset in bytes, Any) of a member, also inside nameless structs and unions."""
    for field in type_.fields():
        if not hasattr(field, "bitpos"):
            continue
        if field.name == name:
            return field.bitpos // 8, field
        inner = field.type.strip_typedefs()
        if not field.name and inner.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            found = kdump_find_member(inner, name)
            if found:
                return field.bitpos // 8 + found[0], found[1]
    return None


def kdump_resolve(type_: Any, path: str) -> Optional[KdumpMember]:
    """The KdumpMember that a path like "thread.cpu_context.fp" leads to, or None."""
    offset = 0
    for name in path.split("."):
        found = kdump_find_member(type_, name)
        if found is None:
            return None
        offset += found[0]
        type_ = found[1].type.strip_typedefs()
    kind = {
        gdb.TYPE_CODE_PTR: "pointer",
        gdb.TYPE_CODE_ARRAY: "bytes",
    }.get(type_.code, "int")
    return KdumpMember(offset, type_.sizeof, kind)


def kdump_member(type_: Any, path: str) -> KdumpMember:
    """The same, but it must be there."""
    member = kdump_resolve(type_, path)
    if member is None:
        raise KdumpError("%s has no member %s: kernel not supported" % (type_, path))
    return member


def kdump_architecture_name() -> str:
    """gdb's name for the target's architecture."""
    inferior = gdb.selected_inferior()
    if hasattr(inferior, "architecture"):  # gdb 9
        return str(inferior.architecture().name())
    return str(gdb.selected_frame().architecture().name())


class KdumpSymbols:
    """What gdb knows of the kernel: where its variables are, and how its structures look."""

    def __init__(self, memory: KdumpMemory) -> None:
        self.memory = memory
        self._variables: Dict[str, Optional[int]] = {}
        self._layouts: Dict[Any, KdumpLayout] = {}

    def find(self, name: str) -> Optional[int]:
        """The address of a symbol as gdb has it, or None."""
        symbol = gdb.lookup_global_symbol(name)
        try:
            if symbol is not None and symbol.symtab is not None:
                return int(symbol.value().address) % 2**64
            return int(gdb.parse_and_eval("(unsigned long)&%s" % name)) % 2**64
        except (gdb.error, ValueError, TypeError):
            return None

    def address(self, name: str) -> int:
        """The same, but it must be there."""
        address = self.find(name)
        if address is None:
            raise KdumpError("no symbol %s: load the dump's kernel symbols (`file vmlinux`)" % name)
        return address

    def type(self, name: str) -> Any:
        """A Any by its name, or KdumpError."""
        try:
            return gdb.lookup_type(name).strip_typedefs()
        except gdb.error:
            raise KdumpError(
                "no type %s: this vmlinux lacks debug information (install the kernel's debug "
                "package, load its vmlinux)" % name
            ) from None

    def layout(
        self,
        name: str,
        required: Iterable[str] = (),
        optional: Iterable[str] = (),
        renamed: Optional[Dict[str, str]] = None,
    ) -> KdumpLayout:
        """A KdumpLayout with those members of the type `name` that it has.

        `renamed` maps a member's name in the layout to its path in the type. KdumpError if one
        of `required` or `renamed` is missing, or none is left.
        """
        paths = {path: path for path in tuple(required) + tuple(optional)}
        paths.update(renamed or {})
        key = (name, tuple(paths.items()))
        if key not in self._layouts:
            self._layouts[key] = self._make_layout(name, paths, optional)
        return self._layouts[key]

    def _make_layout(
        self, name: str, paths: Dict[str, str], optional: Iterable[str]
    ) -> KdumpLayout:
        type_ = self.type(name)
        members = {}
        for key, path in paths.items():
            member = kdump_resolve(type_, path)
            if member is not None:
                members[key] = member
            elif path not in optional:
                kdump_member(type_, path)
        if not members:
            raise KdumpError("%s has no known member: kernel not supported" % name)
        return KdumpLayout(type_.sizeof, members)

    def variable(self, name: str, size: int = 8) -> Optional[int]:
        """The value of a kernel variable of `size` bytes, or None if there is none."""
        if name not in self._variables:
            address = self.find(name)
            value = None if address is None else self.memory.integer(address, size)
            self._variables[name] = value
        return self._variables[name]


class KdumpKernel(KdumpSymbols):
    """The kernel in the dump, as gdb's symbols and the target's memory tell it."""

    TASK_MEMBERS = (
        "pid",
        "tgid",
        "flags",
        "comm",
        "exit_state",
        "mm",
        "stack",
        "signal",
        "real_parent",
        "real_cred",
        "tasks.next",
    )
    TASK_OPTIONAL = (
        "thread_node.next",
        "thread_node.prev",
        "thread_group.next",
        "thread_pid",
    )

    def __init__(self) -> None:
        if not gdb.selected_inferior().threads():
            raise KdumpError("no dump: connect first (`target remote HOST:PORT`)")
        name = kdump_architecture_name()
        if name not in KDUMP_ARCHITECTURES:
            raise KdumpError(
                "architecture %s is not supported (%s are)"
                % (name, ", ".join(sorted(KDUMP_ARCHITECTURES)))
            )
        arch = KDUMP_ARCHITECTURES[name]
        super().__init__(KdumpMemory(kdump_fetch, clean=arch.clean))
        self._notes: Optional[Dict[str, str]] = None
        # gdb reads the debug information of a source file when it needs something of it, and
        # looks first at what it has: these two files' include almost all types used below.
        self.init_pid_ns = self.address("init_pid_ns")
        self.runqueues = self.address("runqueues")
        self.arch = arch(self)
        self.task_layout = self._task_layout()
        self.init_task = self.address("init_task")
        self._check_match()

    def _task_layout(self) -> KdumpLayout:
        type_ = self.type("struct task_struct")
        state = "__state" if kdump_resolve(type_, "__state") else "state"  # renamed in 5.14
        return self.layout(
            "struct task_struct",
            self.TASK_MEMBERS,
            self.TASK_OPTIONAL,
            dict(self.arch.saved, state=state),
        )

    def _check_match(self) -> None:
        """Refuse symbols that are not where this kernel was: all that follows would be wrong."""
        try:
            values = self.task_layout.read(self.memory, self.init_task)
        except KdumpUnreadable:
            values = {"comm": b""}
        if not values["comm"].startswith(b"swapper"):
            raise KdumpError(
                "no init task at 0x%x: vmlinux does not match the dump, or was loaded at another "
                "address than the server names" % self.init_task
            )

    # -- what the dump is of

    def identity(self) -> Dict[str, Any]:
        """The sidecar's "dump": which kernel, and which crash of it, the data are from."""
        notes = self.vmcoreinfo()
        identity: Dict[str, Any] = {
            "release": notes.get("OSRELEASE") or self._release(),
            "build_id": notes.get("BUILD-ID") or self._build_id(),
            "arch": self.arch.name,
        }
        if "CRASHTIME" in notes:
            identity["crash_time"] = int(notes["CRASHTIME"])
        if "KERNELOFFSET" in notes:
            identity["kaslr_offset"] = int(notes["KERNELOFFSET"], 16)
        return identity

    def vmcoreinfo(self) -> Dict[str, str]:
        """What the kernel noted for readers of its dumps (kernel/vmcore_info.c), as a dict.

        Read from the ELF note that dumps get it from. The text itself is of no use: once a crash
        kernel is loaded, it is in memory that no dump holds.
        """
        if self._notes is None:
            self._notes = self._read_vmcoreinfo()
        return self._notes

    def _read_vmcoreinfo(self) -> Dict[str, str]:
        pointer = self.find("vmcoreinfo_note")
        if pointer is None:
            return {}
        try:
            note = self.memory.pointer(pointer)
            name_size = self.memory.integer(note, 4)
            size = self.memory.integer(note + 4, 4)
            return kdump_vmcoreinfo(
                self.memory.fetch(note + 12 + (name_size + 3 & ~3), min(size, 1 << 16))
            )
        except KdumpUnreadable:
            return {}

    def _release(self) -> Optional[str]:
        try:
            layout = self.layout("struct uts_namespace", ["name.release"])
            values = layout.read(self.memory, self.address("init_uts_ns"))
        except KdumpError:
            return None
        return kdump_text(values["name.release"])

    def _build_id(self) -> Optional[str]:
        """From the dump if it has the kernel's notes, else from vmlinux."""
        start, stop = self.find("__start_notes"), self.find("__stop_notes")
        if start and stop and 0 < stop - start < 1 << 16:
            with contextlib.suppress(KdumpUnreadable):
                notes = self.memory.fetch(start, stop - start)
                build_id = kdump_build_id(notes, self.memory.byte_order)
                if build_id:
                    return build_id
        for objfile in gdb.objfiles():
            if getattr(objfile, "build_id", None) and "vmlinux" in (objfile.filename or ""):
                return str(objfile.build_id)
        return None

    def stack_size(self) -> int:
        """THREAD_SIZE in bytes: not the same everywhere (KASAN, large pages)."""
        with contextlib.suppress(KdumpError):
            return kdump_member(self.type("union thread_union"), "stack").size
        symbol = gdb.lookup_global_symbol("init_stack")
        try:
            if symbol is not None:
                return int(symbol.type.sizeof)
            return int(gdb.parse_and_eval("sizeof(init_stack)"))
        except gdb.error:
            for name in ("stack", "task"):
                start, end = self.find("__start_init_" + name), self.find("__end_init_" + name)
                if start and end:
                    return end - start
        raise KdumpError("the size of kernel stacks is not known: kernel not supported")

    # -- tasks

    def read_tasks(self, progress: Optional[Callable[[int], None]] = None) -> "KdumpSnapshot":
        """Every task of the kernel, and what went wrong: a KdumpSnapshot."""
        signal_layout = self.layout("struct signal_struct", (), ["thread_head.next", "nr_threads"])
        table = KdumpTaskTable(self.memory, self.task_layout, signal_layout, progress)
        problems = table.problems
        try:
            cpus = KdumpCpus(self, problems).read()
        except KdumpError as error:
            problems.append("CPUs: %s" % error)
            cpus = []
        idle = self._idle_tasks(table, cpus)
        table.walk_lists(self.init_task)
        torn = bool(problems)
        known = {task.values.get("thread_pid") for task in table.found()}
        extra = table.walk_pids(KdumpPids(self, problems).tasks(known))
        if torn and extra:
            problems.append("%d more task(s) found by their pids" % extra)
        running = {cpu["curr"]: cpu["cpu"] for cpu in cpus if cpu["online"]}
        tasks = idle + table.found()
        for task in tasks:
            task.cpu = running.get(task.address)
        return KdumpSnapshot(self, table, tasks, cpus)

    def _idle_tasks(self, table: KdumpTaskTable, cpus: List[Dict[str, Any]]) -> List[KdumpTask]:
        """Each CPU's idle task: they are on no list and have no pid of their own."""
        tasks = []
        idle = [(cpu["cpu"], cpu["idle"]) for cpu in cpus if cpu["idle"]]
        for cpu, address in idle or [(0, self.init_task)]:
            try:
                task = table.at(address)
            except KdumpError as error:
                table.problems.append("idle task of CPU %d: %s" % (cpu, error))
                continue
            task.idle_cpu = cpu
            tasks.append(task)
        return tasks


class KdumpCpus:
    """Finds the CPUs and what they ran, from their runqueues (kernel/sched/sched.h)."""

    def __init__(self, kernel: "KdumpKernel", problems: List[str]) -> None:
        self.kernel = kernel
        self.problems = problems

    def read(self) -> List[Dict[str, Any]]:
        """The CPUs as [{"cpu", "curr", "idle", "online"}], from their runqueues.

        "curr" is what the CPU was running; comparing pids would not tell, as every CPU's idle
        task has pid 0, and some dumps have CPU numbers where pids belong.
        """
        layout = self.kernel.layout("struct rq", ["curr", "idle"], ["cpu"])
        offsets = self._per_cpu_offsets()
        base = self._runqueues(layout, offsets)
        if base is None:
            return []
        online = self._online_cpus()
        cpus = []
        for cpu, offset in sorted(offsets.items()):
            try:
                values = layout.read(self.kernel.memory, (base + offset) % 2**64)
            except KdumpUnreadable as error:
                self.problems.append("runqueue of CPU %d: %s" % (cpu, error))
                continue
            cpus.append(
                {
                    "cpu": cpu,
                    "curr": values["curr"],
                    "idle": values["idle"],
                    "online": not online or cpu in online,
                }
            )
        return cpus

    def _online_cpus(self) -> Set[int]:
        """The CPUs in use before the crash.

        A panic takes the other CPUs out of the online mask as it stops them (stop_this_cpu() in
        arch/x86/kernel/process.c), but not out of the active mask, as unplugging a CPU does.
        """
        masks = [self._cpu_mask(name) for name in ("__cpu_online_mask", "__cpu_active_mask")]
        return set().union(*(mask for mask in masks if mask))

    def _runqueues(self, layout: KdumpLayout, offsets: Dict[int, int]) -> Optional[int]:
        """What to add to a CPU's offset to get its runqueue's address, or None."""

        def is_right(cpu: int, address: int) -> Optional[bool]:
            try:
                values = layout.read(self.kernel.memory, address)
                name = self._read_comm(values["idle"]) if values["idle"] else b"swapper"
            except KdumpUnreadable:
                return None  # not in the dump
            return values.get("cpu", cpu) == cpu and name.startswith(b"swapper")

        base = kdump_per_cpu_base(
            self.kernel.runqueues, self.kernel.find("__per_cpu_start"), offsets, is_right
        )
        if base is None:
            self.problems.append(
                "runqueues are not where vmlinux says: the idle tasks of other CPUs, and which "
                "task ran on which CPU, stay unknown"
            )
        return base

    def _read_comm(self, task: int) -> bytes:
        member = self.kernel.task_layout.members["comm"]
        return self.kernel.memory.fetch(task + member.offset, member.size)

    def _per_cpu_offsets(self) -> Dict[int, int]:
        """{possible CPU: its __per_cpu_offset}; a kernel for one CPU has no such array."""
        table = self.kernel.find("__per_cpu_offset")
        if table is None:
            return {0: 0}
        possible = self._cpu_mask("__cpu_possible_mask")
        if not possible:
            return {}
        words = self.kernel.memory.words(table, max(possible) + 1)
        return {cpu: words[cpu] for cpu in possible}

    def _cpu_mask(self, name: str) -> Optional[List[int]]:
        """The CPUs in a struct cpumask, or None if there is none of that name."""
        address = self.kernel.find(name)
        if address is None:
            return None
        count = (
            self.kernel.variable("nr_cpu_ids", 4) or 8 * self.kernel.type("struct cpumask").sizeof
        )
        data = self.kernel.memory.fetch(address, (count + 63) // 64 * 8)
        return [cpu for cpu in kdump_bits(data, self.kernel.memory.byte_order) if cpu < count]


class KdumpPids:
    """Finds tasks by the pids handed out: the second source, see KdumpTaskTable."""

    def __init__(self, kernel: "KdumpKernel", problems: List[str]) -> None:
        self.kernel = kernel
        self.problems = problems

    def tasks(self, known: Set[Any]) -> Iterator[int]:
        """Yield the address of the task of each pid that init_pid_ns has handed out.

        Those of the struct pids in `known` are left out, which saves most reads.
        """
        try:
            tree, root = self._tree()
            pid = self.kernel.layout("struct pid", ["tasks"])
            link = self.kernel.layout("struct task_struct", ["pid_links"]).offset("pid_links")
        except KdumpError as error:
            self.problems.append("pid tree not read: %s" % error)
            return
        for entry in tree.entries(root, self.problems):
            address = self.kernel.memory.clean(entry)
            if address in known:
                continue
            try:
                # tasks[PIDTYPE_PID], an hlist_head: the task whose thread id this is.
                first = self.kernel.memory.pointer(address + pid.offset("tasks"))
            except KdumpUnreadable as error:
                self.problems.append("pid tree: %s" % error)
                continue
            if first:
                yield first - link

    def _tree(self) -> Tuple[KdumpRadixTree, int]:
        """(KdumpRadixTree, root entry) of the initial pid name space."""
        try:
            path, node, mark = "idr.idr_rt.xa_head", "struct xa_node", 2
            namespace = self.kernel.layout("struct pid_namespace", [path])
            nodes = self.kernel.layout(node, ["slots"])
        except KdumpError:  # before 4.20
            path, node, mark = "idr.idr_rt.rnode", "struct radix_tree_node", 1
            namespace = self.kernel.layout("struct pid_namespace", [path])
            nodes = self.kernel.layout(node, ["slots"])
        values = namespace.read(self.kernel.memory, self.kernel.init_pid_ns)
        return KdumpRadixTree(self.kernel.memory, nodes, mark), values[path]


class KdumpSnapshot:
    """All tasks at the time of the crash: idle tasks first, then process by process."""

    def __init__(
        self,
        kernel: "KdumpKernel",
        table: KdumpTaskTable,
        tasks: List[KdumpTask],
        cpus: List[Dict[str, Any]],
    ) -> None:
        self.kernel = kernel
        self.table = table
        self.tasks = tasks
        self.cpus = cpus
        self.problems = table.problems
        self._on_cpu = {cpu["curr"] for cpu in cpus}
        self._uid_of: Dict[int, Optional[int]] = {}  # by address of struct cred, often shared
        self._cred = kernel.layout("struct cred", ["uid"])

    def parent_pid(self, task: KdumpTask) -> Optional[int]:
        """The process id of the task's parent; None if the parent is not in the dump."""
        try:
            return int(self.table.at(task.real_parent).tgid)
        except KdumpError as error:
            self.problems.append("parent of pid %d: %s" % (task.pid, error))
            return None

    def uid(self, task: KdumpTask) -> Optional[int]:
        """The user id, in the initial user name space; None if it is not in the dump."""
        cred = task.real_cred
        if cred not in self._uid_of:
            try:
                self._uid_of[cred] = self._cred.read(self.kernel.memory, cred)["uid"]
            except KdumpUnreadable as error:
                self.problems.append("credentials of pid %d: %s" % (task.pid, error))
                self._uid_of[cred] = None
        return self._uid_of[cred]

    def registers(self, task: KdumpTask) -> Dict[str, int]:
        """What is known of the task's registers: nothing, if a CPU was still using them.

        A running task's switch frame is left over from its last sleep; an offline CPU's idle
        task never came back from its last one. A zombie's stack is another task's by now
        (release_task_stack() in kernel/fork.c).
        """
        if not task.stack or task.address in self._on_cpu:
            return {}
        try:
            return self.kernel.arch.switch_registers(task)
        except KdumpUnreadable as error:
            self.problems.append("registers of pid %d: %s" % (task.pid, error))
            return {}

    def sidecar(self) -> Dict[str, Any]:
        """What kdump-save-kernel-json writes, as a dict."""
        threads = [self._thread(task) for task in self.tasks]
        return {
            "format": "kdump-gdbserver kernel tasks",
            "version": 1,
            "dump": self.kernel.identity(),
            "cpus": self.cpus,
            "errors": self.problems,
            "threads": threads,
        }

    def _thread(self, task: KdumpTask) -> Dict[str, Any]:
        thread = {
            "pid": task.tgid,
            "tid": task.pid,
            "ppid": self.parent_pid(task),
            "uid": self.uid(task),
            "comm": task.name,
            "kthread": task.is_kthread,
            "address": task.address,
            "state": task.state_letter,
            "registers": self.registers(task),
        }
        if task.cpu is not None:
            thread["cpu"] = task.cpu
        if task.idle_cpu is not None:
            thread["idle_cpu"] = task.idle_cpu
        return thread


# ------------------------------------------------------------------------------ processes


class KdumpUserMemory:
    """A process's own memory, read through its page tables; gdb sees the kernel's only."""

    def __init__(self, kernel: "KdumpKernel", pgd: int) -> None:
        self.memory = kernel.memory
        self.pgd = pgd
        self.tables = kernel.arch.page_tables(pgd)

    def fetch(self, address: int, size: int) -> bytes:
        """KdumpUnreadable where a page is not in memory, or not in the dump."""
        if self.tables is None:
            raise KdumpUnreadable(address, size)
        data = b""
        while len(data) < size:
            at = address + len(data)
            page, page_size = self.tables.page(self.pgd, at)
            inside = at % page_size
            data += self.memory.fetch(page + inside, min(size - len(data), page_size - inside))
        return data


class KdumpPaths:
    """The path of an open file, as /proc/PID/maps shows it (d_path() in fs/d_path.c)."""

    MAX_DEPTH = 512
    # When a file was modified last, as Linux since 6.11, since 6.6 and before has it.
    TIMES = ("i_mtime_sec", "__i_mtime.tv_sec", "i_mtime.tv_sec")

    def __init__(self, kernel: "KdumpKernel") -> None:
        self.memory = kernel.memory
        self.file = kernel.layout("struct file", ["f_path.mnt", "f_path.dentry", "f_inode"])
        self.dentry = kernel.layout(
            "struct dentry", ["d_parent", "d_name.name", "d_name.len", "d_hash.pprev"]
        )
        mount = ["mnt_parent", "mnt_mountpoint", "mnt.mnt_root"]
        self.mount = kernel.layout("struct mount", mount)
        self.vfsmount = kernel.layout("struct mount", ["mnt"]).offset("mnt")
        self.inode = kernel.layout("struct inode", ["i_ino", "i_sb"], ["i_size", *self.TIMES])
        self.super_block = kernel.layout("struct super_block", ["s_dev"])
        self._files: Dict[int, Tuple[str, int, str]] = {}
        self._paths: Dict[Tuple[int, int], str] = {}

    def look(self, file: int) -> Tuple[str, int, str]:
        """(path, inode number, "major:minor") of a struct file."""
        if file not in self._files:
            self._files[file] = self._look(file)
        return self._files[file]

    def _look(self, file: int) -> Tuple[str, int, str]:
        values = self.file.read(self.memory, file)
        inode = self.inode.read(self.memory, values["f_inode"])
        device = self.super_block.read(self.memory, inode["i_sb"])["s_dev"]
        number = "%02x:%02x" % (device >> 20, device & 0xFFFFF)  # include/linux/kdev_t.h
        key = (values["f_path.mnt"], values["f_path.dentry"])
        if key not in self._paths:
            self._paths[key] = self._path(*key)
        return self._paths[key], inode["i_ino"], number

    def size_and_time(self, file: int) -> Dict[str, int]:
        """{"file_size": bytes, "file_mtime": seconds}, by which --sysroot knows a file again."""
        values = self.file.read(self.memory, file)
        inode = self.inode.read(self.memory, values["f_inode"])
        time = next((inode[name] for name in self.TIMES if name in inode), None)
        found = {"file_size": inode.get("i_size"), "file_mtime": time}
        # Both are signed in the kernel, and never negative for a file that is mapped.
        return {name: n for name, n in found.items() if n is not None and 0 <= n < 1 << 63}

    def _path(self, vfsmount: int, dentry: int) -> str:
        mount = self._mount(vfsmount - self.vfsmount)
        values = self.dentry.read(self.memory, dentry)
        alone = values["d_parent"] == dentry
        if alone and dentry != mount["mnt.mnt_root"]:
            # Made by the kernel for itself, so in no folder: shared memory, memfd, ...
            name = self._name(values)
            return "anon_inode:" + name if name.startswith("[") else "/%s (deleted)" % name
        gone = " (deleted)" if not alone and not values["d_hash.pprev"] else ""
        return "/" + "/".join(reversed(self._names(mount, dentry, values))) + gone

    def _names(self, mount: Dict[str, int], dentry: int, values: Dict[str, Any]) -> List[str]:
        """The path's parts, the last one first, up to the root of the root file system."""
        names: List[str] = []
        for _ in range(self.MAX_DEPTH):
            while dentry == mount["mnt.mnt_root"]:
                if mount["mnt_parent"] == mount["address"]:
                    return names
                dentry = mount["mnt_mountpoint"]
                mount = self._mount(mount["mnt_parent"])
                values = self.dentry.read(self.memory, dentry)
            if values["d_parent"] == dentry:
                return names  # the file system is not mounted any more
            names.append(self._name(values))
            dentry = values["d_parent"]
            values = self.dentry.read(self.memory, dentry)
        raise KdumpCorrupt("path of dentry 0x%x has no end" % dentry)

    def _mount(self, address: int) -> Dict[str, int]:
        return dict(self.mount.read(self.memory, address), address=address)

    def _name(self, values: Dict[str, Any]) -> str:
        length = min(values["d_name.len"], 255)
        return kdump_text(self.memory.fetch(values["d_name.name"], length) if length else b"")


class KdumpMappings:
    """A process's VMAs as /proc/PID/maps shows them (fs/proc/task_mmu.c)."""

    MEMBERS = ("vm_start", "vm_end", "vm_flags", "vm_pgoff", "vm_file", "vm_ops", "vm_private_data")
    FLAGS = ((1, "r"), (2, "w"), (4, "x"))  # VM_READ, VM_WRITE, VM_EXEC in include/linux/mm.h
    MAYSHARE = 0x80
    PAGE_SHIFT = 12

    def __init__(self, kernel: "KdumpKernel", mm: KdumpTask, problems: List[str]) -> None:
        self.kernel = kernel
        self.memory = kernel.memory
        self.mm = mm
        self.problems = problems
        self.layout = kernel.layout("struct vm_area_struct", self.MEMBERS, ["vm_next", "anon_name"])
        self.paths = KdumpPaths(kernel)
        self.special_ops = kernel.find("special_mapping_vmops")
        page_size = kernel.vmcoreinfo().get("PAGESIZE", "")
        if page_size.isdigit():
            self.PAGE_SHIFT = int(page_size).bit_length() - 1

    def all(self) -> List[Dict[str, Any]]:
        """The mappings as the sidecar has them, by address."""
        found = [self._mapping(values) for values in self._vmas()]
        return sorted(
            (vma for vma in found if vma["start"] < vma["end"]), key=lambda vma: vma["start"]
        )

    def _vmas(self) -> Iterator[Dict[str, Any]]:
        """The members of each vm_area_struct: on a list before 6.1, in a maple tree since."""
        root = self.mm.values.get("mm_mt.ma_root")
        if root is None:
            return self._list(self.mm.values.get("mmap", 0))
        tree = KdumpMapleTree(
            self.memory,
            self.kernel.layout("struct maple_range_64", ["pivot", "slot"]),
            self.kernel.layout("struct maple_arange_64", ["pivot", "slot"]),
        )
        read = (self._read(address) for address in tree.entries(root, self.problems))
        return (values for values in read if values)

    def _list(self, address: int) -> Iterator[Dict[str, Any]]:
        seen = set()
        while address:
            if address in seen:
                self.problems.append("VMA list: loops back to 0x%x" % address)
                return
            seen.add(address)
            values = self._read(address)
            if values is None:
                return
            yield values
            address = values["vm_next"]

    def _read(self, address: int) -> Optional[Dict[str, Any]]:
        try:
            return self.layout.read(self.memory, address)
        except KdumpUnreadable as error:
            self.problems.append("VMA at 0x%x: %s" % (address, error))
            return None

    def _mapping(self, vma: Dict[str, Any]) -> Dict[str, Any]:
        flags = vma["vm_flags"]
        perms = "".join(letter if flags & bit else "-" for bit, letter in self.FLAGS)
        mapping = {
            "start": vma["vm_start"],
            "end": vma["vm_end"],
            "perms": perms + ("s" if flags & self.MAYSHARE else "p"),
            "offset": 0,
            "dev": "00:00",
            "inode": 0,
            "path": "",
        }
        if vma["vm_file"]:
            mapping["offset"] = vma["vm_pgoff"] << self.PAGE_SHIFT
            try:
                path, inode, device = self.paths.look(vma["vm_file"])
                mapping.update(path=path, inode=inode, dev=device)
                mapping.update(self.paths.size_and_time(vma["vm_file"]))
            except KdumpError as error:
                self.problems.append("file of VMA 0x%x: %s" % (vma["vm_start"], error))
        else:
            mapping["path"] = self._name(vma)
        return mapping

    def _name(self, vma: Dict[str, Any]) -> str:
        """What a mapping without a file is called."""
        mm = self.mm.values
        with contextlib.suppress(KdumpUnreadable):
            if self.special_ops and vma["vm_ops"] == self.special_ops:
                # struct vm_special_mapping begins with the name.
                name = self.memory.pointer(vma["vm_private_data"])
                return kdump_text(self.memory.string(name, 64))
            if vma["vm_start"] <= mm["brk"] and vma["vm_end"] >= mm["start_brk"]:
                return "[heap]"
            if vma["vm_start"] <= mm["start_stack"] <= vma["vm_end"]:
                return "[stack]"
            name = vma.get("anon_name", 0)
            if name >= KDUMP_USER_END:
                at = self.kernel.layout("struct anon_vma_name", ["name"]).offset("name")
                return "[anon:%s]" % kdump_text(self.memory.string(name + at, 80))
        return ""


class KdumpSignals:
    """What signal a thread was about to get."""

    SIZE = 128  # of the siginfo_t that user space sees
    FAULTS = (4, 5, 7, 8, 11)  # SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV: si_addr is set

    def __init__(self, kernel: "KdumpKernel") -> None:
        self.memory = kernel.memory
        self.task = kernel.layout("struct task_struct", ["last_siginfo", "pending.list.next"])
        self.signal = kernel.layout("struct signal_struct", ["shared_pending.list.next"])
        queue = kernel.layout("struct sigqueue", ["list.next", "info"])
        self.link, self.info = queue.offset("list.next"), queue.members["info"]

    def of(self, task: KdumpTask) -> Optional[Dict[str, Any]]:
        """The siginfo a tracer would see, else the first one waiting for the thread or process.

        A dict of its fields, `bytes` being the whole siginfo_t as hex; None if there is none.
        """
        values = self.task.read(self.memory, task.address)
        if values["last_siginfo"]:
            return self._read(values["last_siginfo"])
        own = task.address + self.task.offset("pending.list.next")
        shared = task.signal + self.signal.offset("shared_pending.list.next")
        for head in (own, shared):
            first = self.memory.pointer(head)
            if first != head:
                return self._read(first - self.link + self.info.offset)
        return None

    def _read(self, address: int) -> Dict[str, Any]:
        raw = self.memory.fetch(address, min(self.info.size, self.SIZE))
        raw += bytes(self.SIZE - len(raw))

        def field(at: int, size: int, signed: bool = False) -> int:
            return int.from_bytes(raw[at : at + size], self.memory.byte_order, signed=signed)

        number, code = field(0, 4), field(8, 4, signed=True)
        info: Dict[str, Any] = {
            "si_signo": number,
            "si_errno": field(4, 4, signed=True),
            "si_code": code,
        }
        if code > 0 and number in self.FAULTS:
            info["si_addr"] = field(16, 8)
        else:
            info.update(si_pid=field(16, 4), si_uid=field(20, 4))
        info["bytes"] = "".join("%02x" % byte for byte in raw)
        return info


class KdumpProcess:
    """One user process, with all that a core file of it would hold."""

    MM_MEMBERS = (
        "pgd",
        "exe_file",
        "saved_auxv",
        "start_code",
        "end_code",
        "start_brk",
        "brk",
        "start_stack",
        "arg_start",
        "arg_end",
        "env_start",
        "env_end",
    )
    LONGEST_COMMAND = 1 << 20

    def __init__(self, snapshot: "KdumpSnapshot", pid: int) -> None:
        self.snapshot = snapshot
        self.kernel = snapshot.kernel
        self.arch = self.kernel.arch
        self.problems = list(snapshot.problems)
        named = self._named(pid)
        self.pid = named.tgid
        self.threads = [
            task for task in snapshot.tasks if task.tgid == self.pid and not task.exit_state
        ]
        self.mm = self._mm(named)
        self.auxv, self.auxv_is_32 = kdump_auxv(
            self.mm.values["saved_auxv"], self.kernel.memory.byte_order
        )
        self.frame_layout = self.kernel.layout("struct pt_regs", self.arch.user_frame)
        self.thread_layout = self._thread_layout()
        self.stack_size = self.kernel.stack_size()

    def _thread_layout(self) -> Optional[KdumpLayout]:
        """Those of the architecture's members that this kernel has; None if it has none."""
        type_ = self.kernel.type("struct task_struct")
        wanted = self.arch.user_thread.items()
        there = {name: path for name, path in wanted if kdump_resolve(type_, path)}
        return self.kernel.layout("struct task_struct", (), (), there) if there else None

    def _named(self, pid: int) -> KdumpTask:
        """The task of that pid, if it has, or had, user memory."""
        task = next((task for task in self.snapshot.tasks if task.pid == pid), None)
        if task is None:
            raise KdumpError("no process or thread has pid %d: kdump-kernel-ps lists them" % pid)
        if task.is_kthread:
            raise KdumpError(
                "pid %d is the kernel thread %s: it has no user memory" % (pid, task.name)
            )
        return task

    def _mm(self, named: KdumpTask) -> KdumpTask:
        address = next((task.mm for task in self.threads if task.mm), 0)
        if not address:
            raise KdumpError("pid %d (%s) has exited: its memory is gone" % (named.pid, named.name))
        layout = self.kernel.layout("struct mm_struct", self.MM_MEMBERS, ["mm_mt.ma_root", "mmap"])
        return KdumpTask(address, layout.read(self.kernel.memory, address))

    def sidecar(self) -> Dict[str, Any]:
        """What kdump-save-process-json writes, as a dict."""
        vmas = KdumpMappings(self.kernel, self.mm, self.problems)
        mappings = vmas.all()
        threads, compat = self._threads(mappings)
        exe, loadaddr = self._executable(vmas.paths, mappings)
        leader = next((task for task in self.snapshot.tasks if task.pid == self.pid), None)
        content = {
            "format": "kdump-gdbserver process",
            "version": 1,
            "dump": self.kernel.identity(),
            "pid": self.pid,
            "comm": (leader or self.threads[0]).name,
            "rootpgt": self.mm.values["pgd"],
            "loadaddr": loadaddr,
            "mode": 32 if compat else 64,
            "exe": exe,
            "cmdline": self._command_line(),
            "auxv": "".join("%02x" % byte for byte in self.auxv),
        }
        for name in self.MM_MEMBERS[3:]:
            content[name] = self.mm.values[name]
        content.update(threads=threads, vmas=mappings, errors=self.problems)
        return content

    def _executable(
        self, paths: KdumpPaths, mappings: List[Dict[str, Any]]
    ) -> Tuple[Optional[str], int]:
        """(path, start of its first executable mapping).

        The earlier script had the first executable mapping of all, which is the same one unless
        something odd is mapped below the executable.
        """
        try:
            exe, inode, device = paths.look(self.mm.values["exe_file"])
        except KdumpError as error:
            self.problems.append("executable: %s" % error)
            exe, inode, device = None, None, None
        code = [vma for vma in mappings if "x" in vma["perms"]]
        own = [vma for vma in code if (vma["inode"], vma["dev"]) == (inode, device)]
        return exe, min((vma["start"] for vma in own or code), default=0)

    def _command_line(self) -> List[str]:
        start, end = self.mm.values["arg_start"], self.mm.values["arg_end"]
        size = min(end - start, self.LONGEST_COMMAND)
        if size <= 0:
            return []
        try:
            raw = KdumpUserMemory(self.kernel, self.mm.values["pgd"]).fetch(start, size)
        except KdumpUnreadable as error:
            self.problems.append("command line: %s" % error)
            return []
        if raw.endswith(b"\0"):
            raw = raw[:-1]
        return [part.decode("utf-8", "backslashreplace") for part in raw.split(b"\0")]

    def _threads(self, mappings: List[Dict[str, Any]]) -> Tuple[List[Dict[str, Any]], bool]:
        """(the threads' dicts, whether it is a 32-bit process)."""
        signals = KdumpSignals(self.kernel)
        states = [(task, self._registers(task, mappings)) for task in self.threads]
        compat = any(self.arch.is_compat(regs, self.auxv_is_32) for _, (regs, _) in states)
        threads = []
        for task, (registers, user_mode) in states:
            thread = {
                "pid": task.tgid,
                "tid": task.pid,
                "comm": task.name,
                "registers": registers,
                "fpregs": self._fp_registers(task),
            }
            if compat:
                thread["registers"] = self.arch.compat_registers(registers)
                thread["fpregs"] = self.arch.compat_fp_registers(thread["fpregs"])
            if task.cpu is not None:
                thread["cpu"] = task.cpu
            if user_mode is not None:
                thread["user_mode"] = user_mode
            self._add_signal(thread, task, signals)
            threads.append(thread)
        return threads, compat

    def _add_signal(self, thread: Dict[str, Any], task: KdumpTask, signals: KdumpSignals) -> None:
        try:
            info = signals.of(task)
            if info:
                thread["siginfo"] = info
            address = self.arch.fault_address(self._thread_values(task))
            if address is not None and address < KDUMP_USER_END:
                thread["fault_address"] = address
        except KdumpUnreadable as error:
            self.problems.append("signals of pid %d: %s" % (task.pid, error))

    def _thread_values(self, task: KdumpTask) -> Dict[str, Any]:
        layout = self.thread_layout
        return layout.read(self.kernel.memory, task.address) if layout else {}

    def _fp_registers(self, task: KdumpTask) -> Dict[str, int]:
        """Those the kernel saved; a running task's are in the CPU, and no dump has them."""
        if task.cpu is not None or not task.stack:
            return {}
        try:
            return self.arch.fp_registers(task)
        except KdumpError as error:
            self.problems.append("floating-point registers of pid %d: %s" % (task.pid, error))
            return {}

    def _registers(
        self, task: KdumpTask, mappings: List[Dict[str, Any]]
    ) -> Tuple[Dict[str, int], Optional[bool]]:
        """(the user registers, whether its CPU was in user mode or None).

        On entry the kernel puts them at the end of the thread's kernel stack. A thread that was
        in user mode at the crash has only leftovers there: its CPU's registers are the ones.
        """
        on_cpu = kdump_cpu_registers(task)
        if on_cpu and self.arch.is_user_mode(on_cpu) and self._is_code(on_cpu, mappings):
            return on_cpu, True
        try:
            registers = self._saved(task)
        except KdumpError as error:
            self.problems.append("user registers of pid %d: %s" % (task.pid, error))
            return {}, None
        if task.cpu is None:
            return registers, None
        for name in self.arch.thread_registers(self._thread_values(task)):
            registers.pop(name)  # of its last sleep, which may be long ago
        for name in self.arch.kept_in_kernel:
            if name in on_cpu:
                registers[name] = on_cpu[name]
        return registers, False if on_cpu else None

    @staticmethod
    def _is_code(registers: Dict[str, int], mappings: List[Dict[str, Any]]) -> bool:
        pc = registers.get("rip", registers.get("pc"))
        return any(vma["start"] <= pc < vma["end"] and "x" in vma["perms"] for vma in mappings)

    def _saved(self, task: KdumpTask) -> Dict[str, int]:
        """The user registers on the kernel stack, and in thread_struct."""
        if not task.stack:
            raise KdumpError("its kernel stack is gone")
        layout = self.frame_layout
        align = self.arch.stack_align
        top = task.stack + self.stack_size - (layout.size + align - 1) // align * align
        for padding in self.arch.stack_padding:
            values = layout.read(self.kernel.memory, top - padding)
            if self.arch.is_user_frame(values):
                break
        else:
            raise KdumpError("there are none (it never was in user mode, or its stack is damaged)")
        registers = {}
        for member, name in self.arch.user_frame.items():
            if isinstance(values[member], bytes):  # aarch64's x0 to x30
                for number, value in enumerate(self.kernel.memory.split(values[member])):
                    registers["x%d" % number] = value
            else:
                registers[name] = values[member]
        registers.update(self.arch.thread_registers(self._thread_values(task)))
        for name, bits in self.arch.narrow.items():
            if name in registers:
                registers[name] &= (1 << bits) - 1
        return registers


def kdump_auxv(saved: bytes, byte_order: Any) -> Tuple[bytes, bool]:
    """(mm->saved_auxv up to and with AT_NULL, whether it is a 32-bit program's).

    Pairs of words, of the program's size (fs/binfmt_elf.c, fs/compat_binfmt_elf.c). The types
    are small numbers, so that two 32-bit words taken for one 64-bit type give it away.
    """

    def pairs(size: int) -> Iterator[Tuple[int, int]]:
        for at in range(0, len(saved) - 2 * size + 1, 2 * size):
            yield int.from_bytes(saved[at : at + size], byte_order), at + 2 * size

    for size in (8, 4):
        for kind, end in pairs(size):
            if kind == 0:
                return saved[:end], size == 4
            if kind > 0xFFFF:
                break
    return b"", False


def kdump_cpu_registers(task: KdumpTask) -> Dict[str, int]:
    """The registers that the task's CPU had, from gdb's own thread for it, or {}.

    In the kernel view the server calls such a thread "CPU #N ...", in the view with tasks
    'pid P LWP T "NAME"'.
    """
    if task.cpu is None:
        return {}
    wanted = re.compile(r"\((?:CPU #%d\b|pid \d+ LWP %d )" % (task.cpu, task.pid))
    before = gdb.selected_thread()
    for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num):
        text = gdb.execute("info threads %s" % thread.num, to_string=True)
        if wanted.search(text):
            try:
                thread.switch()
                return kdump_frame_registers(gdb.newest_frame())
            except gdb.error:
                return {}
            finally:
                if before is not None:
                    before.switch()
    return {}


def kdump_frame_registers(frame: Any) -> Dict[str, int]:
    """The general registers of a frame that are known, by name, unsigned."""
    arch = KDUMP_ARCHITECTURES[frame.architecture().name()]
    names = list(arch.user_frame.values()) + list(arch.user_thread)
    if "regs" in names:
        names += ["x%d" % n for n in range(31)]
    registers = {}
    for name in names:
        try:
            value = frame.read_register(name)
            registers[name] = int(value) % 2 ** (8 * value.type.sizeof)
        except (gdb.error, ValueError):
            continue  # not known, or not of this architecture
    return registers


# ------------------------------------------------------------------------------ interrupt stacks

KDUMP_IMAGE = 0x6B64756D70000000  # where the server shows gdb unwind data for entry code


class KdumpOrc:
    """The kernel's own unwind tables for x86_64 (CONFIG_UNWINDER_ORC).

    One has a 32-bit offset for each row, counted from where it stands to the first address that
    the row is for; the other has the rows. Source: arch/x86/include/asm/orc_types.h,
    arch/x86/kernel/unwind_orc.c.
    """

    NAMES = ("__start_orc_unwind_ip", "__stop_orc_unwind_ip", "__start_orc_unwind")
    FUNCTION = "unwind_next_frame"  # is in every kernel that has tables
    ROW = struct.Struct("<hhH")  # sp_offset, bp_offset, flags
    # Where the value of sp_reg (bits 0-3 of the flags) or bp_reg (4-7) is counted from.
    UNCHANGED, PREV_SP, BP, SP, SP_INDIRECT = 0, 1, 4, 5, 9
    # What lies there (bits 8 on): a return address just below it, or a struct pt_regs. The first
    # is 0, since 6.4 2; until then no row for SP_INDIRECT had 2. The second is 1, in 6.3 with a
    # bit that says so, since 6.4 3 with such a bit.
    CALL = (0, 2)
    REGS = (1, 5, 3, 11)

    def __init__(self, memory: KdumpMemory, start_ip: int, stop_ip: int, rows: int) -> None:
        self.memory = memory
        self.ips = start_ip
        self.count = (stop_ip - start_ip) // 4
        self.rows = rows

    def row(self, pc: int) -> Tuple[int, int, int]:
        """(sp_offset, bp_offset, flags) for an address; KdumpUnreadable."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            at = self.ips + 4 * middle
            (offset,) = struct.unpack("<i", self.memory.fetch(at, 4))
            if at + offset <= pc:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            raise KdumpError("no unwind data for 0x%x" % pc)
        return self.ROW.unpack(self.memory.fetch(self.rows + self.ROW.size * (low - 1), 6))

    def caller(self, pc: int, sp: int, bp: Optional[int]) -> Optional[Dict[str, int]]:
        """The caller's registers, for a function that put its stack pointer where `sp` points.

        None for a function that did not. What is not in the result is unknown, and so may be
        `bp`. KdumpError.
        """
        sp_offset, bp_offset, flags = self.row(pc)
        if flags & 0xF != self.SP_INDIRECT or flags >> 8 not in self.CALL:
            return None
        top = self.memory.integer(sp, 8) + sp_offset
        found = {"rsp": top, "rip": self.memory.integer(top - 8, 8)}
        base = flags >> 4 & 0xF
        if base == self.PREV_SP:
            found["rbp"] = self.memory.integer(top + bp_offset, 8)
        elif base == self.UNCHANGED and bp is not None:
            found["rbp"] = bp
        elif base == self.BP and bp is not None:
            found["rbp"] = self.memory.integer(bp + bp_offset, 8)
        return found

    def saved(self, pc: int) -> Optional[int]:
        """How far above the stack pointer entry code, which returns to `pc`, has a pt_regs."""
        sp_offset, _, flags = self.row(pc - 1)
        return sp_offset if flags & 0xF == self.SP and flags >> 8 in self.REGS else None


class KdumpFrameId:
    """What tells a frame from all others, for gdb."""

    def __init__(self, sp: Any, pc: Any) -> None:
        self.sp = sp
        self.pc = pc


class KdumpInterruptStacks(gdb.unwinder.Unwinder):  # type: ignore[misc]
    """Unwinds functions that go on on their CPU's interrupt stack.

    They change stacks in inline assembly, which the compiler's unwind data is not told, so gdb
    looks for the rest of the frame above the interrupt stack. The topmost word of that stack,
    the last one in its page, has the stack pointer of before: call_on_stack() in
    arch/x86/include/asm/irq_stack.h, since 5.12.

    gdb ends a backtrace where a frame's id has a lower stack address than the frame before it,
    and the interrupt stack may lie above the other one. So the frame has the id of a frame on
    the interrupt stack, and so has the entry code that called it, which is why that is unwound
    here, too. Behind it comes the server's return_from_interrupt, which to gdb is a signal
    handler's frame, and the stack of that may be anywhere.

    gdb asks this about each and every frame, hence the early ways out. What must not be done
    here is to make gdb look at the selected frame, which may be behind the very frame that it
    is about to unwind: gdb aborts. It does so for any expression, and for the value of a symbol
    whose type may depend on something, such as an array's without length.
    """

    # The server's image of unwind data for entry code begins with an instruction that gdb
    # takes for a call, and IRET. A return to privilege level N is to N * 16 bytes behind that.
    IMAGE_CODE = KDUMP_IMAGE + 0x80
    CODE = b"\x90\x48\xcf"
    # struct pt_regs, and where in it is what the CPU saved (arch/x86/include/asm/ptrace.h)
    SAVED = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi".split()
    IP, CS, WORDS = 16, 17, 18

    def __init__(self) -> None:
        super().__init__("kdump-interrupt-stacks")
        # The entry code that called on an interrupt stack: {its rsp: (its pc, that stack's end)}
        self.entries: Dict[int, Tuple[int, int]] = {}
        self.linked: Dict[str, Dict[str, int]] = {}  # by file

    def __call__(self, frame: Any) -> Any:
        try:
            if frame.architecture().name() != KdumpX86_64.gdb_name:
                return None
            sp = self._register(frame, "rsp")
            if sp in self.entries:
                return self._unwind_entry(frame, sp)
            if sp & 0xFFF != 0xFF8 or sp < KDUMP_USER_END:
                return None
            return self._unwind(frame, sp)
        except (gdb.error, KdumpError):
            return None  # let gdb do what it can

    def _unwind(self, frame: Any, sp: int) -> Any:
        memory = KdumpMemory(kdump_fetch)
        if memory.integer(sp, 8) < KDUMP_USER_END:
            return None
        orc = self._orc(memory)
        if orc is None:
            return None
        try:
            bp: Optional[int] = self._register(frame, "rbp")
        except gdb.error:
            bp = None
        found = orc.caller(self._register(frame, "rip"), sp, bp)
        if found is None:
            return None
        self.entries[found["rsp"]] = (found["rip"], sp)
        return self._info(frame, sp, found)

    def _unwind_entry(self, frame: Any, sp: int) -> Any:
        pc, mark = self.entries[sp]
        if self._register(frame, "rip") != pc:
            return None
        memory = KdumpMemory(kdump_fetch)
        orc = self._orc(memory)
        offset = orc.saved(pc) if orc else None
        if offset is None or memory.fetch(self.IMAGE_CODE, len(self.CODE)) != self.CODE:
            return None
        words = memory.words(sp + offset, self.WORDS)
        found = {name: words[number] for number, name in enumerate(self.SAVED)}
        found["rsp"] = sp + offset + 8 * self.IP
        found["rip"] = self.IMAGE_CODE + 1 + 16 * (words[self.CS] & 3)
        return self._info(frame, mark, found)

    @staticmethod
    def _register(frame: Any, name: str) -> int:
        return int(frame.read_register(name)) % 2**64

    @staticmethod
    def _info(frame: Any, mark: int, registers: Dict[str, int]) -> Any:
        """What the Unwinder is to return: the frame's id, and the caller's registers."""

        def value(name: str, number: int) -> Any:
            return gdb.Value(number).cast(frame.read_register(name).type)

        info = frame.create_unwind_info(
            KdumpFrameId(value("rsp", mark), frame.read_register("rip"))
        )
        for name, number in registers.items():
            info.add_saved_register(name, value(name, number))
        return info

    def _orc(self, memory: KdumpMemory) -> Optional[KdumpOrc]:
        """The tables, which are as far from a function as in vmlinux, or None."""
        function = gdb.lookup_global_symbol(KdumpOrc.FUNCTION)
        if function is None or function.symtab is None:
            return None
        name = function.symtab.objfile.filename
        if name not in self.linked:
            self.linked[name] = kdump_linked_at(name, (KdumpOrc.FUNCTION,) + KdumpOrc.NAMES)
        linked = self.linked[name]
        if len(linked) <= len(KdumpOrc.NAMES):
            return None
        moved = int(function.value().address) - linked[KdumpOrc.FUNCTION]
        return KdumpOrc(memory, *((linked[name] + moved) % 2**64 for name in KdumpOrc.NAMES))


def kdump_linked_at(path: str, names: Iterable[str]) -> Dict[str, int]:
    """What an x86_64 ELF file's symbol table says of these symbols; {} if there is none.

    Source: the System V ABI, "Sections" and "Symbol Table".
    """
    try:
        with pathlib.Path(path).open("rb") as file:
            header = file.read(64)
            if header[:6] != b"\x7fELF\x02\x01":
                return {}
            (at,) = struct.unpack_from("<Q", header, 40)
            size, count = struct.unpack_from("<2H", header, 58)
            file.seek(at)
            sections = [struct.unpack_from("<2I4Q2I", file.read(size)) for _ in range(count)]

            def content(section: Tuple[int, ...]) -> bytes:
                file.seek(section[4])
                return file.read(section[5])

            table = next(section for section in sections if section[1] == 2)  # SHT_SYMTAB
            strings, symbols = content(sections[table[6]]), content(table)
    except (OSError, struct.error, IndexError, StopIteration):
        return {}
    # A name may also be the end of another one, and have that one's place.
    places = {
        match.start(): name
        for name in names
        for match in re.finditer(re.escape(name.encode()) + b"\0", strings)
    }
    whole = symbols[: len(symbols) // 24 * 24]
    return {
        places[name]: value
        for name, _, _, _, value, _ in struct.iter_unpack("<I2BH2Q", whole)
        if name in places
    }


# ------------------------------------------------------------------------------ files


def kdump_json(content: Dict[str, Any]) -> str:
    """The sidecar's text: one line for each item of its lists, so that it can be searched."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list) and value:
            lines = ",\n  ".join(json.dumps(item) for item in value)
            text = "[\n  %s\n ]" % lines
        else:
            text = json.dumps(value)
        parts.append(" %s: %s" % (json.dumps(key), text))
    return "{\n%s\n}\n" % ",\n".join(parts)


def kdump_write(name: str, text: str) -> None:
    """Write the file `name` (mode 0600: it tells about other users' processes), all or nothing.

    Until the text is safely on the disk it is in another file beside it, so whatever fails or is
    interrupted leaves an older file as it was, and no half a file.
    """
    path = pathlib.Path(name).expanduser().resolve()
    if path.exists() and not path.is_file():
        raise KdumpError("cannot write %s: not a regular file" % path)
    try:
        handle, scratch = tempfile.mkstemp(prefix=".kdump-", suffix=".tmp", dir=str(path.parent))
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            pathlib.Path(scratch).replace(path)
        except BaseException:
            pathlib.Path(scratch).unlink()
            raise
    except OSError as error:
        raise KdumpError("cannot write %s: %s" % (path, error.strerror)) from None


# ------------------------------------------------------------------------------ commands


class KdumpProgress:
    """Tells how far a long walk is, on a terminal only."""

    STEP = 1000

    def __init__(self) -> None:
        self.shown = False
        self.wanted = os.isatty(1)

    def __call__(self, count: int) -> None:
        if self.wanted and count % self.STEP == 0:
            gdb.write("\r%d tasks... " % count)
            gdb.flush()
            self.shown = True

    def done(self) -> None:
        if self.shown:
            gdb.write("\r\033[K")
            self.shown = False


@contextlib.contextmanager
def kdump_c_expressions() -> Iterator[None]:
    """Let gdb read expressions as C, whatever language the selected frame is written in."""
    before = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)
    try:
        yield
    finally:
        gdb.execute("set language %s" % before, to_string=True)


def kdump_snapshot() -> "KdumpSnapshot":
    """Read the kernel's tasks, showing progress."""
    progress = KdumpProgress()
    try:
        return KdumpKernel().read_tasks(progress)
    finally:
        progress.done()


def kdump_report(problems: List[str]) -> None:
    """Show each problem as one line."""
    for problem in problems:
        gdb.write("warning: %s\n" % problem, gdb.STDERR)


class KdumpCommand(gdb.Command):  # type: ignore[misc]
    """What the commands share: their words, and every failure as one line."""

    def invoke(self, argument: str, from_tty: bool) -> None:
        self.dont_repeat()
        try:
            with kdump_c_expressions():
                self.run(gdb.string_to_argv(argument))
        except (KdumpError, gdb.error) as error:
            raise gdb.GdbError(" ".join(str(error).split())) from None


class KdumpKernelPs(KdumpCommand):
    """List every task of the kernel in the dump.

    Usage: kdump-kernel-ps

    One line for each thread of each process, and for each CPU's idle task:
    user id, process id, parent's process id, thread id, name (a kernel thread's
    in brackets) and the address of its task_struct."""

    ROW = "{:<10} {:<10} {:<10} {:<10} {:<25} {}\n"

    def __init__(self) -> None:
        super().__init__("kdump-kernel-ps", gdb.COMMAND_DATA)

    def run(self, words: List[str]) -> None:
        if words:
            raise KdumpError("usage: kdump-kernel-ps (it takes no arguments)")
        snapshot = kdump_snapshot()
        gdb.write(self.ROW.format("UID", "PID", "PPID", "LWP", "COMM", "ADDRESS"))
        for task in snapshot.tasks:
            numbers = (snapshot.uid(task), task.tgid, snapshot.parent_pid(task), task.pid)
            shown = ["?" if number is None else number for number in numbers]
            gdb.write(self.ROW.format(*shown, task.name, "0x%x" % task.address))
        kdump_report(snapshot.problems)


class KdumpSaveKernelJson(KdumpCommand):
    """Save the kernel's tasks and their registers to FILE.

    Usage: kdump-save-kernel-json FILE

    Restart the server with the file, and gdb shows every task as a thread:
        kdump-gdbserver -f VMCORE -k FILE
    FILE is replaced if it exists, but only once all is written."""

    def __init__(self) -> None:
        super().__init__("kdump-save-kernel-json", gdb.COMMAND_DATA, gdb.COMPLETE_FILENAME)

    def run(self, words: List[str]) -> None:
        if len(words) != 1:
            raise KdumpError("usage: kdump-save-kernel-json FILE")
        snapshot = kdump_snapshot()
        kdump_write(words[0], kdump_json(snapshot.sidecar()))
        kdump_report(snapshot.problems)
        gdb.write("%d tasks written to %s\n" % (len(snapshot.tasks), words[0]))


class KdumpSaveProcessJson(KdumpCommand):
    """Save one user process of the dump to FILE.

    Usage: kdump-save-process-json FILE PID

    Restart the server with the file, and gdb shows the process as from a core file:
        kdump-gdbserver -f VMCORE -j FILE
    PID may be that of any of the process's threads; kdump-kernel-ps lists them.
    FILE is replaced if it exists, but only once all is written."""

    def __init__(self) -> None:
        super().__init__("kdump-save-process-json", gdb.COMMAND_DATA, gdb.COMPLETE_FILENAME)

    def run(self, words: List[str]) -> None:
        if len(words) != 2:
            raise KdumpError("usage: kdump-save-process-json FILE PID")
        if not words[1].isdigit():
            raise KdumpError(
                "PID must be a decimal number, not '%s': kdump-kernel-ps lists them" % words[1]
            )
        process = KdumpProcess(kdump_snapshot(), int(words[1]))
        content = process.sidecar()
        kdump_write(words[0], kdump_json(content))
        kdump_report(content["errors"])
        gdb.write(
            "process %d (%s), %d thread(s) written to %s\n"
            % (process.pid, content["comm"], len(content["threads"]), words[0])
        )


def kdump_sections_at_zero(path: str) -> List[str]:
    """The loaded sections of an ELF file that are linked at address 0.

    On x86_64 (until 6.15) per-CPU variables are: their addresses are offsets into each
    CPU's area, which KASLR does not move. Source: the System V ABI, "Sections".
    """
    with pathlib.Path(path).open("rb") as file:
        ident = file.read(64)
        if ident[:4] != b"\x7fELF" or ident[4:5] not in (b"\x01", b"\x02"):
            raise KdumpError("%s is no ELF file; name the dumped kernel's vmlinux" % path)
        order = "<" if ident[5:6] == b"\x01" else ">"
        wide = ident[4:5] == b"\x02"
        at = struct.unpack_from(order + ("Q" if wide else "I"), ident, 40 if wide else 32)[0]
        size, count, names = struct.unpack_from(order + "3H", ident, 58 if wide else 46)
        file.seek(at)
        headers = [
            struct.unpack_from(order + ("2I4Q" if wide else "6I"), file.read(size))
            for _ in range(count)
        ]
        if names >= count:
            return []
        file.seek(headers[names][4])
        table = file.read(headers[names][5])
    found = []
    for name, kind, flags, address, _, length in headers:
        if flags & 2 and not address and length and kind in (1, 8):  # SHF_ALLOC; a program's own
            found.append(table[name : table.index(b"\0", name)].decode("ascii", "replace"))
    return found


def kdump_quoted(word: str) -> str:
    """A word as gdb's command line takes it."""
    return '"%s"' % word.replace("\\", "\\\\").replace('"', '\\"')


def kdump_kernel_offset() -> int:
    """What KASLR added to the kernel's addresses, as the server tells it."""
    try:
        text = gdb.execute("monitor vmcoreinfo", to_string=True)
    except gdb.error:
        raise KdumpError("no server to ask; connect with 'target remote' first") from None
    offset = kdump_vmcoreinfo(text.encode("ascii", "replace")).get("KERNELOFFSET", "0")
    return int(offset, 16)


class KdumpSymbolFile(KdumpCommand):
    """Load the kernel's symbols where the dumped kernel was.

    Usage: kdump-symbol-file [VMLINUX]

    Both 'file VMLINUX' with 'target remote' and 'file VMLINUX -o OFFSET' move per-CPU
    variables along with the kernel, and those must stay: per-CPU look-ups, such as those of
    the kernel's own gdb scripts, go wrong. Here all is put where it belongs. Connect to the
    server first. Without VMLINUX the file that gdb has loaded is loaded anew."""

    def __init__(self) -> None:
        super().__init__("kdump-symbol-file", gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)

    def run(self, words: List[str]) -> None:
        if len(words) > 1:
            raise KdumpError("usage: kdump-symbol-file [VMLINUX]")
        path = str(pathlib.Path(words[0]).expanduser()) if words else self._loaded()
        try:
            unmoved = kdump_sections_at_zero(path)
        except (OSError, struct.error, ValueError, IndexError) as error:
            reason = getattr(error, "strerror", None) or "damaged ELF file"
            raise KdumpError("%s: %s; name the dumped kernel's vmlinux" % (path, reason)) from None
        offset = kdump_kernel_offset()
        confirm = gdb.parameter("confirm")
        gdb.execute("set confirm off")
        try:
            self._load(path, offset, unmoved)
        finally:
            gdb.execute("set confirm %s" % ("on" if confirm else "off"))
        gdb.write("symbols of %s loaded, moved by 0x%x" % (path, offset))
        gdb.write(" (%s not moved)\n" % ", ".join(unmoved) if unmoved else "\n")

    @staticmethod
    def _loaded() -> str:
        name = gdb.current_progspace().filename
        if not name:
            raise KdumpError("usage: kdump-symbol-file VMLINUX (no file is loaded yet)")
        return str(name)

    @staticmethod
    def _load(path: str, offset: int, unmoved: List[str]) -> None:
        gdb.execute("symbol-file", to_string=True)
        for loaded in gdb.objfiles():  # by this command, the last time
            name = loaded.filename or ""
            file = pathlib.Path(name)
            if file.exists() and file.samefile(path):
                gdb.execute("remove-symbol-file " + kdump_quoted(name), to_string=True)
        sections = "".join(" -s %s 0" % name for name in unmoved)
        gdb.execute(
            "add-symbol-file %s -o 0x%x%s" % (kdump_quoted(path), offset, sections), to_string=True
        )
        try:  # gdb has dropped all symbols, also what it got from the server
            if kdump_fetch(KDUMP_IMAGE, 4) == b"\x7fELF":
                if not gdb.current_progspace().filename:  # gdb wants a file as the pattern
                    gdb.execute("exec-file " + kdump_quoted(path), to_string=True)
                gdb.execute("add-symbol-file-from-memory 0x%x" % KDUMP_IMAGE, to_string=True)
        except KdumpUnreadable:
            pass  # another architecture


KdumpKernelPs()
KdumpSaveKernelJson()
KdumpSaveProcessJson()
gdb.unwinder.register_unwinder(None, KdumpInterruptStacks(), replace=True)
KdumpSymbolFile()
