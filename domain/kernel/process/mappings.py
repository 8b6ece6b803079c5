"""A process's mappings, by address."""

import contextlib
from typing import Any, Dict, Iterator, List, Optional

from ...address_space import USER_END
from ..errors import KdumpError, Unreadable
from ..kernel import Kernel
from ..memory import printable
from ..structures import MapleTree
from ..tasks import Task
from .paths import Paths


class Mappings:
    """A process's VMAs as /proc/PID/maps shows them (fs/proc/task_mmu.c)."""

    MEMBERS = ("vm_start", "vm_end", "vm_flags", "vm_pgoff", "vm_file", "vm_ops", "vm_private_data")
    FLAGS = ((1, "r"), (2, "w"), (4, "x"))  # VM_READ, VM_WRITE, VM_EXEC in include/linux/mm.h
    MAYSHARE = 0x80
    PAGE_SHIFT = 12

    def __init__(self, kernel: Kernel, mm: Task, problems: List[str]) -> None:
        self.kernel = kernel
        self.memory = kernel.memory
        self.mm = mm
        self.problems = problems
        self.layout = kernel.layout("struct vm_area_struct", self.MEMBERS, ["vm_next", "anon_name"])
        self.paths = Paths(kernel)
        self.special_ops = kernel.find("special_mapping_vmops")
        page_size = kernel.vmcoreinfo().page_size
        if page_size:
            self.PAGE_SHIFT = page_size.bit_length() - 1

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
        tree = MapleTree(
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
        except Unreadable as error:
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
        with contextlib.suppress(Unreadable):
            if self.special_ops and vma["vm_ops"] == self.special_ops:
                # struct vm_special_mapping begins with the name.
                name = self.memory.pointer(vma["vm_private_data"])
                return printable(self.memory.string(name, 64))
            if vma["vm_start"] <= mm["brk"] and vma["vm_end"] >= mm["start_brk"]:
                return "[heap]"
            if vma["vm_start"] <= mm["start_stack"] <= vma["vm_end"]:
                return "[stack]"
            name = vma.get("anon_name", 0)
            if name >= USER_END:
                at = self.kernel.layout("struct anon_vma_name", ["name"]).offset("name")
                return "[anon:%s]" % printable(self.memory.string(name + at, 80))
        return ""
