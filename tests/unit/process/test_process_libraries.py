"""find_libraries: what stands in for a dynamic linker's list that the dump has not."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from kdump_gdbserver.application.process.libraries import find_libraries
from kdump_gdbserver.application.process.mapped_files import Mappings
from kdump_gdbserver.domain.arch import X86_64
from kdump_gdbserver.domain.errors import FaultReason, MemoryFault
from kdump_gdbserver.domain.sidecars import Vma
from kdump_gdbserver.ports.libraries import Library
from tests.unit.process.process_support import (
    PAGE,
    Pages,
    elf,
    file_vmas,
    image_of,
    pages_of,
    thread,
)

EXE, LIBC, LOADER, OTHER = 0x5555_0000_0000, 0x7F00_0000_0000, 0x7F00_0010_0000, 0x7F00_0020_0000
DYNAMIC = 0x900  # in the files that `elf` writes
DEBUG, LIST, NAMES = 0x7FFF_0000_0000, 0x7FFF_0000_1000, 0x7FFF_0000_2000
LIBRARIES = (
    Library("/lib/libc.so", LIBC, LIBC + DYNAMIC),
    Library("/lib/ld.so", LOADER, LOADER + DYNAMIC),
)
VMAS = (
    *file_vmas("/bin/prog", EXE, 1),
    *file_vmas("/lib/libc.so", LIBC, 2),
    *file_vmas("/lib/ld.so", LOADER, 3),
    Vma(DEBUG, DEBUG + 3 * PAGE, "rw-p"),
)


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def memory() -> dict[int, bytes]:
    """Pages with a whole list: the executable, then each library."""
    program = elf(dynamic=[(1, 5), (21, DEBUG), (0, 0)])
    pages = pages_of(EXE, program) | pages_of(LIBC, elf()) | pages_of(LOADER, elf())
    nodes = [LIST + 40 * n for n in range(3)]
    chain = b"".join(
        words(offset, NAMES + 16 * n, 0, following, 0)
        for n, (offset, following) in enumerate(
            zip((EXE, LIBC, LOADER), (*nodes[1:], 0), strict=True)
        )
    )
    names = b"".join(name.ljust(16, b"\0") for name in (b"", b"/lib/libc.so", b"/lib/ld.so"))
    return pages | pages_of(DEBUG, words(1, LIST)) | pages_of(LIST, chain) | pages_of(NAMES, names)


def found(pages: Mapping[int, bytes], *more: Vma, exe: str | None = "/bin/prog") -> list[Library]:
    vmas = (*VMAS, *more)
    process = image_of(thread(100, {}), vmas=vmas, exe=exe)
    return list(find_libraries(process, Mappings(vmas), Pages(pages), X86_64, PAGE))


def test_a_list_that_can_be_read_is_left_to_the_debugger() -> None:
    assert found(memory()) == []


@pytest.mark.parametrize("gone", [DEBUG, LIST, NAMES])
def test_where_a_part_of_the_list_is_missing_the_mappings_tell(gone: int) -> None:
    pages = memory()
    del pages[gone]
    assert found(pages) == list(LIBRARIES)


def test_the_executables_dynamic_section_may_be_missing_itself() -> None:
    """It was written to, so the file's page cannot stand in; the headers before it can."""

    class Without(Pages):
        def read(self, address: int, length: int) -> bytes:
            if EXE + DYNAMIC <= address < EXE + PAGE:
                raise MemoryFault(address, FaultReason.EXCLUDED)
            return super().read(address, length)

    process = image_of(thread(100, {}), vmas=VMAS, exe="/bin/prog")
    libraries = find_libraries(process, Mappings(VMAS), Without(memory()), X86_64, PAGE)
    assert libraries == LIBRARIES


def test_what_is_no_library_is_not_listed() -> None:
    pages = memory()
    del pages[LIST]
    pages |= pages_of(OTHER, b"\xcc" * PAGE) | pages_of(OTHER + PAGE, elf(kind=2)[:PAGE])
    pages |= pages_of(OTHER + 2 * PAGE, elf(bits=32)[:PAGE].replace(b"\x3e", b"\x03", 1))
    pages |= pages_of(OTHER + 3 * PAGE, elf()[:PAGE])
    others = (
        Vma(OTHER, OTHER + PAGE, "r-xp", 0, "08:01", 10, "/lib/damaged.so"),
        Vma(OTHER + PAGE, OTHER + 2 * PAGE, "r-xp", 0, "08:01", 11, "/bin/program"),
        Vma(OTHER + 2 * PAGE, OTHER + 3 * PAGE, "r-xp", 0, "08:01", 12, "/lib/foreign.so"),
        Vma(OTHER + 3 * PAGE, OTHER + 4 * PAGE, "r--p", 0, "08:01", 13, "/lib/looked-at.so"),
        Vma(OTHER + 4 * PAGE, OTHER + 5 * PAGE, "r-xp", 0, "08:01", 14, "/lib/filtered.so"),
        Vma(OTHER + 5 * PAGE, OTHER + 6 * PAGE, "r-xp", 0, "00:00", 0, "[vdso]"),
    )
    assert found(pages, *others) == list(LIBRARIES)


def test_code_that_was_split_is_one_library_and_two_copies_are_two() -> None:
    pages = memory()
    del pages[LIST]
    split = Vma(LIBC + 3 * PAGE, LIBC + 4 * PAGE, "rwxp", 3 * PAGE, "08:01", 2, "/lib/libc.so")
    copy = Vma(OTHER + PAGE, OTHER + 4 * PAGE, "r-xp", PAGE, "08:01", 2, "/lib/libc.so")
    vmas = [vma for vma in VMAS if vma.start != LIBC + PAGE]
    vmas += [
        Vma(LIBC + PAGE, LIBC + 3 * PAGE, "r-xp", PAGE, "08:01", 2, "/lib/libc.so"),
        split,
        copy,
    ]
    process = image_of(thread(100, {}), vmas=vmas, exe="/bin/prog")
    libraries = find_libraries(process, Mappings(vmas), Pages(pages), X86_64, PAGE)
    assert libraries == (*LIBRARIES, Library("/lib/libc.so", OTHER, OTHER + DYNAMIC))


def test_before_the_dynamic_linker_has_run_there_are_none() -> None:
    pages = memory() | pages_of(EXE, elf(dynamic=[(21, 0), (0, 0)]))
    assert found(pages) == []


def test_where_nothing_is_known_of_the_executable_nothing_is_said() -> None:
    pages = memory()
    del pages[EXE]
    assert found(pages) == []
    assert found(memory(), exe=None) == []
    assert find_libraries(image_of(thread(1, {})), Mappings([]), Pages({}), X86_64, PAGE) == ()


def test_a_list_that_goes_in_a_circle_ends() -> None:
    pages = memory() | pages_of(LIST, words(EXE, NAMES, 0, LIST, 0))
    assert found(pages) == []
