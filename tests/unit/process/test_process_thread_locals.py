"""Thread-local variables, found in a made-up glibc of each kind."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from kdump_gdbserver.application.process.thread_locals import GlibcThreadLocals
from kdump_gdbserver.domain.address_space import SegmentedAddressSpace
from kdump_gdbserver.domain.arch import AARCH64, ARM, I386, X86_64, Arch
from kdump_gdbserver.domain.registers import RegisterSet
from kdump_gdbserver.domain.threads import Thread, ThreadId

DESCRIPTORS, POINTER, VECTOR, LIST, LOADER, MAPS = 0x1000, 0x8000, 0x9000, 0xA000, 0xB000, 0xC000
PTHREAD_SIZE = 0x700
NONE = -1
every_kind = pytest.mark.parametrize(
    "arch", [X86_64, I386, AARCH64, ARM], ids=lambda arch: arch.name
)


class Glibc:
    """The library's structures in memory: one dynamic program with modules 1, 2 and 3.

    Module 1 has a static block at 0x40, module 2 a block of its own in this thread, and
    module 3 came after this thread's vector was last made anew.
    """

    def __init__(self, arch: Arch, *, entry: int | None = None) -> None:
        self.arch = arch
        self.word = arch.pointer_size
        self.below = arch.name in ("x86_64", "i386")
        pthread = POINTER if self.below else POINTER - PTHREAD_SIZE
        dtvp = 0x10 if self.below else PTHREAD_SIZE
        self.fields = {
            "link_map_l_tls_modid": (8 * self.word, 0x20),
            "link_map_l_tls_offset": (8 * self.word, 0x28),
            "pthread_dtvp": (8 * self.word, dtvp),
            "dtv_dtv": (16 * self.word, 0),
            "dtv_t_pointer_val": (8 * self.word, 0),
            "dtv_t_counter": (8 * self.word, 0),
            "rtld_global__dl_tls_dtv_slotinfo_list": (8 * self.word, 0x18),
            "dtv_slotinfo_list_len": (8 * self.word, 0),
            "dtv_slotinfo_list_next": (8 * self.word, self.word),
            "dtv_slotinfo_list_slotinfo": (8 * self.word, 2 * self.word),
            "dtv_slotinfo_gen": (8 * self.word, 0),
        }
        self.symbols = {"__nptl_rtld_global": 0x7000}
        self.segments = {0x7000: self.words(LOADER), LOADER + 0x18: self.words(LIST)}
        at = DESCRIPTORS
        for name, (bits, offset) in self.fields.items():
            self.symbols[f"_thread_db_{name}"] = at
            self.segments[at] = struct.pack("<III", bits, 1, offset)
            at += 16
        for name, size in (("pthread", PTHREAD_SIZE), ("dtv_slotinfo", 2 * self.word)):
            self.symbols[f"_thread_db_sizeof_{name}"] = at
            self.segments[at] = struct.pack("<I", size)
            at += 16
        self.segments[pthread + dtvp] = self.words(VECTOR)
        # The vector: its length stands before it, its generation first, then the modules.
        blocks = (2, 0, 4, 0, 0x5000, 0, 0x6000 if entry is None else entry, 0)
        self.segments[VECTOR - 2 * self.word] = self.words(*blocks)
        second = LIST + 0x100  # modules 0 and 1 in the first part of the list, the rest here
        self.segments[LIST] = self.words(2, second, 0, 0, 1, 0)
        self.segments[second] = self.words(2, 0, 4, 0, 9, 0)
        for module, offset in ((1, 0x40), (2, self.forced), (3, self.forced)):
            self.segments[MAPS + 0x100 * module + 0x20] = self.words(module)
            self.segments[MAPS + 0x100 * module + 0x28] = self.words(offset)

    @property
    def forced(self) -> int:
        """FORCED_DYNAMIC_TLS_OFFSET."""
        return -1 if self.below else -2

    def words(self, *values: int) -> bytes:
        mask = self.arch.pointer_mask
        return b"".join((value & mask).to_bytes(self.word, "little") for value in values)

    def finder(self, pointer: int | None = POINTER) -> GlibcThreadLocals:
        memory = SegmentedAddressSpace(self.segments)
        finder = GlibcThreadLocals(self.arch, memory, lambda thread: pointer)
        for name in finder.wanted:
            finder.tell(name, self.symbols.get(name))
        return finder

    @property
    def thread(self) -> Thread:
        return Thread(ThreadId(1, 5), lambda: RegisterSet.unavailable(self.arch.layout()))


@every_kind
def test_a_static_block_is_beside_the_thread_pointer(arch: Arch) -> None:
    glibc = Glibc(arch)
    expected = POINTER - 0x40 if glibc.below else POINTER + 0x40
    assert glibc.finder().address(glibc.thread, 8, MAPS + 0x100) == expected + 8


@every_kind
def test_a_block_made_later_is_in_the_vector(arch: Arch) -> None:
    glibc = Glibc(arch, entry=0x6000)
    assert glibc.finder().address(glibc.thread, 8, MAPS + 0x200) == 0x6008


@every_kind
@pytest.mark.parametrize("entry", [0, NONE])
def test_a_block_not_made_yet_is_an_error(arch: Arch, entry: int) -> None:
    glibc = Glibc(arch, entry=entry)
    with pytest.raises(LookupError, match="has not used"):
        glibc.finder().address(glibc.thread, 8, MAPS + 0x200)


@every_kind
def test_an_entry_older_than_the_module_is_not_believed(arch: Arch) -> None:
    glibc = Glibc(arch)
    glibc.segments[VECTOR - 2 * glibc.word] = glibc.words(3, 0, 4, 0, 1, 0, 2, 0, 0xBAD, 0)
    with pytest.raises(LookupError, match="has not used"):
        glibc.finder().address(glibc.thread, 8, MAPS + 0x300)


@every_kind
def test_a_static_program_has_module_1_and_a_list_of_its_own(arch: Arch) -> None:
    glibc = Glibc(arch)
    del glibc.symbols["__nptl_rtld_global"]
    glibc.symbols["_dl_tls_dtv_slotinfo_list"] = 0x7800
    glibc.segments[0x7800] = glibc.words(LIST)
    assert glibc.finder().address(glibc.thread, 0, 0) == 0x5000


@every_kind
def test_an_older_library_names_the_loaders_data(arch: Arch) -> None:
    glibc = Glibc(arch)
    del glibc.symbols["__nptl_rtld_global"]
    glibc.symbols["_rtld_global"] = LOADER
    assert glibc.finder().address(glibc.thread, 0, MAPS + 0x200) == 0x6000


def test_a_library_without_descriptions_is_one_clear_line() -> None:
    glibc = Glibc(X86_64)
    finder = glibc.finder()
    finder.tell("_thread_db_link_map_l_tls_offset", None)
    with pytest.raises(LookupError, match="needs the process's own C library") as caught:
        finder.address(glibc.thread, 0, MAPS + 0x100)
    assert "\n" not in str(caught.value)


def test_symbols_of_another_program_are_noticed() -> None:
    glibc = Glibc(X86_64)
    glibc.segments[DESCRIPTORS + 16] = bytes(12)
    with pytest.raises(LookupError, match="makes no sense"):
        glibc.finder().address(glibc.thread, 0, MAPS + 0x100)


def test_a_thread_without_thread_pointer_has_none() -> None:
    glibc = Glibc(X86_64)
    with pytest.raises(LookupError, match="thread pointer of thread 5"):
        glibc.finder(None).address(glibc.thread, 0, MAPS + 0x100)


def test_a_module_without_such_variables() -> None:
    glibc = Glibc(X86_64)
    glibc.segments[MAPS + 0x200 + 0x20] = glibc.words(0)
    with pytest.raises(LookupError, match="no thread-local variables"):
        glibc.finder().address(glibc.thread, 0, MAPS + 0x200)


def test_symbols_that_nobody_asked_for_are_not_kept() -> None:
    finder = Glibc(X86_64).finder()
    tracemalloc.start()
    try:
        for number in range(200):
            finder.tell(f"{number}" + "x" * 100_000, number)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000
