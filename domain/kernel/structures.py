"""Lists and trees of the kernel, walked so that a torn one does no harm."""

from typing import Any, Callable, Dict, Iterator, List, Set, Tuple

from .errors import Corrupt, Unreadable
from .memory import Layout, Memory


def list_nodes(head: int, first: int, next_of: Callable[[int], int], what: str) -> Iterator[int]:
    """Yield the nodes of a circular list (include/linux/list.h), without its head.

    `first` is the first node and `next_of(node)` the one after `node`. A list that loops or
    leads to unreadable memory raises Corrupt, after all nodes before that point.
    """
    seen = {head}
    node = first
    while node != head:
        if node in seen:
            raise Corrupt("%s: loops back to 0x%x" % (what, node))
        seen.add(node)
        yield node
        try:
            node = next_of(node)
        except Unreadable as error:
            raise Corrupt("%s: torn: %s" % (what, error)) from None


class RadixTree:
    """Walks an IDR's tree (include/linux/idr.h): pid number to struct pid.

    Since 4.20 it is an XArray, in which an inner node's pointer has 2 in its low two bits; before,
    a radix tree, where that mark is 1 (include/linux/xarray.h, include/linux/radix-tree.h).
    """

    MAX_DEPTH = 11  # 64 slots a node, 64-bit indices

    def __init__(self, memory: Memory, node_layout: Layout, inner_mark: int) -> None:
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
        except Unreadable as error:
            problems.append("pid tree: torn: %s" % error)
            return
        for slot in slots:
            if slot & 3:
                yield from self._below(slot, problems, seen, depth + 1)
            elif slot:
                yield slot


class MapleTree:
    """Walks a maple tree (include/linux/maple_tree.h), which holds a process's VMAs since 6.1.

    A pointer to a node has its type in bits 3 to 6 and says with 2 in the low bits that it is one;
    nodes are aligned to 256 bytes. Slots after the last one in use hold leftovers, so the pivots
    (each the last index of its slot) tell where to stop.
    """

    LEAF, RANGE, ARANGE = 1, 2, 3  # enum maple_type; 0 (dense) is not used for ranges
    LAST = 2**64 - 1
    MAX_DEPTH = 16

    def __init__(self, memory: Memory, range_layout: Layout, arange_layout: Layout) -> None:
        self.memory = memory
        self.layouts = {
            self.LEAF: range_layout,
            self.RANGE: range_layout,
            self.ARANGE: arange_layout,
        }

    def entries(self, root: int, problems: List[str]) -> Iterator[int]:
        """Yield the entries in the order of their indices; unreadable parts go to `problems`."""
        if root & 3 == 2 and root > 4096:
            yield from self._below(root, self.LAST, problems, set(), 0)
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
        except Unreadable as error:
            problems.append("VMA tree: torn: %s" % error)
            return
        for entry, end in self._slots(values, last):
            if kind != self.LEAF:
                if entry:
                    yield from self._below(entry, end, problems, seen, depth + 1)
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
