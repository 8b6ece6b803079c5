"""The tasks that the kernel's pids belong to."""

from typing import Any, Iterator, List, Set, Tuple

from .errors import KdumpError, Unreadable
from .kernel import Kernel
from .structures import RadixTree


class Pids:
    """Finds tasks by the pids handed out: the second source, see TaskTable."""

    def __init__(self, kernel: Kernel, problems: List[str]) -> None:
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
            except Unreadable as error:
                self.problems.append("pid tree: %s" % error)
                continue
            if first:
                yield first - link

    def _tree(self) -> Tuple[RadixTree, int]:
        """(RadixTree, root entry) of the initial pid name space."""
        try:
            path, node, mark = "idr.idr_rt.xa_head", "struct xa_node", 2
            namespace = self.kernel.layout("struct pid_namespace", [path])
            nodes = self.kernel.layout(node, ["slots"])
        except KdumpError:  # before 4.20
            path, node, mark = "idr.idr_rt.rnode", "struct radix_tree_node", 1
            namespace = self.kernel.layout("struct pid_namespace", [path])
            nodes = self.kernel.layout(node, ["slots"])
        values = namespace.read(self.kernel.memory, self.kernel.init_pid_ns)
        return RadixTree(self.kernel.memory, nodes, mark), values[path]
