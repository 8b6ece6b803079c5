"""The dump's own symbols as debuggers get them: made once, kept by proof, moved when served."""

from __future__ import annotations

import gc
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dependency_injector import providers
from elftools.elf.elffile import ELFFile

from kdump_gdbserver.application.kernel import served_program
from kdump_gdbserver.application.kernel.kernel_files import KERNEL_FILE
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.application.kernel.served_program import ServeDumpsOwn
from kdump_gdbserver.application.symbols import symbol_image
from kdump_gdbserver.application.view import View
from kdump_gdbserver.cli.container import Container
from kdump_gdbserver.cli.main import main
from kdump_gdbserver.domain.arch import AARCH64, X86_64, Arch
from kdump_gdbserver.domain.symbols.btf import Btf
from kdump_gdbserver.domain.symbols.kallsyms import Kallsyms
from tests.support.fake_dump import FakeDump
from tests.support.fake_kernel import FakeKernel, fake_kernel

BUILD_ID, KASLR = "ab" * 20, 0x1E000000


def kernel(arch: Arch = X86_64, kaslr: int = KASLR, build_id: str = BUILD_ID) -> FakeKernel:
    made = fake_kernel(arch, possible=2, kaslr=kaslr)
    return made.with_vmcoreinfo(lambda text: f"{text}BUILD-ID={build_id}\n")


class Store:
    """A store in memory that counts."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.saved = 0

    def load(self, name: str) -> bytes | None:
        return self.contents.get(name)

    def save(self, name: str, content: bytes) -> None:
        self.saved += 1
        self.contents[name] = content


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the images that are made."""
    counted: list[int] = []
    make = symbol_image.make_symbol_image

    def count(*arguments: object) -> object:
        counted.append(1)
        return make(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(symbol_image, "make_symbol_image", count)
    return counted


def view_of(of: FakeKernel, store: Store | None = None) -> View:
    return open_kernel_view(of.dump(), None, ServeDumpsOwn(store))


def served(view: View) -> ELFFile:
    assert view.files is not None
    file = view.files.open(KERNEL_FILE)
    assert file is not None
    content = b""
    while part := file.read(len(content), file.size):
        content += part
    assert len(content) == file.size
    return ELFFile(io.BytesIO(content))


def words(view: View) -> str:
    assert view.served is not None
    return view.served()


def symbols(elf: ELFFile) -> dict[str, int]:
    table = elf.get_section_by_name(".symtab")
    return {each.name: each["st_value"] for each in table.iter_symbols()}  # type: ignore


def first_segment(elf: ELFFile) -> int:
    return int(next(elf.iter_segments("PT_LOAD"))["p_vaddr"])


@pytest.mark.parametrize("arch", [X86_64, AARCH64])
def test_names_are_where_the_kernel_runs(arch: Arch) -> None:
    of = kernel(arch)
    view = view_of(of)
    elf = served(view)
    found = symbols(elf)
    assert {name: found[name] for name in of.symbols} == of.symbols
    assert elf.has_dwarf_info()
    # gdb moves every program by the distance between these two.
    assert first_segment(elf) == view.placement.first_segment


def test_nothing_is_made_before_it_is_asked_for_and_then_once(made: list[int]) -> None:
    view = view_of(kernel())
    assert made == []
    clients = [threading.Thread(target=served, args=(view,)) for _ in range(3)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert words(view).startswith("the dump's own symbols, ")
    assert made == [1]


def test_the_tables_that_it_is_made_of_are_not_kept() -> None:
    """A view that is served for days needs them once, or never."""
    gc.collect()
    before = sum(isinstance(each, (Kallsyms, Btf)) for each in gc.get_objects())
    view = view_of(kernel())
    gc.collect()
    assert sum(isinstance(each, (Kallsyms, Btf)) for each in gc.get_objects()) == before
    assert served(view).has_dwarf_info()
    gc.collect()
    assert sum(isinstance(each, (Kallsyms, Btf)) for each in gc.get_objects()) == before


def test_it_is_kept_for_the_next_dump_of_that_kernel(made: list[int]) -> None:
    store = Store()
    first = symbols(served(view_of(kernel(), store)))
    assert (made, store.saved, list(store.contents)) == ([1], 1, [BUILD_ID])
    again = view_of(kernel(), store)
    assert symbols(served(again)) == first
    moved = kernel(kaslr=0x2A000000)
    found = symbols(served(view_of(moved, store)))
    assert {name: found[name] for name in moved.symbols} == moved.symbols
    assert made == [1]


def test_a_dump_that_only_claims_the_build_id_gets_its_own_names(made: list[int]) -> None:
    """Nor do its names spoil those of honest dumps: what is kept is proved each time."""
    store = Store()
    served(view_of(kernel(), store))
    liar = fake_kernel(X86_64, possible=2, kaslr=KASLR, panic_cpu=1)
    liar = liar.with_vmcoreinfo(lambda text: f"{text}BUILD-ID={BUILD_ID}\n")
    assert "panic_cpu" in symbols(served(view_of(liar, store)))
    assert "panic_cpu" not in symbols(served(view_of(kernel(), store)))
    assert len(made) == 3


@pytest.mark.parametrize("damage", [b"", b"x", b"x" * 1000])
def test_a_content_that_is_none_is_made_anew(made: list[int], damage: bytes) -> None:
    store = Store()
    store.contents[BUILD_ID] = damage
    assert symbols(served(view_of(kernel(), store)))
    assert (made, store.saved) == ([1], 1)
    kept = store.contents[BUILD_ID]
    for size in (0, 10, 60, len(kept) // 2):
        store.contents[BUILD_ID] = kept[:size]
        assert symbols(served(view_of(kernel(), store)))
    assert len(made) == 5


def test_what_is_missing_is_told_and_the_image_not_kept() -> None:
    store = Store()
    view = view_of(kernel().without("btf"), store)
    assert "no types" in words(view)
    assert symbols(served(view))
    assert store.saved == 0


def test_without_a_build_id_nothing_is_kept() -> None:
    store = Store()
    served(view_of(fake_kernel(X86_64), store))
    assert store.saved == 0


def test_without_kallsyms_the_build_id_is_left() -> None:
    view = view_of(kernel().without("kallsyms_names"))
    elf = served(view)
    assert elf.get_section_by_name(".symtab") is None
    assert elf.get_section_by_name(".note.gnu.build-id") is not None
    assert words(view).startswith(
        "no symbols, only the kernel's build-id; the dump's own could not"
    )


def test_the_first_segment_is_where_gdb_is_told_that_the_kernel_begins() -> None:
    of = kernel()
    view = view_of(of)
    elf = served(view)
    elf.stream.seek(0)
    file = elf.stream.read()
    for text in (of.symbols["_text"] - 0x10000, of.symbols["_text"] + 0x1000):
        moved = ELFFile(io.BytesIO(served_program._with_first_segment_at(file, "little", text)))
        assert first_segment(moved) == text
        assert symbols(moved) == symbols(elf)


@pytest.fixture
def dump(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeDump]:
    """The dump that every path names; what is kept is kept for the test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = kernel().dump()
    with Container.dump.override(providers.Object(made)):
        yield made


def test_symbols_are_saved_where_they_are_linked(
    dump: FakeDump, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "symbols"
    assert main(["-f", "vmcore", "--save-symbols", str(path)]) == 0
    assert f"{path}: " in capsys.readouterr().out
    elf = ELFFile(io.BytesIO(path.read_bytes()))
    at = kernel().symbols
    found = symbols(elf)
    linked = {name: at[name] - KASLR if at[name] >= 1 << 63 else at[name] for name in at}
    assert {name: found[name] for name in at} == linked
    assert path.stat().st_mode & 0o111 == 0
    assert [each.name for each in (tmp_path / "cache/kdump-gdbserver/symbols").iterdir()] == [
        BUILD_ID
    ]


def test_nothing_is_kept_with_no_cache(dump: FakeDump, tmp_path: Path) -> None:
    path = tmp_path / "symbols"
    assert main(["-f", "vmcore", "--no-cache", "--save-symbols", str(path)]) == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["symbols"]


def test_a_file_that_is_there_is_not_replaced(
    dump: FakeDump, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(b"precious")
    assert main(["-f", "vmcore", "--save-symbols", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"--save-symbols {path}: is there already" in error
    assert path.read_bytes() == b"precious"
    assert main(["-f", "vmcore", "--save-symbols", str(tmp_path / "no" / "where")]) == 2
    assert "No such file or directory; name a file to write" in capsys.readouterr().err


def test_a_dump_without_symbols_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mute = kernel().without("kallsyms_names").dump()
    with Container.dump.override(providers.Object(mute)):
        assert main(["-f", "v", "--no-cache", "--save-symbols", str(tmp_path / "x")]) == 2
    assert "its symbols cannot be had: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_save_symbols_is_for_the_kernel() -> None:
    with pytest.raises(SystemExit):
        main(["-f", "vmcore", "-j", "p.json", "--save-symbols", "x"])
