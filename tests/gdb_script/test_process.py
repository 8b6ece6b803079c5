"""Reading a process: mappings, saved vectors, user registers, auxv, paths, user memory."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gdb_script.fakes import FakeMemory

# -- maple tree

NODES = 0xFFFF_8880_5000_0000
LAST = 2**64 - 1


class Maple:
    """Builds a maple tree the way the kernel lays it out."""

    def __init__(self, script):
        self.script = script
        self.memory = FakeMemory(script)
        self.next = NODES

    def node(self, kind, slots, pivots, room, leftovers=0):
        """A node of 256 bytes; unused slots get `leftovers`, which must not be looked at."""
        pivots = [*pivots, *[0] * (room - 1 - len(pivots))]
        slots = [*slots, *[leftovers] * (room - len(slots))]
        data = struct.pack(f"<Q{room - 1}Q{room}Q", 1, *pivots, *slots)
        self.memory.map(self.next, data + bytes(256 - len(data)))
        self.next += 256
        return self.next - 256 | kind << 3 | 2

    def walk(self, root):
        def layout(room):
            pivot, slot = 8, 8 + 8 * (room - 1)
            members = {
                "pivot": self.script.memory.Member(pivot, 8 * (room - 1), "bytes"),
                "slot": self.script.memory.Member(slot, 8 * room, "bytes"),
            }
            return self.script.memory.Layout(256, members)

        memory = self.script.memory.Memory(self.memory.fetch)
        tree = self.script.structures.MapleTree(memory, layout(16), layout(10))
        problems = []
        return list(tree.entries(root, problems)), problems


VMA = 0xFFFF_8880_4000_0000


def test_one_leaf_with_gaps_and_leftovers(script):
    maple = Maple(script)
    slots = [0, VMA + 0x100, 0, VMA + 0x200, 0]
    root = maple.node(1, slots, [0xFFF, 0x1FFF, 0x3FFF, 0x4FFF, LAST], 16, leftovers=VMA + 0x900)
    assert maple.walk(root) == ([VMA + 0x100, VMA + 0x200], [])


def test_last_slot_needs_no_pivot(script):
    maple = Maple(script)
    root = maple.node(1, [0, VMA, VMA + 0x100], [0xFFF, 0x1FFF], 16, leftovers=VMA + 0x900)
    assert maple.walk(root) == ([VMA, VMA + 0x100], [])


@given(st.lists(st.integers(1, 14), min_size=1, max_size=9), st.sampled_from([2, 3]))
def test_two_levels_keep_the_order(script, sizes, inner):
    maple = Maple(script)
    number = itertools.count()
    leaves, ends, expected = [], [], []
    for leaf, size in enumerate(sizes):
        slots = [VMA + 0x100 * next(number) for _ in range(size)]
        expected += slots
        last = LAST if leaf == len(sizes) - 1 else (leaf + 1 << 32) - 1
        pivots = [(leaf << 32) + (n + 1 << 12) - 1 for n in range(size - 1)]
        leaves.append(maple.node(1, slots, pivots + [last] * (size < 15), 16, VMA + 0xF0000))
        ends.append(last)
    room = 16 if inner == 2 else 10
    root = maple.node(inner, leaves, ends[: room - 1], room, leftovers=leaves[0])
    if len(sizes) == 1:
        root = leaves[0]
    assert maple.walk(root) == (expected, [])


def test_entries_that_are_marks_are_skipped(script):
    maple = Maple(script)
    root = maple.node(1, [0x406, VMA], [0xFFF, LAST], 16)  # XA_ZERO_ENTRY
    assert maple.walk(root) == ([VMA], [])


def test_empty_tree(script):
    assert Maple(script).walk(0) == ([], [])


def test_torn_and_looping_trees_are_told(script):
    maple = Maple(script)
    leaf = maple.node(1, [VMA], [LAST], 16)
    torn = 0xFFFF_FFFF_0000_0000 | 1 << 3 | 2
    root = maple.node(3, [torn, leaf], [0xFFF, LAST], 10)
    entries, problems = maple.walk(root)
    assert entries == [VMA]
    assert problems == ["VMA tree: torn: cannot read 248 bytes at 0xffffffff00000008"]

    maple.memory.poke(root - 26 + 8 + 9 * 8, root)  # its first slot is itself
    assert maple.walk(root) == ([VMA], [f"VMA tree: loops back to 0x{root - 26:x}"])


def test_node_of_unknown_type_is_told(script):
    maple = Maple(script)
    root = maple.node(9, [VMA], [LAST], 16)
    assert maple.walk(root) == ([], [f"VMA tree: node of unknown type 9 at 0x{NODES:x}"])


# -- XSAVE


def xsave(present, compacted=True, top=0, valid=0, st_values=()):
    area = bytearray(832)
    struct.pack_into("<HHBxHQQII", area, 0, 0x27F, top << 11, valid, 0xF1AA, 0x3_1122_3344_5566,
                     0x4_9988_7766_5544, 0x1FA0, 0xFFFF)  # fmt: skip
    for n, value in enumerate(st_values):
        area[32 + 16 * n : 42 + 16 * n] = value.to_bytes(10, "little")
    for n in range(16):
        area[160 + 16 * n : 176 + 16 * n] = bytes([0x10 + n]) * 16
        area[576 + 16 * n : 592 + 16 * n] = bytes([0x80 + n]) * 16
    struct.pack_into("<QQ", area, 512, present, compacted << 63)
    return bytes(area)


def of(byte):
    return int.from_bytes(bytes([byte]) * 16, "little")


def test_all_components_saved(script):
    registers = script.vectors.xsave_registers(xsave(7), 7)
    assert [registers[f"xmm{n}"] for n in range(16)] == [of(0x10 + n) for n in range(16)]
    assert [registers[f"ymm{n}h"] for n in range(16)] == [of(0x80 + n) for n in range(16)]
    assert registers["mxcsr"] == 0x1FA0
    assert registers["fctrl"] == 0x27F
    assert registers["fop"] == 0x1AA  # the opcode has 11 bits
    assert (registers["fioff"], registers["fiseg"]) == (0x33445566, 0x1122)
    assert (registers["fooff"], registers["foseg"]) == (0x77665544, 0x9988)


def test_components_in_initial_state_are_not_what_lies_there(script):
    registers = script.vectors.xsave_registers(xsave(0), 7)
    assert registers["xmm3"] == registers["ymm3h"] == registers["st0"] == 0
    assert (registers["fctrl"], registers["ftag"], registers["mxcsr"]) == (0x37F, 0xFFFF, 0x1F80)


def test_uncompacted_area_always_has_mxcsr(script):
    assert script.vectors.xsave_registers(xsave(0, compacted=False), 7)["mxcsr"] == 0x1FA0


def test_fxsave_area_has_no_header_and_no_avx(script):
    registers = script.vectors.xsave_registers(xsave(0)[:512], 0)
    assert registers["xmm5"] == of(0x15)
    assert "ymm0h" not in registers


PI = 0x4000_C90F_DAA2_2168_C235
ONE = 0x3FFF_8000_0000_0000_0000


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (PI, 0),
        (ONE, 0),
        (0, 1),
        (0x8000 << 64, 1),  # minus zero
        (0x7FFF << 64 | 1 << 63, 2),  # infinity
        (1, 2),  # denormal
        (0x4000 << 64 | 1, 2),  # unnormal
    ],
)
@given(top=st.integers(0, 7))
def test_x87_tags(script, value, tag, top):
    """One value on the stack: st(0) is physical register `top`."""
    word = script.vectors.x87_tags(1 << top, top, [value, *[0] * 7])
    assert word >> 2 * top & 3 == tag
    assert word | 3 << 2 * top == 0xFFFF  # all others are empty


# -- auxv


def auxv(size, pairs):
    return b"".join(value.to_bytes(size, "little") for pair in pairs for value in pair)


@pytest.mark.parametrize("size", [4, 8])
def test_auxv_up_to_its_end(script, size):
    pairs = [(33, 0xF7F0_0000), (6, 4096), (3, 0x5655_5034), (0, 0)]
    whole = auxv(size, pairs)
    assert script.process.parse_auxv(whole + bytes(416 - len(whole)), "little") == (
        whole,
        size == 4,
    )


def test_auxv_of_a_new_mm_is_empty(script):
    assert script.process.parse_auxv(bytes(416), "little") == (bytes(16), False)


@given(st.binary(max_size=416))
def test_auxv_of_garbage_is_a_prefix(script, garbage):
    found, _ = script.process.parse_auxv(garbage, "little")
    assert garbage.startswith(found)


# -- user registers


PT_REGS = "r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss".split()
STACK = 0xFFFF_C900_0012_0000


class StackKernel:
    def __init__(self, script, layouts, stack_size):
        self.memory_image = FakeMemory(script)
        self.memory = script.memory.Memory(self.memory_image.fetch)
        self.layouts = layouts
        self.size = stack_size

    def layout(self, name, required=(), optional=(), renamed=None):
        return self.layouts[name]

    def stack_size(self):
        return self.size


def x86_threads(script, stack_size, padding, values):
    """UserRegisters of which only the parts are there that read the kernel stack."""
    members = {name: script.memory.Member(8 * n, 8) for n, name in enumerate(PT_REGS)}
    frame = script.memory.Layout(168, members)
    names = script.x86_64.X86_64.user_thread
    thread = script.memory.Layout(
        72,
        {
            name: script.memory.Member(8 * n, 8, "bytes" if name == "tls" else "int")
            for n, name in enumerate(names)
        },
    )
    kernel = StackKernel(script, {"struct inactive_task_frame": frame}, stack_size)
    kernel.memory_image.map(0xFFFF_8880_0000_0000, struct.pack("<9Q", *range(1, 10)))
    stack = bytearray(stack_size)
    at = stack_size - padding - 168
    stack[at : at + 168] = struct.pack("<21Q", *(values[name] for name in PT_REGS))
    kernel.memory_image.map(STACK, stack)
    threads = object.__new__(script.user_registers.UserRegisters)
    threads.kernel, threads.arch = kernel, script.x86_64.X86_64(kernel)
    threads.frame_layout, threads.thread_layout = frame, thread
    threads.stack_size = stack_size
    threads.problems, threads.cpu_registers = [], lambda task: {}
    return threads


def pt_regs(**changes):
    values = {name: 0x1000 + n for n, name in enumerate(PT_REGS)}
    return {**values, "cs": 0x33, "ss": 0x2B, "flags": 0x246, **changes}


@pytest.mark.parametrize("padding", [0, 16])  # 16: a kernel with FRED
@pytest.mark.parametrize("stack_size", [0x4000, 0x8000, 0x10000])  # KASAN has larger ones
def test_user_registers_at_the_end_of_the_stack(script, stack_size, padding):
    threads = x86_threads(script, stack_size, padding, pt_regs())
    task = script.tasks.Task(0xFFFF_8880_0000_0000, {"stack": STACK, "cpu": None})
    registers = threads._saved(task)
    assert registers["rip"] == 0x1000 + PT_REGS.index("ip")
    assert registers["orig_rax"] == 0x1000 + PT_REGS.index("orig_ax")
    assert (registers["rsp"], registers["eflags"]) == (0x1000 + PT_REGS.index("sp"), 0x246)
    assert (registers["cs"], registers["ss"]) == (0x33, 0x2B)
    assert (registers["fs_base"], registers["gs_base"]) == (5, 6)
    assert len(registers) == 27


def test_cs_of_fred_has_more_than_the_selector(script):
    threads = x86_threads(script, 0x4000, 16, pt_regs(cs=0x0003_0000_0033, ss=0x0005_002B))
    task = script.tasks.Task(0xFFFF_8880_0000_0000, {"stack": STACK})
    registers = threads._saved(task)
    assert (registers["cs"], registers["ss"]) == (0x33, 0x2B)


def test_no_registers_are_invented_from_an_empty_stack(script):
    threads = x86_threads(script, 0x4000, 0, dict.fromkeys(PT_REGS, 0))
    task = script.tasks.Task(0xFFFF_8880_0000_0000, {"stack": STACK, "pid": 7})
    task.cpu = None
    assert threads.of(task, []) == ({}, None)
    assert threads.problems == [
        "user registers of pid 7: there are none (it never was in user mode, or its stack is "
        "damaged)"
    ]


def test_riscv64_rounds_the_frame_up(script):
    """task_pt_regs() of riscv64: 36 words are 288 bytes, 35 would be 280 and take 288."""
    members = {name: script.memory.Member(8 * n, 8)
               for n, name in enumerate(script.riscv64.Riscv64.user_frame)}  # fmt: skip
    size = 8 * 35
    kernel = StackKernel(script, {}, 0x4000)
    stack = bytearray(0x4000)
    struct.pack_into(f"<{len(members)}Q", stack, 0x4000 - 288, *range(1, len(members) + 1))
    kernel.memory_image.map(STACK, stack)
    threads = object.__new__(script.user_registers.UserRegisters)
    threads.kernel, threads.arch = kernel, script.riscv64.Riscv64(kernel)
    threads.frame_layout, threads.thread_layout = script.memory.Layout(size, members), None
    threads.stack_size = 0x4000
    registers = threads._saved(script.tasks.Task(0, {"stack": STACK}))
    assert registers == {
        name: n for n, name in enumerate(script.riscv64.Riscv64.user_frame.values(), start=1)
    }


@pytest.mark.parametrize(("status", "there"), [(0x2000, True), (0x6020, True), (0x20, False)])
def test_riscv64_floating_point_registers_if_the_unit_was_on(script, status, there):
    frame = script.memory.Layout(8 * 35, {"status": script.memory.Member(0, 8)})
    state = script.memory.Layout(264, {
        "thread.fstate.f": script.memory.Member(0, 256, "bytes"),
        "thread.fstate.fcsr": script.memory.Member(256, 4),
    })  # fmt: skip
    kernel = StackKernel(script, {"struct pt_regs": frame, "struct task_struct": state}, 0x4000)
    stack = bytearray(0x4000)
    struct.pack_into("<Q", stack, 0x4000 - 288, status)
    kernel.memory_image.map(STACK, stack)
    task = script.tasks.Task(0xFFFF_AF80_0000_0000, {"stack": STACK})
    kernel.memory_image.map(task.address, struct.pack("<32QI", *range(100, 132), 0x61))
    registers = script.riscv64.Riscv64(kernel).fp_registers(task)
    expected = {f"f{n}": 100 + n for n in range(32)} | {"fcsr": 0x61, "fflags": 1, "frm": 3}
    assert registers == (expected if there else {})


def test_user_mode_on_the_cpu_counts_and_not_the_stack(script):
    threads = x86_threads(script, 0x4000, 0, pt_regs())
    task = script.tasks.Task(0xFFFF_8880_0000_0000, {"stack": STACK, "pid": 7})
    task.cpu = 2
    live = {"rip": 0x5000, "cs": 0x33, "rax": 1}
    threads.cpu_registers = lambda task: live
    code = [{"start": 0x5000, "end": 0x6000, "perms": "r-xp"}]
    assert threads.of(task, code) == (live, True)


def test_a_cpu_in_the_kernel_leaves_the_stack_and_what_it_kept(script):
    threads = x86_threads(script, 0x4000, 0, pt_regs())
    task = script.tasks.Task(0xFFFF_8880_0000_0000, {"stack": STACK, "pid": 7})
    task.cpu = 2
    live = {"rip": 0xFFFF_FFFF_8100_0000, "cs": 0x10, "fs_base": 0x7F00, "gs_base": 0xFFFF_8880}
    threads.cpu_registers = lambda task: live
    registers, user_mode = threads.of(task, [])
    assert user_mode is False
    assert registers["rip"] == 0x1000 + PT_REGS.index("ip")
    assert registers["fs_base"] == 0x7F00  # the CPU's own, not the one of the last sleep
    assert "gs_base" not in registers  # the kernel's while it runs; the user's is nowhere


def test_compat_registers_are_those_of_32_bit_code(script):
    threads = x86_threads(script, 0x4000, 0, pt_regs(cs=0x23, ip=0xF7F0_0549))
    task = script.tasks.Task(0xFFFF_8880_0000_0000, {"stack": STACK})
    registers = threads._saved(task)
    assert threads.arch.is_compat(registers, True)
    compat = threads.arch.compat_registers(registers)
    general = "rax rbx rcx rdx rsi rdi rbp rsp rip eflags orig_rax"
    segments = "cs ss ds es fs gs fs_base gs_base"
    assert sorted(compat) == sorted(f"{general} {segments}".split())
    assert compat["rip"] == 0xF7F0_0549


def test_thread_pointer_of_32_bit_code_is_in_its_own_segment(script):
    """Selector 0x63 is the first of them; thread_struct may say 0 for its base."""
    arch = x86_threads(script, 0x4000, 0, pt_regs()).arch
    descriptors = struct.pack("<3Q", 0xF7CF_F3EF_D500_FFFF, 0x12CF_F334_5678_FFFF, 0)
    thread = {"fs": 0, "gs": 0x63, "fs_base": 7, "gs_base": 0, "tls": descriptors}
    assert arch.thread_registers(thread) == {
        "fs": 0,
        "gs": 0x63,
        "fs_base": 7,
        "gs_base": 0xF7EF_D500,
    }
    assert arch.thread_registers({**thread, "gs": 0x6B})["gs_base"] == 0x1234_5678


def test_x32_is_no_compat_process(script):
    threads = x86_threads(script, 0x4000, 0, pt_regs())
    assert not threads.arch.is_compat({"cs": 0x33}, True)


def test_compat_vectors_are_the_first_eight(script):
    arch = x86_threads(script, 0x4000, 0, pt_regs()).arch
    names = arch.compat_fp_registers(script.vectors.xsave_registers(xsave(7), 7))
    vectors = [f"xmm{n}" for n in range(8)] + [f"ymm{n}h" for n in range(8)]
    assert sorted(name for name in names if "mm" in name and name != "mxcsr") == sorted(vectors)


def test_fault_address_only_after_a_page_fault(script):
    arch = x86_threads(script, 0x4000, 0, pt_regs()).arch
    assert arch.fault_address({"cr2": 0x10, "trap_nr": 14}) == 0x10
    assert arch.fault_address({"cr2": 0x10, "trap_nr": 13}) is None


# -- mappings before 6.1: a list


def mappings(script, memory, mm):
    names = [*script.mappings.Mappings.MEMBERS, "vm_next"]
    found = object.__new__(script.mappings.Mappings)
    found.memory, found.problems = script.memory.Memory(memory.fetch), []
    found.layout = script.memory.Layout(
        128, {name: script.memory.Member(8 * n, 8) for n, name in enumerate(names)}
    )
    found.mm = script.tasks.Task(0, mm)
    found.special_ops = 0x5EC1A1
    return found


def put_vma(memory, at, span, flags, following):
    start, end = span
    memory.map(at, struct.pack("<8Q", start, end, flags, start >> 12, 0, 0, 0, following))


MM = {"brk": 0x9000, "start_brk": 0x8000, "start_stack": 0x7FFF_0000}


def test_vma_list(script):
    memory = FakeMemory(script)
    put_vma(memory, VMA, (0x1000, 0x2000), 5, VMA + 0x1000)
    put_vma(memory, VMA + 0x1000, (0x8000, 0x9000), 3 | 0x80, VMA + 0x2000)
    put_vma(memory, VMA + 0x2000, (0x7FFE_0000, 0x7FFF_F000), 3, 0)
    found = mappings(script, memory, {**MM, "mmap": VMA})
    lines = [(vma["start"], vma["end"], vma["perms"], vma["path"]) for vma in found.all()]
    assert lines == [
        (0x1000, 0x2000, "r-xp", ""),
        (0x8000, 0x9000, "rw-s", "[heap]"),
        (0x7FFE_0000, 0x7FFF_F000, "rw-p", "[stack]"),
    ]
    assert found.problems == []


@pytest.mark.parametrize("following", [0x10, VMA])  # torn; a loop
def test_broken_vma_list_keeps_what_came_before(script, following):
    memory = FakeMemory(script)
    put_vma(memory, VMA, (0x1000, 0x2000), 5, VMA + 0x1000)
    put_vma(memory, VMA + 0x1000, (0x3000, 0x4000), 3, following)
    found = mappings(script, memory, {**MM, "mmap": VMA})
    assert [vma["start"] for vma in found.all()] == [0x1000, 0x3000]
    assert len(found.problems) == 1


def test_special_mappings_have_their_own_names(script):
    memory = FakeMemory(script)
    memory.map(0xFFFF_8880_0000_0000, (0xFFFF_8880_0000_1000).to_bytes(8, "little"))
    memory.map(0xFFFF_8880_0000_1000, b"[vdso]\0" + bytes(121))
    values = (0x1000, 0x2000, 5, 0, 0, 0x5EC1A1, 0xFFFF_8880_0000_0000, 0)
    memory.map(VMA, struct.pack("<8Q", *values))
    found = mappings(script, memory, {**MM, "mmap": VMA})
    assert [vma["path"] for vma in found.all()] == ["[vdso]"]


# -- user memory


class PagedKernel:
    """Page tables with one page at `address`, in a kernel that maps all memory directly.

    `shifts` lead to the page, the last being its size; `entry(physical, is_page, shift)` makes
    a table entry.
    """

    def __init__(self, script, address, *, direct, shifts, entry, table_size=4096):
        self.image = FakeMemory(script)
        self.memory = script.memory.Memory(self.image.fetch)
        self.variables, self.notes = {}, {}
        self.pgd, table = (direct + 0x8010_0000) % 2**64, 0x8010_0000
        mask = table_size // 8 - 1
        for shift in shifts:
            self.image.map((direct + table) % 2**64, bytes(table_size))
            is_page = shift == shifts[-1]
            physical = 0x80_0000_0000 if is_page else table + table_size
            at = (direct + table + 8 * (address >> shift & mask)) % 2**64
            self.image.poke(at, entry(physical, is_page, shift))
            table = physical
        self.page = (direct + 0x80_0000_0000) % 2**64
        self.inside = address % (1 << shifts[-1])

    def put(self, text):
        self.image.map(self.page + self.inside, text)

    def variable(self, name, size=8):
        return self.variables.get(name)

    def vmcoreinfo(self):
        return self.notes

    def layout(self, name, required=(), optional=(), renamed=None):
        return None

    def address(self, name):
        return 0xFFFF_8000_0801_0000


def check_reading(script, kernel, address):
    kernel.put(b"argument\0" + bytes(80))
    user = script.user_memory.UserMemory(kernel, kernel.pgd)
    assert user.fetch(address, 9) == b"argument\0"
    assert user.fetch(address + 3, 4) == b"umen"
    with pytest.raises(script.errors.Unreadable):
        user.fetch(address + (1 << 31), 1)


@pytest.mark.parametrize("five_levels", [False, True])
@pytest.mark.parametrize("leaf", [12, 21, 30])
@pytest.mark.parametrize("hidden", [0, 1 << 47])  # memory encryption
def test_user_memory_of_x86_64(script, five_levels, leaf, hidden):
    def entry(physical, is_page, shift):
        return physical | 1 << 63 | 0x67 | hidden | (is_page and shift > 12) << 7

    address = 0x7A_7F12_3456_7123 if five_levels else 0x7F12_3456_7123
    shifts = [
        shift for shift in (48, 39, 30, 21, 12) if shift >= leaf and (five_levels or shift < 48)
    ]
    direct = 0xFF11_0000_0000_0000
    kernel = PagedKernel(script, address, direct=direct, shifts=shifts, entry=entry)
    kernel.variables = {
        "page_offset_base": direct,
        "__pgtable_l5_enabled": int(five_levels),
        "sme_me_mask": hidden,
    }
    kernel.arch = script.x86_64.X86_64(kernel)
    check_reading(script, kernel, address)


# Page size, VA_BITS, bits in use, shifts of the levels: arch/arm64/Kconfig.
ARM64 = [
    (4096, 48, 48, [39, 30, 21, 12]),
    (4096, 39, 39, [30, 21, 12]),
    (16384, 48, 48, [47, 36, 25, 14]),
    (65536, 52, 48, [42, 29, 16]),
]


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize(
    ("case", "flipped"),  # since 5.4; before, when no kernel was made for 52 bits
    [(case, flipped) for case in ARM64 for flipped in (True, False) if flipped or case[1] < 52],
)
def test_user_memory_of_aarch64(script, case, block, flipped):
    page, va_bits, used, shifts = case

    def entry(physical, is_page, shift):
        return physical | 1 << 54 | (1 if is_page and shift != shifts[-1] else 3)

    address = 0x3F_1234_5123
    phys_offset = 0x8000_0000
    direct = -(1 << va_bits if flipped else 1 << va_bits - 1) - phys_offset
    kernel = PagedKernel(
        script,
        address,
        direct=direct,
        shifts=shifts[:-1] if block else shifts,
        entry=entry,
        table_size=page,
    )
    kernel.notes = {
        "PAGESIZE": str(page),
        "NUMBER(VA_BITS)": str(va_bits),
        "NUMBER(TCR_EL1_T1SZ)": hex(64 - used),
        "NUMBER(PHYS_OFFSET)": hex(phys_offset),
    }
    kernel.arch = script.aarch64.Aarch64(kernel)
    check_reading(script, kernel, address)


@pytest.mark.parametrize(
    ("page", "used", "phys_offset", "shifts"),
    [
        (4096, 48, 0xFFF0_DB48_C000_0000, [39, 30, 21, 12]),
        (16384, 47, 0xFFF0_5C3D_8000_0000, [36, 25, 14]),
    ],
)
def test_user_memory_of_aarch64_with_fewer_bits_than_the_kernel_was_made_for(
    script, page, used, phys_offset, shifts
):
    """The kernel then puts the difference into what it calls the start of physical memory."""
    direct = (2**64 - 2**52 - phys_offset) % 2**64

    def entry(physical, is_page, shift):
        return physical | 1 << 54 | 3

    address = 0x3F_1234_5123
    kernel = PagedKernel(
        script, address, direct=direct, shifts=shifts, entry=entry, table_size=page
    )
    kernel.notes = {
        "PAGESIZE": str(page),
        "NUMBER(VA_BITS)": "52",
        "NUMBER(TCR_EL1_T1SZ)": hex(64 - used),
        "NUMBER(PHYS_OFFSET)": hex(phys_offset),
    }
    kernel.arch = script.aarch64.Aarch64(kernel)
    check_reading(script, kernel, address)


@pytest.mark.parametrize("va_bits", [39, 48, 57])
@pytest.mark.parametrize("leaf", [12, 21])
def test_user_memory_of_riscv64(script, va_bits, leaf):
    def entry(physical, is_page, shift):
        return physical >> 12 << 10 | (0xDF if is_page else 1)

    address, page_offset = 0x3F_1234_5123, 0xFFFF_FFD6_0000_0000
    shifts = [shift for shift in reversed(range(12, va_bits, 9)) if shift >= leaf]
    kernel = PagedKernel(
        script, address, direct=page_offset - 0x8000_0000, shifts=shifts, entry=entry
    )
    kernel.notes = {
        "NUMBER(VA_BITS)": str(va_bits),
        "NUMBER(PAGE_OFFSET)": hex(page_offset),
        "NUMBER(phys_ram_base)": "0x80000000",
    }
    kernel.arch = script.riscv64.Riscv64(kernel)
    check_reading(script, kernel, address)


@pytest.mark.parametrize("arch", ["i386:x86-64", "aarch64", "riscv:rv64"])
def test_user_memory_of_a_kernel_that_tells_too_little(script, arch):
    kernel = PagedKernel(script, 0x1000, direct=1 << 63, shifts=[12], entry=lambda *_: 0)
    kernel.arch = script.arch.ARCHITECTURES[arch](kernel)
    with pytest.raises(script.errors.Unreadable, match="cannot read 5 bytes at 0x1000"):
        script.user_memory.UserMemory(kernel, kernel.pgd).fetch(0x1000, 5)


# -- signals


def siginfo_of(script, raw):
    memory = FakeMemory(script)
    memory.map(0x1000, raw)
    signals = object.__new__(script.signals.Signals)
    signals.memory = script.memory.Memory(memory.fetch)
    signals.info = script.memory.Member(0, len(raw))
    return signals._read(0x1000)


def test_siginfo_of_a_fault(script):
    info = siginfo_of(script, struct.pack("<iiiiQ24x", 11, 0, 1, 0, 0xDEAD000))
    assert info.pop("bytes") == (struct.pack("<iiiiQ", 11, 0, 1, 0, 0xDEAD000) + bytes(104)).hex()
    assert info == {"si_signo": 11, "si_errno": 0, "si_code": 1, "si_addr": 0xDEAD000}


def test_siginfo_of_a_kill(script):
    info = siginfo_of(script, struct.pack("<iiiiii24x", 11, 0, -6, 0, 123, 1000))
    del info["bytes"]
    assert info == {"si_signo": 11, "si_errno": 0, "si_code": -6, "si_pid": 123, "si_uid": 1000}


# -- strings


def test_string_does_not_reach_behind_its_end(script):
    memory = FakeMemory(script)
    memory.map(0x1000, b"x" * 100 + b"name\0" + bytes(23))  # nothing mapped behind 128 bytes
    reader = script.memory.Memory(memory.fetch)
    assert reader.string(0x1064) == b"name"
    memory.map(0x1080, b"y" * 128)
    memory.poke(0x1068, int.from_bytes(b"y" * 8, "little"))
    assert reader.string(0x1064, 8) == b"nameyyyy"
