"""Commands for gdb connected to kdump-gdbserver's kernel view: `source KdumpGdbCommands.py`.

    kdump-kernel-ps                     list every task
    kdump-save-kernel-json FILE         save the tasks, for `kdump-gdbserver -k FILE`

`help COMMAND` tells more. The file needs nothing but gdb with Python 3.6 or newer, the dump's
vmlinux, and a connection; it reads and never writes the target.

Everything here lands in the one name space that all scripts sourced in gdb share, hence the
prefix on every name. The parts, from the bottom up:

    memory and layouts    bytes of the target, and where a structure keeps its members
    kernel structures     lists and the pid tree, walked so that a torn one does no harm
    architectures         what the scheduler saves of a task's registers
    the kernel            symbols, CPUs, tasks
    files                 the sidecar's text, written all or nothing
    commands              what the user types

Facts about the kernel are from its source; file names below are paths in it.
"""

# ruff: noqa: N999  (users know the file by this name)
import contextlib
import json
import os
import pathlib
import struct
import tempfile

import gdb

# ------------------------------------------------------------------------------ errors


class KdumpError(Exception):
    """Something the user is told in one line; the command ends."""


class KdumpUnreadable(KdumpError):
    """The dump does not hold the memory at `address`."""

    def __init__(self, address, size):
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

    def __init__(self, fetch, byte_order="little", pointer_size=8, clean=None):
        self._fetch = fetch
        self.byte_order = byte_order
        self.pointer_size = pointer_size
        self.clean = clean or (lambda address: address)

    def fetch(self, address, size):
        return self._fetch(address % 2**64, size)  # a bad pointer less an offset may be negative

    def integer(self, address, size):
        return int.from_bytes(self.fetch(address, size), self.byte_order)

    def pointer(self, address):
        return self.clean(self.integer(address, self.pointer_size))

    def words(self, address, count):
        """`count` unsigned integers of pointer size from `address` on."""
        size = self.pointer_size
        data = self.fetch(address, size * count)
        return [
            int.from_bytes(data[at : at + size], self.byte_order)
            for at in range(0, size * count, size)
        ]


class KdumpMember:
    """Where one member lies: `offset` and `size` in bytes; `kind` is int, pointer or bytes."""

    __slots__ = ("kind", "offset", "size")

    def __init__(self, offset, size, kind="int"):
        self.offset = offset
        self.size = size
        self.kind = kind


class KdumpLayout:
    """The members of a structure that we read, all in one request to the target.

    One large read is much cheaper than one small read for each member: each read is a packet to
    the server and back.
    """

    def __init__(self, size, members):
        self.size = size
        self.members = members
        self.low = min(m.offset for m in members.values())
        self.high = max(m.offset + m.size for m in members.values())

    def __contains__(self, name):
        return name in self.members

    def offset(self, name):
        return self.members[name].offset

    def read(self, memory, address):
        """{member: value} of the structure at `address`; arrays come as bytes."""
        data = memory.fetch(address + self.low, self.high - self.low)
        return self.decode(memory, data)

    def decode(self, memory, data):
        """The same from `data`, which begins with the first byte of the first member."""
        values = {}
        for name, member in self.members.items():
            start = member.offset - self.low
            piece = data[start : start + member.size]
            if member.kind != "bytes":
                piece = int.from_bytes(piece, memory.byte_order)
                if member.kind == "pointer":
                    piece = memory.clean(piece)
            values[name] = piece
        return values


# ------------------------------------------------------------------------------ kernel structures


def kdump_list(head, first, next_of, what):
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

    def __init__(self, memory, node_layout, inner_mark):
        self.memory = memory
        self.layout = node_layout
        self.inner_mark = inner_mark

    def entries(self, root, problems):
        """Yield the leaf pointers below the entry `root`; unreadable branches go to `problems`."""
        return self._below(root, problems, set(), 0)

    def _below(self, entry, problems, seen, depth):
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


def kdump_per_cpu_base(symbol, start, offsets, is_right):
    """Where a per-CPU variable lies, as (base, what was tried): its copy is base + offsets[cpu].

    `symbol` and `start` are the variable and __per_cpu_start as gdb has them, `offsets` maps a
    CPU to __per_cpu_offset[cpu], `is_right(cpu, address)` looks whether that CPU's copy lies
    there.

    A kernel whose per-CPU section is part of its image (all but x86_64 before 6.15) just adds
    the offset to the symbol. Where the section is linked at 0 instead, the symbol must not be
    relocated by KASLR, but both `file vmlinux -o OFFSET` and the server's relocation do it; the
    section's start moves along, so the distance from it is right however the file was loaded.
    """
    tried = [symbol]
    if start is not None:
        tried.append(symbol - start)
    for base in tried:
        if all(is_right(cpu, (base + offset) % 2**64) for cpu, offset in offsets.items()):
            return base
    return None


def kdump_bits(data, byte_order):
    """The numbers of the bits set in a kernel bitmap (include/linux/bitmap.h)."""
    words = [data[at : at + 8] for at in range(0, len(data), 8)]
    return [
        64 * index + bit
        for index, word in enumerate(words)
        for bit in range(64)
        if int.from_bytes(word, byte_order) >> bit & 1
    ]


def kdump_build_id(notes, byte_order):
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


def kdump_vmcoreinfo(text):
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


# ------------------------------------------------------------------------------ tasks

KDUMP_PF_KTHREAD = 0x00200000  # include/linux/sched.h
KDUMP_PID_LIMIT = 4 * 1024 * 1024  # PID_MAX_LIMIT, include/linux/threads.h

KDUMP_STATES = "RSDTtXZPI"  # task_index_to_char(), include/linux/sched.h
KDUMP_TASK_REPORT = 0x7F
KDUMP_TASK_IDLE = 0x402  # TASK_UNINTERRUPTIBLE | TASK_NOLOAD
KDUMP_TASK_HIDDEN = 0x1000 | 0x8000  # TASK_RTLOCK_WAIT, TASK_FROZEN: shown as D


def kdump_state_letter(state, exit_state):
    """The letter ps(1) shows: __task_state_index() in include/linux/sched.h."""
    if state & KDUMP_TASK_IDLE == KDUMP_TASK_IDLE:
        return "I"
    if state & KDUMP_TASK_HIDDEN:
        return "D"
    return KDUMP_STATES[((state | exit_state) & KDUMP_TASK_REPORT).bit_length()]


def kdump_text(raw):
    """A kernel string as text: what is not printable (nor UTF-8) becomes \\xNN."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else "".join("\\x%02x" % b for b in c.encode("utf-8", "replace"))
        for c in text
    )


class KdumpTask:
    """One task_struct as it was read: `values` holds the members, `address` where it lies."""

    def __init__(self, address, values):
        self.address = address
        self.values = values
        self.idle_cpu = None  # number of the CPU whose idle task this is
        self.cpu = None  # number of the CPU it was running on at the crash

    def __getattr__(self, name):
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def is_kthread(self):
        return self.idle_cpu is not None or bool(self.flags & KDUMP_PF_KTHREAD)

    @property
    def name(self):
        """The command name; a kernel thread's in brackets, as ps(1) has it."""
        comm = kdump_text(self.comm)
        return "[%s]" % comm if self.is_kthread else comm

    @property
    def state_letter(self):
        return kdump_state_letter(self.state, self.exit_state)

    def doubt(self):
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

    def __init__(self, memory, layout, signal_layout, progress=None):
        self.memory = memory
        self.layout = layout
        self.signal_layout = signal_layout
        self.progress = progress or (lambda count: None)
        self.problems = []
        self._tasks = {}  # address: KdumpTask, in the order of finding
        self._groups = {}  # tgid: [KdumpTask], likewise
        self._by_pid = {}

    def at(self, address):
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

    def add(self, task):
        """Count a task in, once; two of one pid cannot be, so the first one found is kept."""
        other = self._by_pid.setdefault(task.pid, task)
        if other is not task:
            text = "pid %d is there twice: at 0x%x and, left out, at 0x%x"
            self.problems.append(text % (task.pid, other.address, task.address))
        elif task not in self._groups.setdefault(task.tgid, []):
            self._groups[task.tgid].append(task)

    def found(self):
        """Every task added: process by process, threads behind their leader."""
        return [task for group in self._groups.values() for task in group]

    def walk_lists(self, init_task):
        """Add every task on the list that begins at init_task, with its threads."""
        offset = self.layout.offset("tasks.next")
        first = self.at(init_task).values["tasks.next"]
        for leader in self._walk(init_task + offset, first, "tasks.next", "task list"):
            self.add(leader)
            self._walk_threads(leader)

    def walk_pids(self, pids):
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

    def _walk_threads(self, leader):
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

    def _walk(self, head, first, key, what):
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


# ------------------------------------------------------------------------------ architectures


class KdumpX86_64:
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

    def __init__(self, kernel):
        self.memory = kernel.memory
        self.layout = kernel.layout(self.frame, optional=self.frame_registers)

    @staticmethod
    def clean(address):
        return address

    def switch_registers(self, task):
        """What the scheduler saved: the registers a called function must preserve.

        thread.sp points at the frame, whose last word is the return address; so the stack
        pointer as of that address is behind the whole frame.
        """
        sp = task.values["saved.sp"]
        values = self.layout.read(self.memory, sp)
        registers = {self.frame_registers[name]: value for name, value in values.items()}
        registers["rsp"] = sp + self.layout.size
        return registers


class KdumpAarch64:
    """aarch64: thread.cpu_context holds a switched-out task's registers."""

    name = "aarch64"
    gdb_name = "aarch64"
    # arch/arm64/include/asm/processor.h: struct cpu_context; gdb calls fp x29.
    context = dict({"x%d" % n: "x%d" % n for n in range(19, 29)}, fp="x29", sp="sp", pc="pc")
    saved = {"saved." + name: "thread.cpu_context." + name for name in context}

    def __init__(self, kernel):
        self.code_mark = self.code_bits(kernel.address("_stext"))

    @staticmethod
    def clean(address):
        """Without the tag that the address's top byte may carry (KASAN, MTE)."""
        return address | 0xFF << 56 if address >> 55 & 1 else address

    @staticmethod
    def code_bits(stext):
        """The bits that all kernel code addresses have set: those above _stext's first zero."""
        return 2**64 - (1 << (~stext % 2**64).bit_length())

    def code_address(self, address):
        """Without the authentication code an address may carry in its high bits.

        Bit 55 tells kernel from user addresses and is never part of the code (Arm ARM, "Pointer
        authentication").
        """
        return address | self.code_mark if address >> 55 & 1 else address

    def switch_registers(self, task):
        registers = {name: task.values["saved." + member] for member, name in self.context.items()}
        registers["pc"] = self.code_address(registers["pc"])
        return registers


class KdumpRiscv64:
    """riscv64: struct thread_struct holds a switched-out task's registers itself."""

    name = "riscv64"
    gdb_name = "riscv:rv64"
    # arch/riscv/include/asm/processor.h; s[0] is the frame pointer, which gdb calls fp.
    saved = {"saved.ra": "thread.ra", "saved.sp": "thread.sp", "saved.s": "thread.s"}
    s_names = ["fp"] + ["s%d" % n for n in range(1, 12)]

    def __init__(self, kernel):
        self.byte_order = kernel.memory.byte_order

    @staticmethod
    def clean(address):
        return address

    def switch_registers(self, task):
        raw = task.values["saved.s"]
        registers = {
            name: int.from_bytes(raw[8 * n : 8 * n + 8], self.byte_order)
            for n, name in enumerate(self.s_names)
        }
        registers["pc"] = task.values["saved.ra"]
        registers["sp"] = task.values["saved.sp"]
        return registers


KDUMP_ARCHITECTURES = {arch.gdb_name: arch for arch in (KdumpX86_64, KdumpAarch64, KdumpRiscv64)}

# ------------------------------------------------------------------------------ the kernel


def kdump_fetch(address, size):
    """Read the target's memory through gdb."""
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    except (gdb.error, OverflowError, ValueError):
        raise KdumpUnreadable(address, size) from None


def kdump_find_member(type_, name):
    """(offset in bytes, gdb.Field) of a member, also inside nameless structs and unions."""
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


def kdump_resolve(type_, path):
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


def kdump_architecture_name():
    """gdb's name for the target's architecture."""
    inferior = gdb.selected_inferior()
    if hasattr(inferior, "architecture"):  # gdb 9
        return inferior.architecture().name()
    return gdb.selected_frame().architecture().name()


class KdumpKernel:
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
    )

    def __init__(self):
        if not gdb.selected_inferior().threads():
            raise KdumpError("no dump: connect first (`target remote HOST:PORT`)")
        name = kdump_architecture_name()
        if name not in KDUMP_ARCHITECTURES:
            raise KdumpError(
                "architecture %s is not supported (%s are)"
                % (name, ", ".join(sorted(KDUMP_ARCHITECTURES)))
            )
        arch = KDUMP_ARCHITECTURES[name]
        self.memory = KdumpMemory(kdump_fetch, clean=arch.clean)
        # gdb reads the debug information of a source file when it needs something of it, and
        # looks first at what it has: these two files' include almost all types used below.
        self.init_pid_ns = self.address("init_pid_ns")
        self.runqueues = self.address("runqueues")
        self.arch = arch(self)
        self.task_layout = self._task_layout()
        self.init_task = self.address("init_task")
        self._check_match()

    # -- symbols

    def find(self, name):
        """The address of a symbol as gdb has it, or None."""
        symbol = gdb.lookup_global_symbol(name)
        try:
            if symbol is not None and symbol.symtab is not None:
                return int(symbol.value().address) % 2**64
            return int(gdb.parse_and_eval("(unsigned long)&%s" % name)) % 2**64
        except (gdb.error, ValueError, TypeError):
            return None

    def address(self, name):
        """The same, but it must be there."""
        address = self.find(name)
        if address is None:
            raise KdumpError("no symbol %s: load the dump's kernel symbols (`file vmlinux`)" % name)
        return address

    def type(self, name):
        """A gdb.Type by its name, or KdumpError."""
        try:
            return gdb.lookup_type(name).strip_typedefs()
        except gdb.error:
            raise KdumpError(
                "no type %s: this vmlinux lacks debug information (install the kernel's debug "
                "package, load its vmlinux)" % name
            ) from None

    def layout(self, name, required=(), optional=(), renamed=None):
        """A KdumpLayout with those members of the type `name` that it has.

        `renamed` maps a member's name in the layout to its path in the type. KdumpError if one
        of `required` or `renamed` is missing, or none is left.
        """
        type_ = self.type(name)
        paths = {path: path for path in tuple(required) + tuple(optional)}
        paths.update(renamed or {})
        members = {}
        for key, path in paths.items():
            member = kdump_resolve(type_, path)
            if member is not None:
                members[key] = member
            elif path not in optional:
                raise KdumpError("%s has no member %s: kernel not supported" % (name, path))
        if not members:
            raise KdumpError("%s has no known member: kernel not supported" % name)
        return KdumpLayout(type_.sizeof, members)

    def _task_layout(self):
        type_ = self.type("struct task_struct")
        state = "__state" if kdump_resolve(type_, "__state") else "state"  # renamed in 5.14
        return self.layout(
            "struct task_struct",
            self.TASK_MEMBERS,
            self.TASK_OPTIONAL,
            dict(self.arch.saved, state=state),
        )

    def _check_match(self):
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

    def identity(self):
        """The sidecar's "dump": which kernel, and which crash of it, the data are from."""
        notes = self.vmcoreinfo()
        identity = {
            "release": notes.get("OSRELEASE") or self._release(),
            "build_id": notes.get("BUILD-ID") or self._build_id(),
            "arch": self.arch.name,
        }
        if "CRASHTIME" in notes:
            identity["crash_time"] = int(notes["CRASHTIME"])
        if "KERNELOFFSET" in notes:
            identity["kaslr_offset"] = int(notes["KERNELOFFSET"], 16)
        return identity

    def vmcoreinfo(self):
        """What the kernel noted for readers of its dumps (kernel/vmcore_info.c), as a dict."""
        pointer, size = self.find("vmcoreinfo_data"), self.find("vmcoreinfo_size")
        if pointer is None or size is None:
            return {}
        try:
            size = self.memory.integer(size, self.memory.pointer_size)
            text = self.memory.fetch(self.memory.pointer(pointer), min(size, 1 << 16))
        except KdumpUnreadable:
            return {}
        return kdump_vmcoreinfo(text)

    def _release(self):
        try:
            layout = self.layout("struct uts_namespace", ["name.release"])
            values = layout.read(self.memory, self.address("init_uts_ns"))
        except KdumpError:
            return None
        return kdump_text(values["name.release"])

    def _build_id(self):
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
                return objfile.build_id
        return None

    # -- CPUs

    def read_cpus(self, problems):
        """The CPUs as [{"cpu", "curr", "idle", "online"}], from their runqueues.

        "curr" is what the CPU was running; comparing pids would not tell, as every CPU's idle
        task has pid 0, and some dumps have CPU numbers where pids belong.
        """
        layout = self.layout("struct rq", ["curr", "idle"], ["cpu"])
        offsets = self._per_cpu_offsets()
        base = self._runqueues(layout, offsets, problems)
        if base is None:
            return []
        online = self._online_cpus()
        cpus = []
        for cpu, offset in sorted(offsets.items()):
            try:
                values = layout.read(self.memory, (base + offset) % 2**64)
            except KdumpUnreadable as error:
                problems.append("runqueue of CPU %d: %s" % (cpu, error))
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

    def _online_cpus(self):
        """The CPUs in use before the crash.

        A panic takes the other CPUs out of the online mask as it stops them (stop_this_cpu() in
        arch/x86/kernel/process.c), but not out of the active mask, as unplugging a CPU does.
        """
        masks = [self._cpu_mask(name) for name in ("__cpu_online_mask", "__cpu_active_mask")]
        return set().union(*(mask for mask in masks if mask))

    def _runqueues(self, layout, offsets, problems):
        """What to add to a CPU's offset to get its runqueue's address, or None."""

        def is_right(cpu, address):
            try:
                values = layout.read(self.memory, address)
                name = self._read_comm(values["idle"]) if values["idle"] else b"swapper"
            except KdumpUnreadable:
                return False
            return values.get("cpu", cpu) == cpu and name.startswith(b"swapper")

        base = kdump_per_cpu_base(self.runqueues, self.find("__per_cpu_start"), offsets, is_right)
        if base is None:
            problems.append(
                "runqueues are not where vmlinux says: the idle tasks of other CPUs, and which "
                "task ran on which CPU, stay unknown"
            )
        return base

    def _read_comm(self, task):
        member = self.task_layout.members["comm"]
        return self.memory.fetch(task + member.offset, member.size)

    def _per_cpu_offsets(self):
        """{possible CPU: its __per_cpu_offset}; a kernel for one CPU has no such array."""
        table = self.find("__per_cpu_offset")
        if table is None:
            return {0: 0}
        possible = self._cpu_mask("__cpu_possible_mask")
        if not possible:
            return {}
        words = self.memory.words(table, max(possible) + 1)
        return {cpu: words[cpu] for cpu in possible}

    def _cpu_mask(self, name):
        """The CPUs in a struct cpumask, or None if there is none of that name."""
        address = self.find(name)
        if address is None:
            return None
        count = self._integer("nr_cpu_ids", 4) or 8 * self.type("struct cpumask").sizeof
        data = self.memory.fetch(address, (count + 63) // 64 * 8)
        return [cpu for cpu in kdump_bits(data, self.memory.byte_order) if cpu < count]

    def _integer(self, name, size):
        address = self.find(name)
        return None if address is None else self.memory.integer(address, size)

    # -- tasks

    def read_tasks(self, progress=None):
        """Every task of the kernel, and what went wrong: a KdumpSnapshot."""
        signal_layout = self.layout("struct signal_struct", (), ["thread_head.next", "nr_threads"])
        table = KdumpTaskTable(self.memory, self.task_layout, signal_layout, progress)
        problems = table.problems
        cpus = self.read_cpus(problems)
        idle = self._idle_tasks(table, cpus)
        table.walk_lists(self.init_task)
        torn = bool(problems)
        extra = table.walk_pids(self._pid_tasks(problems))
        if torn and extra:
            problems.append("%d more task(s) found by their pids" % extra)
        running = {cpu["curr"]: cpu["cpu"] for cpu in cpus if cpu["online"]}
        tasks = idle + table.found()
        for task in tasks:
            task.cpu = running.get(task.address)
        return KdumpSnapshot(self, table, tasks, cpus)

    def _idle_tasks(self, table, cpus):
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

    def _pid_tasks(self, problems):
        """Yield the address of the task of each pid that init_pid_ns has handed out."""
        try:
            tree, root = self._pid_tree()
            pid = self.layout("struct pid", ["tasks"])
            link = self.layout("struct task_struct", ["pid_links"]).offset("pid_links")
        except KdumpError as error:
            problems.append("pid tree not read: %s" % error)
            return
        for entry in tree.entries(root, problems):
            address = self.memory.clean(entry)
            try:
                # tasks[PIDTYPE_PID], an hlist_head: the task whose thread id this is.
                first = self.memory.pointer(address + pid.offset("tasks"))
            except KdumpUnreadable as error:
                problems.append("pid tree: %s" % error)
                continue
            if first:
                yield first - link

    def _pid_tree(self):
        """(KdumpRadixTree, root entry) of the initial pid name space."""
        try:
            path, node, mark = "idr.idr_rt.xa_head", "struct xa_node", 2
            namespace = self.layout("struct pid_namespace", [path])
            nodes = self.layout(node, ["slots"])
        except KdumpError:  # before 4.20
            path, node, mark = "idr.idr_rt.rnode", "struct radix_tree_node", 1
            namespace = self.layout("struct pid_namespace", [path])
            nodes = self.layout(node, ["slots"])
        values = namespace.read(self.memory, self.init_pid_ns)
        return KdumpRadixTree(self.memory, nodes, mark), values[path]


class KdumpSnapshot:
    """All tasks at the time of the crash: idle tasks first, then process by process."""

    def __init__(self, kernel, table, tasks, cpus):
        self.kernel = kernel
        self.table = table
        self.tasks = tasks
        self.cpus = cpus
        self.problems = table.problems
        self._on_cpu = {cpu["curr"] for cpu in cpus}
        self._uid_of = {}  # by address of struct cred: many tasks share one
        self._cred = kernel.layout("struct cred", ["uid"])

    def parent_pid(self, task):
        """The process id of the task's parent (0: none, or not in the dump)."""
        if not task.real_parent:
            return 0
        try:
            return self.table.at(task.real_parent).tgid
        except KdumpError as error:
            self.problems.append("parent of pid %d: %s" % (task.pid, error))
            return 0

    def uid(self, task):
        """The user id, in the initial user name space (0 if it is not in the dump)."""
        cred = task.real_cred
        if cred not in self._uid_of:
            try:
                self._uid_of[cred] = self._cred.read(self.kernel.memory, cred)["uid"]
            except KdumpUnreadable as error:
                self.problems.append("credentials of pid %d: %s" % (task.pid, error))
                self._uid_of[cred] = 0
        return self._uid_of[cred]

    def registers(self, task):
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

    def sidecar(self):
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

    def _thread(self, task):
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


# ------------------------------------------------------------------------------ files


def kdump_json(content):
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


def kdump_write(name, text):
    """Write the file `name` (mode 0600: it tells about other users' processes), all or nothing.

    Until the text is safely on the disk it is in another file beside it, so whatever fails or is
    interrupted leaves an older file as it was, and no half a file.
    """
    path = pathlib.Path(name).expanduser().resolve()
    if path.exists() and not path.is_file():
        raise KdumpError("%s is not a regular file" % path)
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


# ------------------------------------------------------------------------------ commands


class KdumpProgress:
    """Tells how far a long walk is, on a terminal only."""

    STEP = 1000

    def __init__(self):
        self.shown = False
        self.wanted = os.isatty(1)

    def __call__(self, count):
        if self.wanted and count % self.STEP == 0:
            gdb.write("\r%d tasks... " % count)
            gdb.flush()
            self.shown = True

    def done(self):
        if self.shown:
            gdb.write("\r\033[K")
            self.shown = False


@contextlib.contextmanager
def kdump_c_expressions():
    """Let gdb read expressions as C, whatever language the selected frame is written in."""
    before = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)
    try:
        yield
    finally:
        gdb.execute("set language %s" % before, to_string=True)


def kdump_snapshot():
    """Read the kernel's tasks, showing progress."""
    progress = KdumpProgress()
    try:
        return KdumpKernel().read_tasks(progress)
    finally:
        progress.done()


def kdump_report(problems):
    """Show each problem as one line."""
    for problem in problems:
        gdb.write("warning: %s\n" % problem, gdb.STDERR)


class KdumpCommand(gdb.Command):
    """What the commands share: their words, and every failure as one line."""

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        try:
            with kdump_c_expressions():
                self.run(gdb.string_to_argv(argument))
        except (KdumpError, gdb.error) as error:
            raise gdb.GdbError(" ".join(str(error).split())) from None
        except OSError as error:
            where = " (%s)" % error.filename if error.filename else ""
            raise gdb.GdbError("cannot write: %s%s" % (error.strerror, where)) from None


class KdumpKernelPs(KdumpCommand):
    """List every task of the kernel in the dump.

    Usage: kdump-kernel-ps

    One line for each thread of each process, and for each CPU's idle task:
    user id, process id, parent's process id, thread id, name (a kernel thread's
    in brackets) and the address of its task_struct."""

    ROW = "{:<10} {:<10} {:<10} {:<10} {:<25} {}\n"

    def __init__(self):
        super().__init__("kdump-kernel-ps", gdb.COMMAND_DATA)

    def run(self, words):
        if words:
            raise KdumpError("usage: kdump-kernel-ps (it takes no arguments)")
        snapshot = kdump_snapshot()
        gdb.write(self.ROW.format("UID", "PID", "PPID", "LWP", "COMM", "ADDRESS"))
        for task in snapshot.tasks:
            gdb.write(
                self.ROW.format(
                    snapshot.uid(task),
                    task.tgid,
                    snapshot.parent_pid(task),
                    task.pid,
                    task.name,
                    "0x%x" % task.address,
                )
            )
        kdump_report(snapshot.problems)


class KdumpSaveKernelJson(KdumpCommand):
    """Save the kernel's tasks and their registers to FILE.

    Usage: kdump-save-kernel-json FILE

    Restart the server with the file, and gdb shows every task as a thread:
        kdump-gdbserver -f VMCORE -k FILE
    FILE is replaced if it exists, but only once all is written."""

    def __init__(self):
        super().__init__("kdump-save-kernel-json", gdb.COMMAND_DATA, gdb.COMPLETE_FILENAME)

    def run(self, words):
        if len(words) != 1:
            raise KdumpError("usage: kdump-save-kernel-json FILE")
        snapshot = kdump_snapshot()
        kdump_write(words[0], kdump_json(snapshot.sidecar()))
        kdump_report(snapshot.problems)
        gdb.write("%d tasks written to %s\n" % (len(snapshot.tasks), words[0]))


KdumpKernelPs()
KdumpSaveKernelJson()
