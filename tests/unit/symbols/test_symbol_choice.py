"""Whose symbols are served: what is found, what options say, and the printed line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from kdump_gdbserver.adapters.debuginfod import Debuginfod
from kdump_gdbserver.adapters.elf_symbols import ElfSymbolFile
from kdump_gdbserver.application.kernel.kernel_files import KERNEL_FILE
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.application.view import View
from kdump_gdbserver.cli.console import DownloadProgress, Place, invitation
from kdump_gdbserver.cli.symbol_choice import SymbolChoice, choose_symbols, program_maker
from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.ports.symbol_finder import FoundVmlinux
from tests.support.fake_dump import FakeDump
from tests.support.fake_kernel import fake_kernel
from tests.unit.symbols.test_section_stub import BUILD_ID, TEXT, VMLINUX

KASLR = 0x1E000000
KERNEL = fake_kernel(possible=2, kaslr=KASLR)
WITH_ID = KERNEL.with_vmcoreinfo(lambda text: text + f"BUILD-ID={BUILD_ID.hex()}\n")
DEBUG_FILE = f"/usr/lib/debug/.build-id/ab/{BUILD_ID.hex()[2:]}.debug"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No debug files but those below the test's directory, and no server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEBUGINFOD_URLS", raising=False)


def choose(dump: FakeDump, symbols: str | None = None, given: Path | None = None) -> SymbolChoice:
    return choose_symbols(dump, ElfSymbolFile(str(given)) if given else None, symbols)


def printed(choice: SymbolChoice, vmlinux: str | None = None) -> list[str]:
    text = invitation(Place("here", "here:1"), vmlinux, WITH_ID.dump().vmcoreinfo, choice)
    return text.splitlines()


def last_line(choice: SymbolChoice) -> str:
    start = "# Symbols for a gdb without a file: "
    line = printed(choice)[-1]
    assert line.startswith(start)
    return line.removeprefix(start)


def view_of(choice: SymbolChoice) -> View:
    return open_kernel_view(WITH_ID.dump(), choice.given, program_maker(choice))


def content(view: View, path: str) -> bytes | None:
    assert view.files is not None
    file = view.files.open(path)
    if file is None:
        return None
    data = file.read(0, file.size)
    file.close()
    return data


def test_a_vmlinux_in_the_working_directory_is_told_and_served(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(VMLINUX)
    choice = choose(WITH_ID.dump())
    assert choice.found == FoundVmlinux(str(path), "found in the working directory")
    assert printed(choice)[2] == f"file {path} -o {KASLR:#x}"
    assert last_line(choice) == f"{path} (found in the working directory)"
    view = view_of(choice)
    stub = content(view, KERNEL_FILE)
    assert stub is not None
    text = ELFFile(io.BytesIO(stub)).get_section_by_name(".text")
    assert text is not None
    assert text["sh_addr"] == TEXT + KASLR
    # Where gdb's directory of debug files is, its makers decide.
    assert content(view, DEBUG_FILE) == VMLINUX
    assert content(view, DEBUG_FILE.replace("/usr/lib", "/opt/gdb/lib")) == VMLINUX
    assert content(view, DEBUG_FILE.replace("cd.debug", "ce.debug")) is None
    assert view.served is not None
    assert view.served() == f"{path} (found in the working directory), by its build-id"


def test_what_v_gives_is_served_and_printed_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(VMLINUX)
    given = tmp_path / "mine"
    given.write_bytes(VMLINUX)
    choice = choose(WITH_ID.dump(), given=given)
    assert choice.found == FoundVmlinux(str(given), "given by -v")
    assert printed(choice, "./mine")[2] == f"file ./mine -o {KASLR:#x}"
    assert content(view_of(choice), DEBUG_FILE) == VMLINUX


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (VMLINUX.replace(BUILD_ID, b"\x11" * 20), "has another build-id than the dump"),
        (VMLINUX.replace(b".debug_info", b".debug_infx"), "has no DWARF"),
    ],
)
def test_what_v_gives_is_not_served_if_it_is_not_the_dumps(
    tmp_path: Path, wrong: bytes, why: str
) -> None:
    (tmp_path / "vmlinux").write_bytes(VMLINUX)  # is not taken instead: the user said which
    given = tmp_path / "mine"
    given.write_bytes(wrong)
    choice = choose(WITH_ID.dump(), given=given)
    assert choice.found is None
    assert last_line(choice).endswith(f"({given} {why})")
    assert content(view_of(choice), DEBUG_FILE) is None


def test_a_dump_without_a_build_id_proves_no_vmlinux(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(VMLINUX)
    choice = choose(KERNEL.dump())
    assert choice.found is None
    assert last_line(choice).endswith("(the dump has no build-id to find its vmlinux by)")


def test_no_vmlinux_leaves_the_lines_as_they_were() -> None:
    choice = choose(WITH_ID.dump())
    lines = printed(choice)
    assert lines[2] == f"file <vmlinux> -o {KASLR:#x}"
    assert lines[:-1] == printed(SymbolChoice(None, None, None, ""))[:-1]
    assert last_line(choice).endswith("(no vmlinux was found)")


def test_options_overrule(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--symbols vmlinux: there is none .* with -v$"):
        choose(WITH_ID.dump(), "vmlinux")
    (tmp_path / "vmlinux").write_bytes(VMLINUX)
    assert choose(WITH_ID.dump(), "vmlinux").found is not None
    choice = choose(WITH_ID.dump(), "none")
    assert choice.found is None
    assert last_line(choice) == "none (as --symbols none says)"
    view = view_of(choice)
    assert content(view, DEBUG_FILE) is None
    assert view.served is not None
    assert view.served() == "no symbols, only the kernel's build-id"


def test_a_vmlinux_that_goes_or_changes_before_it_is_served_is_not(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(VMLINUX)
    choice = choose(WITH_ID.dump())
    path.write_bytes(VMLINUX.replace(BUILD_ID, b"\x11" * 20))
    assert content(view_of(choice), DEBUG_FILE) is None
    path.unlink()
    assert content(view_of(choice), DEBUG_FILE) is None


class _Told(KeyboardInterrupt):
    pass


def test_an_interrupted_download_goes_on_without_but_a_signal_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEBUGINFOD_URLS", "http://127.0.0.1:1")
    raised: BaseException = KeyboardInterrupt()

    def find(*_: object) -> None:
        raise raised

    monkeypatch.setattr(Debuginfod, "find", find)
    assert last_line(choose(WITH_ID.dump())).endswith("(debuginfod was interrupted)")
    raised = _Told()
    with pytest.raises(_Told):
        choose(WITH_ID.dump())


def test_why_debuginfod_has_none_is_told_on_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBUGINFOD_URLS", "http://127.0.0.1:1")
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", "/nonexistent")
    line = last_line(choose(WITH_ID.dump()))
    assert "(no vmlinux was found: http://127.0.0.1:1: " in line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_download_is_told_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]
) -> None:
    said = stream()
    monkeypatch.setattr("sys.stderr", said)
    with DownloadProgress() as progress:
        for size in (0, 1 << 20, 2 << 20, 3 << 20):
            progress("http://x/debuginfo", size, 3 << 20)
    lines = said.getvalue().replace("\r", "\n").splitlines()
    start = "kdump-gdbserver: downloading http://x/debuginfo"
    assert lines[0] == f"{start} (ctrl-C goes on without)"
    if stream is Terminal:
        assert lines[1:] == [f"{start}: 1 of 3 MiB", f"{start}: 3 of 3 MiB"]
        assert said.getvalue().endswith("\n")
    else:
        assert lines[1:] == []
