"""Finding tasks: whole kernels, and kernels with one thing broken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gdb_script.fakes import NODES, PIDS, SLOTS, TASK, THREAD_HEAD, FakeKernel

GROUPS = [[1], [2], [105, 131, 134], [106, 122], [300]]


def walk(kernel):
    table = kernel.table()
    table.walk_lists(kernel.address[0])
    table.walk_pids(kernel.pid_tasks(table.problems))
    return table


def pids(table):
    return [task.pid for task in table.found()]


def test_every_thread_of_every_process_in_order(script):
    table = walk(FakeKernel(script, GROUPS))
    assert pids(table) == [1, 2, 105, 131, 134, 106, 122, 300]
    assert table.problems == []


def test_a_process_alone_needs_no_look_at_its_thread_list(script):
    kernel = FakeKernel(script, [[1], [2]])
    table = kernel.table()
    table.walk_lists(kernel.address[0])
    assert kernel.raw.reads == 3  # one for each task_struct, init_task included


def test_reads_grow_in_step_with_tasks(script):
    def reads(count):
        kernel = FakeKernel(script, [[pid] for pid in range(1, count + 1)])
        walk(kernel)
        return kernel.raw.reads

    assert reads(2000) < 2.1 * reads(1000)


@pytest.mark.parametrize("mark", [1, 2])  # a radix tree, an XArray
def test_pid_tree_alone_finds_all(script, mark):
    kernel = FakeKernel(script, GROUPS, inner_mark=mark)
    table = kernel.table()
    assert table.walk_pids(kernel.pid_tasks(table.problems)) == len(kernel.pids)
    assert sorted(pids(table)) == sorted(kernel.pids)
    assert table.problems == []


BAD_POINTERS = st.one_of(
    st.sampled_from([0, 1, 0xDEAD000000000100, 2**64 - 8]),
    st.integers(0, 2**64 - 1),
)


@given(victim=st.sampled_from([0, 1, 2, 105, 106, 300]), pointer=BAD_POINTERS)
def test_one_torn_task_link_loses_no_task(script, victim, pointer):
    kernel = FakeKernel(script, GROUPS)
    following = kernel.task_layout.read(kernel.memory, kernel.address[victim])["tasks.next"]
    kernel.set(victim, "tasks.next", pointer)
    table = walk(kernel)
    assert sorted(pids(table)) == sorted(kernel.pids)
    assert len(table.problems) == (0 if pointer == following else 1)
    assert all("\n" not in problem for problem in table.problems)


@given(victim=st.sampled_from([105, 131, 134]), pointer=BAD_POINTERS)
def test_one_torn_thread_link_loses_no_task(script, victim, pointer):
    kernel = FakeKernel(script, GROUPS)
    following = kernel.task_layout.read(kernel.memory, kernel.address[victim])["thread_node.next"]
    kernel.set(victim, "thread_node.next", pointer)
    table = walk(kernel)
    assert sorted(pids(table)) == sorted(kernel.pids)
    if pointer != following:
        assert [p.split(":")[0] for p in table.problems] == ["threads of pid 105"]


@pytest.mark.parametrize(("victim", "target"), [(106, 1), (300, 300), (2, 106)])
def test_loop_in_the_task_list_ends(script, victim, target):
    kernel = FakeKernel(script, GROUPS)
    kernel.set(victim, "tasks.next", kernel.address[target] + TASK["tasks.next"][0])
    table = walk(kernel)
    assert sorted(pids(table)) == sorted(kernel.pids)
    if victim != 2:  # 2 -> 106 skips a process, and only the pid tree knows
        assert table.problems == [
            "task list: loops back to 0x%x" % (kernel.address[target] + TASK["tasks.next"][0])
        ]


def test_torn_thread_list_head(script):
    kernel = FakeKernel(script, GROUPS)
    signal = kernel.task_layout.read(kernel.memory, kernel.address[105])["signal"]
    kernel.raw.poke(signal + THREAD_HEAD, 0x10)
    table = walk(kernel)
    assert sorted(pids(table)) == sorted(kernel.pids)
    assert table.problems == [
        "threads of pid 105: torn: cannot read 120 bytes at 0xffffffffffffffc0"
    ]


def test_pointer_into_other_data_is_no_task(script):
    kernel = FakeKernel(script, GROUPS)
    kernel.raw.map(0xFFFF_8881_0000_0000, b"\xff" * 0x400)
    kernel.set(2, "tasks.next", 0xFFFF_8881_0000_0040)
    table = walk(kernel)
    assert sorted(pids(table)) == sorted(kernel.pids)
    assert table.problems == [
        "task list: no task at 0xffff888100000000 (pid 4294967295, tgid 4294967295)"
    ]


def test_torn_pid_tree_is_told_and_the_lists_still_count(script):
    kernel = FakeKernel(script, GROUPS)
    kernel.raw.poke(NODES + SLOTS + 8 * (300 // 64), 0xFFFF_FFFF_0000_0002)
    table = walk(kernel)
    assert sorted(pids(table)) == sorted(kernel.pids)
    assert table.problems == ["pid tree: torn: cannot read 512 bytes at 0xffffffff00000028"]


def test_pid_tree_that_loops_ends(script):
    kernel = FakeKernel(script, GROUPS)
    kernel.raw.poke(NODES + SLOTS + 8 * 63, NODES | 2)
    table = walk(kernel)
    assert sorted(pids(table)) == sorted(kernel.pids)
    assert table.problems == [f"pid tree: loops back to 0x{NODES:x}"]


def test_pid_without_a_task_is_skipped(script):
    kernel = FakeKernel(script, GROUPS)
    kernel.raw.poke(PIDS, 1)  # not a pid: where its task's link should be, there is nothing
    problems = []
    assert len(list(kernel.tree().entries(kernel.root, problems))) == len(kernel.pids)


def test_two_tasks_of_one_pid_are_not_both_listed(script):
    kernel = FakeKernel(script, GROUPS)
    kernel.set(300, "pid", 106)
    table = walk(kernel)
    assert pids(table).count(106) == 1
    assert table.problems[0].startswith("pid 106 is there twice: at 0x")


def test_older_thread_list(script):
    """Without signal->thread_head, task->thread_group is followed (a ring with no head)."""
    kernel = FakeKernel(script, [[7, 8, 9]])
    members = dict(kernel.task_layout.members)
    del members["thread_node.next"], members["thread_node.prev"]
    members["thread_group.next"] = script.memory.Member(0x50, 8, "pointer")
    kernel.task_layout = script.memory.Layout(0x400, members)
    nodes = [kernel.address[pid] + 0x50 for pid in (7, 8, 9)]
    for node, following in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        kernel.raw.poke(node, following)
    table = kernel.table()
    table.walk_lists(kernel.address[0])
    assert pids(table) == [7, 8, 9]
    assert table.problems == []


def test_progress_is_told_task_by_task(script):
    kernel = FakeKernel(script, [[1], [2], [3]])
    seen = []
    table = script.tasks.TaskTable(
        kernel.memory, kernel.task_layout, kernel.signal_layout, seen.append
    )
    table.walk_lists(kernel.address[0])
    assert seen == [1, 2, 3, 4]


# include/linux/sched.h: state and exit_state, and what ps(1) shows for them.
@pytest.mark.parametrize(
    ("state", "exit_state", "letter"),
    [
        (0x0, 0, "R"),
        (0x1, 0, "S"),
        (0x2001, 0, "S"),  # freezable
        (0x2, 0, "D"),
        (0x102, 0, "D"),  # killable
        (0x402, 0, "I"),
        (0x4, 0, "T"),
        (0x104, 0, "T"),
        (0x8, 0, "t"),
        (0x80, 0x10, "X"),
        (0x80, 0x20, "Z"),
        (0x40, 0, "P"),
        (0x1000, 0, "D"),  # waiting for a lock, PREEMPT_RT
        (0x8000, 0, "D"),  # frozen
    ],
)
def test_state_letters(script, state, exit_state, letter):
    assert script.tasks.state_letter(state, exit_state) == letter


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"sh\0junk", "sh"),
        (b"", ""),
        ("žluť".encode() + b"\0", "žluť"),
        (b"a\xff\xfeb\0", "a\\xff\\xfeb"),
        (b"a\x1b[31m\n\0", "a\\x1b[31m\\x0a"),
        (b"sixteen bytes---", "sixteen bytes---"),
    ],
)
def test_text_is_printable(script, raw, text):
    assert script.memory.printable(raw) == text


@given(st.binary(max_size=16))
def test_no_name_can_break_a_line_or_a_terminal(script, raw):
    assert script.memory.printable(raw).isprintable()


def test_names_in_brackets_are_kernel_threads(script):
    values = {"flags": 0x00200040, "comm": b"kthreadd\0"}
    assert script.tasks.Task(0, values).name == "[kthreadd]"
    values = {"flags": 0x00400040, "comm": b"zombie\0", "mm": 0}
    assert script.tasks.Task(0, values).name == "zombie"  # no mm, yet no kernel thread
