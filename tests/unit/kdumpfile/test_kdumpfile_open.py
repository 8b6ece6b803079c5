"""Opening dumps: facts of good ones, one clear line about bad ones."""

from __future__ import annotations

import gc
import os
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.adapters.kdumpfile.dump import KdumpfileDump
from kdump_gdbserver.adapters.kdumpfile.library.loading import (
    HOW_TO_GET,
    LibraryNotFoundError,
    load_library,
)
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.arch import ARCHITECTURES
from kdump_gdbserver.domain.errors import (
    DumpOpenError,
    FaultReason,
    InputError,
    MemoryFault,
)
from kdump_gdbserver.domain.page_walk import RootTable
from tests.support.note_writer import note
from tests.unit.kdumpfile.kdumpfile_support import LIBRARIES, Machine, noise, write
from tests.unit.kdumpfile.vmcore_builder import (
    AARCH64_MACHINE,
    AARCH64_REGISTERS,
    PAGE,
    RISCV64_REGISTERS,
    RISCV_MACHINE,
    Kdump,
    PageTables,
    Segment,
    elf_core,
    flatten,
    kdump,
    prstatus,
    vmcoreinfo,
)

MACHINE = Machine()
KNOWN = ", ".join(ARCHITECTURES)
QEMU_NOTE = note(b"QEMU", 0, bytes(440))


@pytest.fixture(scope="module", params=LIBRARIES)
def opener(request: pytest.FixtureRequest) -> KdumpfileOpener:
    return KdumpfileOpener(request.param)


def machine_kdump(about: Kdump | None = None) -> bytes:
    pages = MACHINE.pages()
    return kdump(pages, len(pages), about or Kdump(notes=MACHINE.notes))


def knows_flattened(opener: KdumpfileOpener) -> bool:
    return opener.library.abi is None or opener.library.abi >= (10, 1)


# --- facts ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["elf", "kdump"])
def test_facts(opener: KdumpfileOpener, tmp_path: Path, form: str) -> None:
    path = write(
        tmp_path,
        MACHINE.elf() if form == "elf" else machine_kdump(Kdump(notes=MACHINE.notes, level=31)),
    )
    dump = opener.open([path])
    facts = dump.facts
    assert facts.paths == (path,)
    assert facts.arch is ARCHITECTURES["x86_64"]
    assert facts.page_size == PAGE
    assert facts.cpu_count == 2
    assert facts.release == dump.vmcoreinfo.release
    assert facts.dump_level == (None if form == "elf" else 31)
    assert not facts.hypervisor
    assert not facts.truncated
    assert facts.library == opener.describe()
    assert facts.library.startswith("libkdumpfile.so.")
    dump.close()


@pytest.mark.parametrize("form", ["elf", "kdump"])
def test_cpu_notes_have_gdbs_names_and_widths(
    opener: KdumpfileOpener, tmp_path: Path, form: str
) -> None:
    dump = opener.open([write(tmp_path, MACHINE.elf() if form == "elf" else machine_kdump())])
    first, second = dump.cpu_notes()
    assert (first.index, first.pid, second.index, second.pid) == (0, 4711, 1, 0)
    assert first.registers["rip"] == Machine.TEXT
    assert first.registers["gs_base"] == 1 << 63
    assert first.registers["eflags"] == 0x1000 + 18
    assert len(first.registers) == 27
    assert set(first.registers) <= set(dump.facts.arch.layout().by_name)
    dump.close()


def test_qemu_is_known_by_its_note(opener: KdumpfileOpener, tmp_path: Path) -> None:
    core = elf_core([Segment(0, bytes(MACHINE.memory))], MACHINE.notes + QEMU_NOTE)
    dump = opener.open([write(tmp_path, core)])
    assert dump.facts.hypervisor
    assert dump.facts.cpu_count == 2
    dump.close()


@pytest.mark.parametrize("machine", [b"", b"Unknown"])
def test_qemu_kdump_names_no_machine(
    opener: KdumpfileOpener, tmp_path: Path, machine: bytes
) -> None:
    """QEMU before 8 leaves the names empty, later ones call all of them Unknown."""
    data = machine_kdump(Kdump(machine=machine, notes=MACHINE.notes + QEMU_NOTE, level=1))
    dump = opener.open([write(tmp_path, data)])
    assert dump.facts.arch.name == "x86_64"
    assert dump.facts.release != "Unknown"
    assert dump.facts.nodename != "Unknown"
    assert dump.facts.hypervisor
    assert dump.facts.missing_pages is None
    assert [n.registers["rip"] for n in dump.cpu_notes()] == [Machine.TEXT, Machine.TEXT + 8]
    assert DumpMemory(dump).kernel().read(Machine.TEXT, 8) == MACHINE.memory[0x100000:0x100008]
    dump.close()


def test_the_notes_alone_tell_the_architecture(opener: KdumpfileOpener, tmp_path: Path) -> None:
    data = machine_kdump(Kdump(machine=b"", notes=MACHINE.registers))
    dump = opener.open([write(tmp_path, data)])
    assert dump.facts.arch.name == "x86_64"
    assert dump.facts.cpu_count == 2
    dump.close()


def test_the_cache_of_an_open_dump_is_never_replaced(
    opener: KdumpfileOpener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libkdumpfile gives back pages that it holds since opening, to memory it has freed then.

    What lies there by now has a number changed: a crash at the end, of something else.
    """
    functions = opener.library.functions._functions
    calls: list[str] = []

    def noting(name: str) -> None:
        function = functions[name]

        def call(context: object, *arguments: object) -> int:
            key = arguments[0]
            calls.append(key.decode() if isinstance(key, bytes) else name)
            return int(function(context, *arguments))

        monkeypatch.setitem(functions, name, call)

    noting("kdump_open_fdset")
    noting("kdump_set_attr")
    dump = opener.open([write(tmp_path, machine_kdump(Kdump(notes=MACHINE.notes, machine=b"")))])
    assert dump.facts.cpu_count == 2
    dump.close()
    assert "cache.size" in calls[: calls.index("kdump_open_fdset")]
    assert "cache.size" not in calls[calls.index("kdump_open_fdset") :]


def test_flattened(opener: KdumpfileOpener, tmp_path: Path) -> None:
    path = write(tmp_path, flatten(machine_kdump(Kdump(notes=MACHINE.notes, machine=b""))))
    if not knows_flattened(opener):
        with pytest.raises(DumpOpenError, match=r"flattened.*pip install drgn.*makedumpfile -R"):
            opener.open([path])
        return
    dump = opener.open([path])
    assert dump.facts.cpu_count == 2
    assert dump.physical().read(0, 3 * PAGE) == MACHINE.memory[: 3 * PAGE]
    dump.close()


def test_a_flattened_dump_that_is_cut(opener: KdumpfileOpener, tmp_path: Path) -> None:
    data = flatten(machine_kdump(Kdump(notes=MACHINE.notes, status=0)))
    path = write(tmp_path, data[: len(data) - 20 * PAGE])
    wanted = "is truncated" if knows_flattened(opener) else "pip install drgn"
    assert wanted in refusal(opener, path)


# --- other architectures --------------------------------------------------------------


def test_aarch64(opener: KdumpfileOpener, tmp_path: Path) -> None:
    base, link = 0x4000_0000, 0xFFFF_8000_8000_0000
    memory = bytearray(noise(128))
    tables = PageTables(base + 0x10000, leaf=0x703)
    tables.map(link + 0x5000, base + 0x2000)
    tables.map(link + 0x10000, base + 0x10000)  # the table itself, as in the kernel
    memory[0x10000 : 0x10000 + len(tables.data)] = tables.data
    lines = {
        "PAGESIZE": "4096",
        "NUMBER(VA_BITS)": "48",
        "NUMBER(kimage_voffset)": hex(link - base),
        "NUMBER(PHYS_OFFSET)": hex(base),
        "NUMBER(TCR_EL1_T1SZ)": "0x10",
        "SYMBOL(swapper_pg_dir)": f"{link + 0x10000:x}",
        "SYMBOL(_stext)": f"{link + 0x5000:x}",
    }
    notes = prstatus(7, {"pc": link, "pstate": 0x6000_0005, "x30": 5}, AARCH64_REGISTERS)
    core = elf_core([Segment(base, bytes(memory))], notes + vmcoreinfo(lines), AARCH64_MACHINE)
    dump = opener.open([write(tmp_path, core)])
    assert dump.facts.arch.name == "aarch64"
    assert DumpMemory(dump).kernel().read(link + 0x5010, 16) == memory[0x2010:0x2020]
    [cpu] = dump.cpu_notes()
    assert (cpu.registers["pc"], cpu.registers["cpsr"], cpu.registers["x30"]) == (
        link,
        0x6000_0005,
        5,
    )
    dump.close()


@pytest.mark.parametrize("form", ["elf", "kdump"])
@pytest.mark.parametrize("levels", [3, 4, 5])
def test_riscv64(opener: KdumpfileOpener, tmp_path: Path, form: str, levels: int) -> None:
    base, link = 0x8000_0000, 0xFFFF_FFFF_8000_0000
    memory = bytearray(noise(128))
    tables = PageTables(base + 0x10000, levels, leaf=0xCF, table=1)
    tables.map(link + 0x5000, base + 0x2000, shift=2)
    tables.map(link + 0x10000, base + 0x10000, shift=2)  # the table itself, as in the kernel
    memory[0x10000 : 0x10000 + len(tables.data)] = tables.data
    lines = {
        "PAGESIZE": "4096",
        "NUMBER(VA_BITS)": str(12 + 9 * levels),
        "NUMBER(phys_ram_base)": hex(base),
        "NUMBER(va_kernel_pa_offset)": hex(link - base),
        "NUMBER(KERNEL_LINK_ADDR)": hex(link),
        "NUMBER(satp)": hex(levels + 5 << 60 | base + 0x10000 >> 12),
        "SYMBOL(swapper_pg_dir)": f"{link + 0x10000:x}",
        "SYMBOL(_stext)": f"{link:x}",
    }
    notes = prstatus(7, {"epc": link, "s0": 9}, RISCV64_REGISTERS) + vmcoreinfo(lines)
    if form == "elf":
        data = elf_core([Segment(base, bytes(memory))], notes, RISCV_MACHINE)
    else:
        frames = {base // PAGE + n: bytes(memory[n * PAGE :][:PAGE]) for n in range(128)}
        data = kdump(frames, base // PAGE + 128, Kdump(machine=b"", notes=notes))
    # An older library does not know the architecture, and need not.
    dump = opener.open([write(tmp_path, data)])
    assert isinstance(dump, KdumpfileDump)
    assert dump.translation is None
    knows = dump.library_translation() is not None
    assert knows == knows_flattened(opener)  # one release brought both
    assert dump.facts.arch.name == "riscv64"
    assert DumpMemory(dump).kernel().read(link + 0x5010, 16) == memory[0x2010:0x2020]
    [cpu] = dump.cpu_notes()
    assert (cpu.registers["pc"], cpu.registers["fp"]) == (link, 9)
    assert DumpMemory(dump).process(RootTable(base + 0x10000)).read(0, 0) == b""
    dump.close()


# --- VMCOREINFO given by the user -----------------------------------------------------


@pytest.mark.parametrize("form", ["elf", "kdump"])
@pytest.mark.parametrize("own", [b"", vmcoreinfo({"SYMBOL(init_top_pgt)": "ffff0000"})])
def test_vmcoreinfo_can_be_replaced(
    opener: KdumpfileOpener, tmp_path: Path, form: str, own: bytes
) -> None:
    notes = MACHINE.registers + own
    if form == "elf":
        data = elf_core([Segment(0, bytes(MACHINE.memory))], notes)
    else:
        data = machine_kdump(Kdump(notes=notes))
    path = write(tmp_path, data)
    dump = opener.open([path])
    with pytest.raises(MemoryFault):
        DumpMemory(dump).kernel().read(Machine.VMALLOC, 8)
    assert dump.physical().read(0, 8) == MACHINE.memory[:8]
    dump.close()
    dump = opener.open([path], vmcoreinfo=MACHINE.text)
    assert dump.vmcoreinfo.lines == MACHINE.vmcoreinfo
    assert DumpMemory(dump).kernel().read(Machine.VMALLOC, 8) == MACHINE.memory[0x5000:0x5008]
    assert (
        DumpMemory(dump).process(RootTable(Machine.USER_ROOT)).read(Machine.USER, 8)
        == MACHINE.memory[0x7000:0x7008]
    )
    assert DumpMemory(dump).trouble is None
    dump.close()


def test_vmcoreinfo_that_is_none_is_refused(opener: KdumpfileOpener, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="VMCOREINFO has no KEY=VALUE line"):
        opener.open([write(tmp_path, MACHINE.elf())], vmcoreinfo=b"\0\0\0")


# --- split dumps ----------------------------------------------------------------------


def parts(tmp_path: Path, status: int = 1) -> list[str]:
    return [
        write(
            tmp_path,
            machine_kdump(Kdump(notes=MACHINE.notes, split=frames, status=status)),
            f"part{frames[0]}",
        )
        for frames in ((0, 200), (200, 300), (300, 512))
    ]


def test_split(opener: KdumpfileOpener, tmp_path: Path) -> None:
    first, second, third = parts(tmp_path)
    dump = opener.open([third, first, second])
    assert not dump.facts.parts_missing
    assert not dump.facts.truncated
    assert dump.physical().read(0, Machine.RAM) == bytes(MACHINE.memory)
    assert dump.facts.cpu_count == 2
    dump.close()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_part_without_pages(opener: KdumpfileOpener, tmp_path: Path, place: int) -> None:
    """makedumpfile makes such parts of dumps with few pages; the first may be one."""
    spans = [(0, 200), (200, 512)]
    spans.insert(place, ((0, 0), (200, 200), (512, 512))[place])
    files = [
        write(tmp_path, machine_kdump(Kdump(notes=MACHINE.notes, split=span)), f"part{number}")
        for number, span in enumerate(spans)
    ]
    dump = opener.open(files)
    assert not dump.facts.parts_missing
    assert dump.physical().read(0, Machine.RAM) == bytes(MACHINE.memory)
    dump.close()


def test_a_part_that_is_not_there(opener: KdumpfileOpener, tmp_path: Path) -> None:
    first, _, third = parts(tmp_path)
    dump = opener.open([first, third])
    assert dump.facts.missing_pages == "not all parts of the split dump were given"
    physical = dump.physical()
    assert physical.read(198 * PAGE, 4 * PAGE) == MACHINE.memory[198 * PAGE : 200 * PAGE]
    with pytest.raises(MemoryFault) as caught:
        physical.read(200 * PAGE, 8)
    assert caught.value.reason is FaultReason.EXCLUDED
    dump.close()


def test_a_truncated_part(opener: KdumpfileOpener, tmp_path: Path) -> None:
    first, second, third = parts(tmp_path, status=0)
    size = Path(second).stat().st_size
    os.truncate(second, size - 10 * PAGE)
    dump = opener.open([first, second, third])
    assert dump.facts.truncated
    physical = dump.physical()
    assert physical.read(0, Machine.RAM) == MACHINE.memory[: 290 * PAGE]
    assert physical.read(300 * PAGE, 8) == MACHINE.memory[300 * PAGE :][:8]
    dump.close()


def test_files_that_do_not_belong_together(opener: KdumpfileOpener, tmp_path: Path) -> None:
    first, _, third = parts(tmp_path)
    whole = write(tmp_path, machine_kdump(), "whole")
    with pytest.raises(DumpOpenError, match=r"whole: is not a part of a split dump"):
        opener.open([first, whole])
    with pytest.raises(DumpOpenError, match=r"holds the same pages"):
        opener.open([first, third, first])
    other = bytearray(Path(third).read_bytes())
    struct.pack_into("<q", other, 408, 1_700_000_000)  # another time stamp
    with pytest.raises(DumpOpenError, match=r"a part of another dump"):
        opener.open([first, write(tmp_path, bytes(other), "other")])


# --- errors ---------------------------------------------------------------------------


def refusal(opener: KdumpfileOpener, path: str, arch: str | None = None) -> str:
    with pytest.raises(DumpOpenError) as caught:
        opener.open([path], arch=arch)
    message = str(caught.value)
    assert message.startswith(path)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"hello\n" * 1000, "not a crash dump"),
        (b"\x1f\x8b\x08" + bytes(100), "gunzip"),
        (b"\xfd7zXZ\x00" + bytes(100), "unxz"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "unzstd"),
        (b"\x7fELF" + bytes(20), "truncated"),
        (b"\x7fELF\x01\x01" + bytes(100), "32-bit"),
        (elf_core([]), "without memory"),
        (elf_core([Segment(0, bytes(PAGE))])[:100], "truncated"),
        (elf_core([Segment(0, bytes(PAGE))], machine=20), "'ppc', which is not supported"),
        (elf_core([Segment(0, bytes(PAGE))]).replace(b"\x04\x00\x3e", b"\x02\x00\x3e"), "no core"),
        (kdump({0: bytes(PAGE)}, 8)[:300], "truncated"),
        (kdump({0: bytes(PAGE)}, 8)[:9000], "truncated"),
        (kdump({0: bytes(PAGE)}, 8, Kdump(machine=b"ia64")), "'ia64', which is not supported"),
        (
            kdump({0: bytes(PAGE)}, 8, Kdump(machine=b"")),
            "give --arch (" + KNOWN + ")",
        ),
    ],
)
def test_what_is_wrong_with_a_file(
    opener: KdumpfileOpener, tmp_path: Path, content: bytes, said: str
) -> None:
    assert said in refusal(opener, write(tmp_path, content))


def test_paths_that_are_no_files(
    opener: KdumpfileOpener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no such file" in refusal(opener, str(tmp_path / "nothing"))
    assert "is a directory" in refusal(opener, str(tmp_path))
    assert "cannot be opened" in refusal(opener, "bad\0name")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "not a regular file" in refusal(opener, str(pipe))
    with pytest.raises(DumpOpenError, match="no dump file was named"):
        opener.open([])

    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", denied)
    assert "permission denied" in refusal(opener, str(tmp_path / "secret"))


def test_the_architecture_option(opener: KdumpfileOpener, tmp_path: Path) -> None:
    path = write(tmp_path, MACHINE.elf())
    assert "unknown architecture 'vax'" in refusal(opener, path, arch="vax")
    assert "not of aarch64; leave --arch out" in refusal(opener, path, arch="aarch64")
    opener.open([path], arch="x86_64").close()
    nameless = write(tmp_path, machine_kdump(Kdump(machine=b"", notes=b"")), "nameless")
    dump = opener.open([nameless], arch="x86_64", vmcoreinfo=MACHINE.text)
    assert DumpMemory(dump).kernel().read(Machine.TEXT, 8) == MACHINE.memory[0x100000:0x100008]
    dump.close()


def test_the_page_size_is_never_guessed(opener: KdumpfileOpener, tmp_path: Path) -> None:
    core = elf_core([Segment(0, bytes(PAGE))], machine=AARCH64_MACHINE)
    assert "page size is not known" in refusal(opener, write(tmp_path, core))


def test_a_codec_that_the_library_lacks(
    opener: KdumpfileOpener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {n: bytes([n]) * PAGE for n in range(8)}
    path = write(tmp_path, kdump(pages, 8))
    opener.open([path]).close()
    functions = opener.library.functions.__dict__["_functions"]
    monkeypatch.setitem(functions, "kdump_read", lambda *_: 2)  # KDUMP_ERR_NOTIMPL
    assert "compressed with zlib, which this libkdumpfile" in refusal(opener, path)


def test_no_descriptor_is_lost(opener: KdumpfileOpener, tmp_path: Path) -> None:
    good, bad = write(tmp_path, machine_kdump()), write(tmp_path, b"x" * 9000, "bad")
    gc.collect()  # what other tests have left is not to be closed in the middle of this one
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        opener.open([good]).close()
        opener.open([good])  # and forgotten
        refusal(opener, bad)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@given(seed=st.integers(0, 2**32), form=st.sampled_from(["elf", "kdump", "flattened"]))
def test_any_damage_gives_a_dump_or_an_error(
    opener: KdumpfileOpener, tmp_path_factory: pytest.TempPathFactory, seed: int, form: str
) -> None:
    chance = random.Random(seed)
    data = bytearray(MACHINE.elf() if form == "elf" else machine_kdump())
    if form == "flattened":
        data = bytearray(flatten(bytes(data)))
    if chance.random() < 0.3:
        data = data[: chance.randrange(1, len(data))]
    for _ in range(chance.randrange(6)):
        at = chance.randrange(min(len(data), chance.choice((600, 9000, len(data)))))
        data[at : at + 8] = chance.choice((chance.randbytes(8), b"\xff" * 8, bytes(8)))
    try:
        dump = opener.open([write(tmp_path_factory.getbasetemp(), bytes(data))])
    except InputError as error:
        assert "\n" not in str(error)
        return
    memory = DumpMemory(dump)
    spaces = [dump.physical(), memory.kernel()]
    if memory.tables is not None:
        spaces.append(memory.process(RootTable(Machine.USER_ROOT)))
    for space in spaces:
        for address in (0, Machine.TEXT, Machine.USER, Machine.RAM - PAGE):
            try:
                assert len(space.read(address, 2 * PAGE)) <= 2 * PAGE
            except MemoryFault as fault:
                assert fault.address == address
    dump.cpu_notes()
    dump.close()


# --- the library ----------------------------------------------------------------------


def test_a_library_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = str(tmp_path / "libkdumpfile.so.99")
    with pytest.raises(LibraryNotFoundError) as caught:
        KdumpfileOpener(missing).describe()
    assert missing in str(caught.value)
    assert HOW_TO_GET in str(caught.value)
    monkeypatch.setenv("KDUMP_GDBSERVER_LIBKDUMPFILE", missing)
    with pytest.raises(LibraryNotFoundError, match="given by KDUMP_GDBSERVER_LIBKDUMPFILE"):
        load_library()


def test_a_library_that_is_another(tmp_path: Path) -> None:
    path = write(tmp_path, b"no library", "libkdumpfile.so.12")
    with pytest.raises(LibraryNotFoundError, match="cannot load libkdumpfile"):
        load_library(path)
    with pytest.raises(LibraryNotFoundError, match="cannot load libkdumpfile"):
        load_library("libc.so.6")
