"""kdump-symbol-file: the kernel's symbols where the dumped kernel was."""

import contextlib
import pathlib
import struct
from typing import Any, Iterator, List, Optional

import gdb

from ...domain.errors import InputError
from ...domain.kernel.errors import KdumpError, Unreadable
from ...domain.vmcoreinfo import Vmcoreinfo
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


def server_vmcoreinfo() -> Vmcoreinfo:
    """The dump's VMCOREINFO, as the server tells it."""
    try:
        text = gdb.execute("monitor vmcoreinfo", to_string=True)
    except gdb.error:
        raise KdumpError("no server to ask; connect with 'target remote' first") from None
    try:
        return Vmcoreinfo.parse(text.encode("ascii", "replace"))
    except InputError:
        return Vmcoreinfo({})


@contextlib.contextmanager
def unasked() -> Iterator[None]:
    """Let gdb's commands be done without a question."""
    confirm = gdb.parameter("confirm")
    gdb.execute("set confirm off")
    try:
        yield
    finally:
        gdb.execute("set confirm %s" % ("on" if confirm else "off"))


class SymbolFile(Command):
    """Load the kernel's symbols where the dumped kernel was.

    Usage: kdump-symbol-file [VMLINUX]

    Both 'file VMLINUX' with 'target remote' and 'file VMLINUX -o OFFSET' move per-CPU
    variables along with the kernel, and those must stay: per-CPU look-ups, such as those of
    the kernel's own gdb scripts, go wrong. Here all is put where it belongs: at once, or when
    gdb connects to the server. Without VMLINUX the file that gdb has loaded is loaded anew."""

    def __init__(self) -> None:
        self._waiting: Optional[str] = None  # the file to put right when gdb connects
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
        if gdb.selected_inferior().threads():
            self._put_right(path, unmoved)
        else:
            self._load_ahead(path)

    def _load_ahead(self, path: str) -> None:
        with unasked():
            gdb.execute("file " + quoted(path), to_string=True)
        gdb.write("symbols of %s loaded; 'target remote' puts them where the kernel was\n" % path)
        if self._waiting is None:
            gdb.events.stop.connect(self._connected)
        self._waiting = path

    def _connected(self, event: object) -> None:
        """What gdb calls when it has connected."""
        gdb.events.stop.disconnect(self._connected)
        path, self._waiting = self._waiting, None
        if path is None or not symbols_of(path):
            return  # another file has been loaded since
        try:
            self._put_right(path, sections_at_zero(path))
        except (KdumpError, gdb.error, OSError, struct.error, ValueError, IndexError) as error:
            report(["kdump-symbol-file: %s" % " ".join(str(error).split())])

    def _put_right(self, path: str, unmoved: List[str]) -> None:
        info = server_vmcoreinfo()
        require_kernel()
        offset = info.kaslr_offset or 0
        with unasked():
            self._load(path, offset, unmoved)
        gdb.write("symbols of %s loaded, moved by 0x%x" % (path, offset))
        gdb.write(" (%s not moved)\n" % ", ".join(unmoved) if unmoved else "\n")
        self._check(path, info.build_id)

    @staticmethod
    def _loaded() -> str:
        name = gdb.current_progspace().filename
        if not name or name.startswith("target:"):  # the server's stand-in for it
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
