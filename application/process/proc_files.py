"""What /proc said about a process, made from its sidecar (Linux, proc(5)).

gdb reads these over `vFile`: `info proc`, `info proc mappings` and `gcore` need them.
"""

from __future__ import annotations

import errno
import itertools
import re
from collections.abc import Callable, Iterator

from kdump_gdbserver.application.made_file import MadeFile
from kdump_gdbserver.application.process.mapped_files import is_file
from kdump_gdbserver.application.process.sysroot import Sysroot
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.sidecars import ProcessImage, ProcessThread, Vma
from kdump_gdbserver.ports.remote_files import RemoteFile

_PATH = re.compile(r"/proc/(?P<pid>\d{1,10})(?:/task/(?P<tid>\d{1,10}))?/(?P<name>\w+)")
# Column at which /proc/PID/maps starts the path (fs/proc/task_mmu.c, show_map_vma).
_PATH_COLUMN = 73
# Everything that a core file can have (core(5)): gcore writes what can be read.
_COREDUMP_FILTER = b"0000007f\n"
# How much is read at a time, and how many unreadable pages are tried, to find out what
# gcore can copy.
_CHUNK = 1 << 20
_MAX_HOLES = 1 << 17
_READS_IN_A_STEP = 32


class ProcFiles:
    """The files of one process; implements `ports.RemoteFiles`.

    Paths outside /proc are looked up in `others`, or do not exist.
    """

    def __init__(
        self,
        image: ProcessImage,
        open_memory: Callable[[], AddressSpace],
        page_size: int,
        others: Sysroot | None = None,
    ) -> None:
        """`open_memory` makes the process's address space; `page_size` is in bytes."""
        self._image = image
        self._open_memory = open_memory
        self._page_size = page_size
        self._others = others
        self._threads = {thread.tid: thread for thread in image.threads}
        self._smaps: bytes | None = None

    def open(self, path: str) -> RemoteFile | None:
        """See `RemoteFiles.open`."""
        if path == "/proc" or path.startswith("/proc/"):
            found = self._thread_of(path)
            if found is not None and found[1] == "smaps":
                return _Smaps(self._smaps_steps)
            content = self._proc(path)
            return None if content is None else MadeFile(content)
        return self._others.open(path) if self._others else None

    def read_link(self, path: str) -> str | None:
        """See `RemoteFiles.read_link`: `exe` and `cwd` may be known, `root` is not."""
        found = self._thread_of(path)
        links = {"exe": self._image.exe, "cwd": self._image.cwd}
        return links.get(found[1]) if found else None

    def _thread_of(self, path: str) -> tuple[ProcessThread | None, str] | None:
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        pid = int(match["pid"])
        tid = int(match["tid"] or pid)
        if pid != self._image.pid and pid not in self._threads:
            return None
        thread = self._threads.get(tid)
        if thread is None and tid != self._image.pid:
            return None
        return thread, match["name"]

    def _proc(self, path: str) -> bytes | None:
        found = self._thread_of(path)
        if found is None:
            return None
        thread, name = found
        image = self._image
        if name == "maps":
            return "".join(f"{_maps_line(vma)}\n" for vma in image.vmas).encode(**_UTF8)
        if name == "cmdline":
            return b"".join(word.encode(**_UTF8) + b"\0" for word in image.cmdline)
        if name == "auxv":
            return image.auxv
        if name == "coredump_filter":
            return _COREDUMP_FILTER
        text = {"comm": self._comm, "status": self._status, "stat": self._stat}.get(name)
        return text(thread).encode(**_UTF8) if text else None

    def _comm(self, thread: ProcessThread | None) -> str:
        return (thread.comm if thread else self._image.comm) + "\n"

    def _status(self, thread: ProcessThread | None) -> str:
        """Return what the sidecar has; anything else is left out."""
        name = self._comm(thread).rstrip("\n").replace("\\", "\\\\").replace("\n", "\\n")
        tid = thread.tid if thread else self._image.pid
        lines = [f"Name:\t{name}"]
        state = _state(thread)
        if state:
            lines.append(f"State:\t{state}")
        lines += [f"Tgid:\t{self._image.pid}", f"Pid:\t{tid}"]
        if not self._image.errors:  # else threads or mappings may be missing
            size = sum(vma.end - vma.start for vma in self._image.vmas) // 1024
            if size:
                lines.append(f"VmSize:\t{size:8} kB")
            lines.append(f"Threads:\t{len(self._image.threads)}")
        return "\n".join(lines) + "\n"

    def _stat(self, thread: ProcessThread | None) -> str:
        """Return the first fields of the line, up to the parent, which no sidecar has.

        The fields have no names and gdb prints every one that is there (gdb/linux-tdep.c,
        linux_info_proc), so an unknown field cannot be filled in. gdb would take a newline after
        the last field for one more.
        """
        tid = thread.tid if thread else self._image.pid
        state = _state(thread)
        return f"{tid} ({self._comm(thread).rstrip()})" + (f" {state[0]}" if state else "")

    def _smaps_steps(self) -> Iterator[bytes | None]:
        """Yield the text of smaps, last; None when a short step of the way to it is done."""
        if self._smaps is None:  # several clients may make it at a time, each its own
            lines: list[str] = []
            for line in self._smaps_lines(self._open_memory()):
                if line is None:
                    yield None
                else:
                    lines.append(line)
            self._smaps = "".join(lines).encode(**_UTF8)
        yield self._smaps

    def _smaps_lines(self, memory: AddressSpace) -> Iterator[str | None]:
        """Yield mappings in pieces that gdb's gcore can either copy or is told to skip.

        gcore gives up on a mapping at the first byte that it cannot read. It copies every
        mapping that has no "Anonymous:" line, and none that has 0 there and the flag "dd".
        """
        holes = _MAX_HOLES
        for vma in self._image.vmas:
            for piece in self._pieces(memory, vma, holes):
                if piece is None:
                    yield None
                    continue
                start, end, readable = piece
                if not readable:
                    holes -= (end - start) // self._page_size
                offset = vma.offset + (start - vma.start if is_file(vma) else 0)
                part = Vma(start, end, vma.perms, offset, vma.dev, vma.inode, vma.path)
                flags = " ".join(
                    flag
                    for flag, on in zip(
                        ("rd", "wr", "ex", "sh"), (c not in "-p" for c in vma.perms), strict=True
                    )
                    if on
                )
                lines = f"{_maps_line(part)}\nSize: {(end - start) // 1024:18} kB\n"
                if readable:
                    yield f"{lines}VmFlags: {flags} \n"
                else:
                    yield f"{lines}Anonymous: {0:13} kB\nVmFlags: {flags} dd \n"

    def _pieces(
        self, memory: AddressSpace, vma: Vma, holes: int
    ) -> Iterator[tuple[int, int, bool] | None]:
        """Cut a mapping into runs of readable and unreadable pages; None after some reads."""
        if "r" not in vma.perms:
            yield vma.start, vma.end, False
            return
        start, readable, at = vma.start, True, vma.start
        for number in itertools.count(1):
            if at >= vma.end:
                break
            if number % _READS_IN_A_STEP == 0:
                yield None
            try:
                length, now = len(memory.read(at, min(_CHUNK, vma.end - at))), True
            except MemoryFault:
                # After so many holes the rest is treated as one hole.
                length, now = self._page_size if holes > 0 else vma.end - at, False
                holes -= 1
            if now is not readable and at > start:
                yield start, at, readable
                start = at
            readable = now
            at = min(at + length, vma.end)
        yield start, vma.end, readable


class _Smaps:
    """smaps, which takes reading all of a process's memory; implements `ports.MadeInSteps`."""

    def __init__(self, make: Callable[[], Iterator[bytes | None]]) -> None:
        self._make = make
        self._content: bytes | None = None

    def prepare(self) -> Iterator[None]:
        """See `MadeInSteps.prepare`."""
        for content in self._make():
            if content is None:
                yield None
            self._content = content

    @property
    def size(self) -> int:
        """See `RemoteFile.size`: 0 until it is made, as the kernel tells for all of its files."""
        return len(self._content or b"")

    def read(self, offset: int, count: int) -> bytes:
        """See `RemoteFile.read`."""
        if self._content is None:
            raise OSError(errno.EAGAIN, "is not made yet")
        return self._content[offset : offset + count]

    def close(self) -> None:
        """There is nothing to release."""


_UTF8 = {"encoding": "utf-8", "errors": "surrogateescape"}


def _maps_line(vma: Vma) -> str:
    major, _, minor = vma.dev.partition(":")
    line = (
        f"{vma.start:08x}-{vma.end:08x} {vma.perms} {vma.offset:08x}"
        f" {major:0>2}:{minor:0>2} {vma.inode} "
    )
    path = vma.path.replace("\n", "\\012")
    return line.ljust(_PATH_COLUMN) + path if path else line


def _state(thread: ProcessThread | None) -> str | None:
    """Return the state as /proc has it where it is known: a thread on a CPU was running."""
    return "R (running)" if thread is not None and thread.cpu is not None else None
