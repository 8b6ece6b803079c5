"""What file a struct file stands for: its path, inode, device, size and age."""

from typing import Any, Dict, List, Tuple

from ..errors import Corrupt
from ..kernel import Kernel
from ..memory import printable


class Paths:
    """The path of an open file, as /proc/PID/maps shows it (d_path() in fs/d_path.c)."""

    MAX_DEPTH = 512
    # When a file was modified last, as Linux since 6.11, since 6.6 and before has it.
    TIMES = ("i_mtime_sec", "__i_mtime.tv_sec", "i_mtime.tv_sec")

    def __init__(self, kernel: Kernel) -> None:
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
        path = self.of(values["f_path.mnt"], values["f_path.dentry"])
        return path, inode["i_ino"], number

    def of(self, vfsmount: int, dentry: int) -> str:
        """The path that the two members of a struct path stand for."""
        key = (vfsmount, dentry)
        if key not in self._paths:
            self._paths[key] = self._path(*key)
        return self._paths[key]

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
            # Made by the kernel for itself, so not in any directory: shared memory, memfd, ...
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
        raise Corrupt("path of dentry 0x%x has no end" % dentry)

    def _mount(self, address: int) -> Dict[str, int]:
        return dict(self.mount.read(self.memory, address), address=address)

    def _name(self, values: Dict[str, Any]) -> str:
        length = min(values["d_name.len"], 255)
        return printable(self.memory.fetch(values["d_name.name"], length) if length else b"")
