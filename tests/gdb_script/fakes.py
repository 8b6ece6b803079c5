"""A made-up kernel in memory, small enough to break in every place."""

import bisect

TASK_SIZE = 0x400
TASKS = 0xFFFF_8880_0000_0000
SIGNALS = 0xFFFF_8880_1000_0000
PIDS = 0xFFFF_8880_2000_0000
NODES = 0xFFFF_8880_3000_0000

TASK = {
    "state": (0x00, 4, "int"),
    "flags": (0x04, 4, "int"),
    "exit_state": (0x08, 4, "int"),
    "pid": (0x10, 4, "int"),
    "tgid": (0x14, 4, "int"),
    "mm": (0x18, 8, "pointer"),
    "stack": (0x20, 8, "pointer"),
    "signal": (0x28, 8, "pointer"),
    "real_parent": (0x30, 8, "pointer"),
    "real_cred": (0x38, 8, "pointer"),
    "tasks.next": (0x40, 8, "pointer"),
    "thread_node.next": (0x50, 8, "pointer"),
    "thread_node.prev": (0x58, 8, "pointer"),
    "comm": (0x60, 16, "bytes"),
    "saved.sp": (0x70, 8, "int"),
}
PID_LINKS = 0x80
THREAD_HEAD = 0x10
PID_TASKS = 0x10
SLOTS = 0x28


class FakeMemory:
    """Regions of bytes at addresses; anything else is unreadable."""

    def __init__(self, script):
        self.script = script
        self.regions = {}
        self.starts = []
        self.reads = 0

    def map(self, address, data):
        self.regions[address] = bytearray(data)
        bisect.insort(self.starts, address)

    def _find(self, address, size):
        index = bisect.bisect_right(self.starts, address) - 1
        if index < 0:
            return None
        start = self.starts[index]
        region = self.regions[start]
        return (region, address - start) if address - start + size <= len(region) else None

    def fetch(self, address, size):
        self.reads += 1
        found = self._find(address, size)
        if found is None:
            raise self.script.errors.Unreadable(address, size)
        region, at = found
        return bytes(region[at : at + size])

    def poke(self, address, value, size=8):
        region, at = self._find(address, size)
        region[at : at + size] = value.to_bytes(size, "little")


def layout(script, size, members):
    return script.memory.Layout(size, {k: script.memory.Member(*v) for k, v in members.items()})


class FakeKernel:
    """Processes with threads, on the kernel's lists and in its pid tree.

    `groups` lists for each process its threads' pids, the leader first; all go into
    one IDR of two levels.
    """

    def __init__(self, script, groups, inner_mark=2):
        self.script = script
        self.raw = FakeMemory(script)
        self.memory = script.memory.Memory(self.raw.fetch)
        self.task_layout = layout(script, TASK_SIZE, TASK)
        self.signal_layout = layout(script, 0x40, {"thread_head.next": (THREAD_HEAD, 8, "pointer")})
        self.inner_mark = inner_mark
        self.groups = [[0], *groups]
        self.pids = [pid for group in groups for pid in group]
        self.address = {pid: TASKS + TASK_SIZE * (pid + 1) for pid in [0, *self.pids]}
        for number, group in enumerate(self.groups):
            self._make_group(group, SIGNALS + 0x100 * number)
        self._link("tasks.next", [self.address[group[0]] for group in self.groups])
        self.root = self._make_tree()

    def _make_group(self, group, signal):
        for pid in group:
            address = self.address[pid]
            self.raw.map(address, bytes(TASK_SIZE))
            self.set(pid, "pid", pid)
            self.set(pid, "tgid", group[0])
            self.set(pid, "signal", signal)
            self.set(pid, "stack", 0xFFFF_C900_0000_0000 + 0x8000 * pid)
            self.set(pid, "real_parent", self.address[0])
            comm = b"swapper/0" if pid == 0 else b"task-%d" % pid
            self.raw.regions[address][0x60 : 0x60 + len(comm)] = comm
        self.raw.map(signal, bytes(0x40))
        head = signal + THREAD_HEAD
        nodes = [self.address[pid] + TASK["thread_node.next"][0] for pid in group]
        ring = [head, *nodes]
        for node, following in zip(ring, [*ring[1:], head], strict=True):
            self.raw.poke(node, following)
            self.raw.poke(following + 8, node)

    def _link(self, member, addresses):
        nodes = [address + TASK[member][0] for address in addresses]
        for node, following in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
            self.raw.poke(node, following)

    def _make_tree(self):
        slots = {}
        for number, pid in enumerate(self.pids):
            at = PIDS + 0x100 * number
            self.raw.map(at, bytes(0x40))
            self.raw.poke(at + PID_TASKS, self.address[pid] + PID_LINKS)
            slots[pid] = at
        leaves = {}
        for index in sorted({pid // 64 for pid in self.pids}):
            node = NODES + 0x1000 * (index + 1)
            self.raw.map(node, bytes(SLOTS + 64 * 8))
            for pid in (p for p in self.pids if p // 64 == index):
                self.raw.poke(node + SLOTS + 8 * (pid % 64), slots[pid])
            leaves[index] = node
        self.raw.map(NODES, bytes(SLOTS + 64 * 8))
        for index, node in leaves.items():
            self.raw.poke(NODES + SLOTS + 8 * index, node | self.inner_mark)
        return NODES | self.inner_mark

    def set(self, pid, member, value):
        offset, size, _ = TASK[member]
        self.raw.poke(self.address[pid] + offset, value, size)

    def table(self):
        return self.script.tasks.TaskTable(self.memory, self.task_layout, self.signal_layout)

    def tree(self):
        nodes = layout(self.script, 0x240, {"slots": (SLOTS, 512, "bytes")})
        return self.script.structures.RadixTree(self.memory, nodes, self.inner_mark)

    def pid_tasks(self, problems):
        for entry in self.tree().entries(self.root, problems):
            yield self.memory.pointer(entry + PID_TASKS) - PID_LINKS
