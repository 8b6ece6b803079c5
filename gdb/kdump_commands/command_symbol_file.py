"""kdump-symbol-file: the kernel's symbols where the dumped kernel was."""

import pathlib
import struct
from typing import Any, Dict, List, Optional

import gdb

from ...domain.kernel.errors import KdumpError, Unreadable
from ...domain.kernel.notes import parse_vmcoreinfo
from .command import Command, report
from .elf_file import sections_at_zero
from .target import UNWIND_IMAGE, read_target, require_kernel


def quoted(word: str) -> str:
    """A word as gdb's command line takes it."""
    return '"%s"' % word.replace("\\", "\\\\").replace('"', '\\"')


def symbols_of(path: str) -> List[Any]:
    """The object files of gdb's that are this file."""
    return [
        loaded
        for loaded in gdb.objfiles()
        if pathlib.Path(loaded.filename or "").is_file()
        and pathlib.Path(loaded.filename).samefile(path)
    ]


def server_notes() -> Dict[str, str]:
    """The dump's VMCOREINFO, as the server tells it."""
    try:
        text = gdb.execute("monitor vmcoreinfo", to_string=True)
    except gdb.error:
        raise KdumpError("no server to ask; connect with 'target remote' first") from None
    return parse_vmcoreinfo(text.encode("ascii", "replace"))


class SymbolFile(Command):
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
            unmoved = sections_at_zero(path)
        except (OSError, struct.error, ValueError, IndexError) as error:
            reason = getattr(error, "strerror", None) or "damaged ELF file"
            raise KdumpError("%s: %s; name the dumped kernel's vmlinux" % (path, reason)) from None
        notes = server_notes()
        require_kernel()
        offset = int(notes.get("KERNELOFFSET", "0"), 16)
        confirm = gdb.parameter("confirm")
        gdb.execute("set confirm off")
        try:
            self._load(path, offset, unmoved)
        finally:
            gdb.execute("set confirm %s" % ("on" if confirm else "off"))
        gdb.write("symbols of %s loaded, moved by 0x%x" % (path, offset))
        gdb.write(" (%s not moved)\n" % ", ".join(unmoved) if unmoved else "\n")
        self._check(path, notes.get("BUILD-ID"))

    @staticmethod
    def _loaded() -> str:
        name = gdb.current_progspace().filename
        if not name:
            raise KdumpError("usage: kdump-symbol-file VMLINUX (no file is loaded yet)")
        return str(name)

    @staticmethod
    def _check(path: str, wanted: Optional[str]) -> None:
        """Warn if the file is another kernel than the dumped one."""
        found = {loaded.build_id for loaded in symbols_of(path)} - {None}
        if wanted and found and wanted not in found:
            text = "%s is not the dumped kernel: its build-id is %s, the dump's %s;"
            text += " names and backtraces will be wrong"
            report([text % (path, found.pop(), wanted)])

    @staticmethod
    def _load(path: str, offset: int, unmoved: List[str]) -> None:
        gdb.execute("symbol-file", to_string=True)
        for loaded in symbols_of(path):  # by this command, the last time
            gdb.execute("remove-symbol-file " + quoted(loaded.filename), to_string=True)
        sections = "".join(" -s %s 0" % name for name in unmoved)
        gdb.execute(
            "add-symbol-file %s -o 0x%x%s" % (quoted(path), offset, sections), to_string=True
        )
        try:  # gdb has dropped all symbols, also what it got from the server
            if read_target(UNWIND_IMAGE, 4) == b"\x7fELF":
                if not gdb.current_progspace().filename:  # gdb wants a file as the pattern
                    gdb.execute("exec-file " + quoted(path), to_string=True)
                gdb.execute("add-symbol-file-from-memory 0x%x" % UNWIND_IMAGE, to_string=True)
        except Unreadable:
            pass  # another architecture
