"""Dumps made to harm: the program neither crashes nor hangs nor takes much memory for them."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.domain.errors import DumpOpenError
from tests.support.note_writer import note
from tests.support.running import SERVER, Running, started
from tests.support.tcp import TIMEOUT
from tests.unit.kdumpfile.kdumpfile_support import LIBRARIES, Machine, write
from tests.unit.kdumpfile.vmcore_builder import (
    PAGE,
    X86_64_REGISTERS,
    Kdump,
    Segment,
    elf_core,
    flatten,
    kdump,
    prstatus,
    vmcoreinfo,
)

PRESENT = 3
MACHINE = Machine()


def a_symbol_at_the_end(machine: Machine) -> None:
    """Libaddrxlat follows it around the end of the address space."""
    machine.vmcoreinfo["SYMBOL(swapper_pg_dir)"] = "f" * 16
    machine.vmcoreinfo["SYMBOL(init_top_pgt)"] = "f" * 16


def a_symbol_across_pages(machine: Machine) -> None:
    machine.vmcoreinfo["SYMBOL(init_top_pgt)"] = "fffffffffffffffc"


def tables_in_a_circle(machine: Machine) -> None:
    """Each entry of the kernel's half leads back to the top table: 2^36 pages to look through."""
    for entry in range(256, 512):
        at = machine.ROOT + 8 * entry
        machine.memory[at : at + 8] = (machine.ROOT | PRESENT).to_bytes(8, "little")


def tables_of_large_pages(machine: Machine) -> None:
    for entry in range(256, 512):
        at = machine.ROOT + 8 * entry
        machine.memory[at : at + 8] = (machine.ROOT | PRESENT | 0x80).to_bytes(8, "little")


TABLES = [a_symbol_at_the_end, a_symbol_across_pages, tables_in_a_circle, tables_of_large_pages]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("form", ["elf", "kdump"])
@pytest.mark.parametrize("harm", TABLES)
def test_page_tables_made_to_harm_neither_crash_the_program_nor_hold_it_up(
    library: str, tmp_path: Path, form: str, harm: Callable[[Machine], None]
) -> None:
    machine = Machine()
    harm(machine)
    pages = machine.pages()
    data = machine.elf() if form == "elf" else kdump(pages, 512, Kdump(notes=machine.notes))
    command = [*SERVER, "-f", write(tmp_path, data), "--libkdumpfile", library]
    begun = time.monotonic()
    with started(command) as process:
        assert process.stdout is not None
        server = Running(process, int(process.stdout.readline().rsplit(" ", 1)[1]))
        with server.client.socket:
            assert server.serves()
            server.read(machine.TEXT)
            server.read((1 << 64) - 0x1000)
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
    assert time.monotonic() - begun < 10


CPUS = 8192  # the most that a kernel can have


def machine_of_many_cpus(form: str) -> bytes:
    machine = Machine()
    notes = b"".join(
        prstatus(number + 1, {"rip": machine.TEXT, "rax": number}, X86_64_REGISTERS)
        for number in range(CPUS)
    )
    notes += note(b"QEMU", 0, bytes(440)) * CPUS + vmcoreinfo(machine.vmcoreinfo)
    if form == "kdump":
        return kdump(machine.pages(), 512, Kdump(notes=notes))
    core = elf_core([Segment(0, bytes(machine.memory))], notes)
    return flatten(core) if form == "flattened" else core


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("form", ["elf", "kdump", "flattened"])
def test_a_machine_with_as_many_cpus_as_there_can_be(
    library: str, tmp_path: Path, form: str
) -> None:
    path = write(tmp_path, machine_of_many_cpus(form))
    begun = time.process_time()
    try:
        dump = KdumpfileOpener(library).open([path])
    except DumpOpenError as error:  # an old library, and it says so
        assert form == "flattened" and "which this libkdumpfile" in str(error)
        return
    notes = dump.cpu_notes()
    assert [each.registers["rax"] for each in notes] == list(range(CPUS))
    assert dump.facts.cpu_count == CPUS
    assert len(open_kernel_view(dump).threads) == CPUS
    assert time.process_time() - begun < 5
    dump.close()


# --- memory and time ------------------------------------------------------------------

ENORMOUS = 6 << 30
MOST_MEMORY = 400  # MiB, of which the program itself takes 45
MOST_TIME = 10  # seconds of CPU time


def many_note_headers() -> bytes:
    """2,000 program headers for one note of 1 MiB."""
    count, machine = 2000, Machine()
    large, notes = note(b"X", 1, bytes(1 << 20)), machine.notes
    at = 64 + 56 * (count + 2)
    memory_at = at + len(notes) + len(large)
    return b"".join(
        (
            machine.elf()[:56],
            struct.pack("<HHHH", count + 2, 0, 0, 0),
            struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(notes), len(notes), 0),
            struct.pack("<IIQQQQQQ", 4, 0, at + len(notes), 0, 0, *[len(large)] * 2, 0) * count,
            struct.pack("<IIQQQQQQ", 1, 7, memory_at, 0, 0, *[len(machine.memory)] * 2, 0),
            notes + large + bytes(machine.memory),
        )
    )


def many_small_notes() -> bytes:
    return elf_core([Segment(0, bytes(PAGE))], note(b"X", 1, b"") * 3_000_000)


def section_names() -> bytes:
    core = bytearray(MACHINE.elf())
    struct.pack_into("<Q", core, 40, len(core))
    struct.pack_into("<HHH", core, 58, 64, 2, 1)
    return flatten(
        bytes(core) + bytes(64) + struct.pack("<IIQQQQIIQQ", 1, 3, *[0] * 3, ENORMOUS, *[0] * 4)
    )


def kdump_with(layout: str, at: int, *values: int) -> bytes:
    data = bytearray(kdump(MACHINE.pages(), 512, Kdump(notes=MACHINE.notes)))
    struct.pack_into(layout, data, at, *values)
    return bytes(data)


def flattened_backwards() -> bytes:
    """A million pieces of one byte, the last of the dump first."""
    pieces = b"".join(struct.pack(">qqB", (1 << 20) - n, 1, 0) for n in range(1 << 20))
    return flatten(b"x" * 5)[:4096] + pieces + flatten(MACHINE.elf())[4096:]


SUB_HEADER = PAGE
HARMS: dict[str, Callable[[], bytes]] = {
    "many headers of one note": many_note_headers,
    "many small notes": many_small_notes,
    "section names": section_names,
    "size of notes": lambda: kdump_with("<Q", SUB_HEADER + 56, ENORMOUS),
    "size of VMCOREINFO": lambda: kdump_with("<Q", SUB_HEADER + 40, ENORMOUS),
    "size of erase info": lambda: kdump_with("<QQ", SUB_HEADER + 64, PAGE, ENORMOUS),
    "blocks of bitmaps": lambda: kdump_with("<I", 424 + 12, ENORMOUS // PAGE),
    "blocks of bitmaps, flattened": lambda: flatten(kdump_with("<I", 424 + 12, ENORMOUS // PAGE)),
    "empty pieces": lambda: flatten(b"x")[:4096] + bytes(16) * 1_000_000 + flatten(MACHINE.elf()),
    "pieces backwards": flattened_backwards,
}
OPEN = """
import resource, sys
from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.domain.errors import InputError, MemoryFault
try:
    dump = KdumpfileOpener(sys.argv[2]).open([sys.argv[1]])
    for address in range(0, 1 << 20, 4096):
        try:
            dump.physical().read(address, 4096)
        except MemoryFault as fault:
            print(fault.reason.name, hex(address), file=sys.stderr)
    open_kernel_view(dump)
except InputError as error:
    print(error, file=sys.stderr)
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss: it has that of the process that forked this one, too.
(peak,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak.split()[1]) >> 10, used.ru_utime + used.ru_stime)
"""


def cost_of(path: str, library: str) -> tuple[float, float, str]:
    """Open a dump and read some of it; return the memory (MiB), the time (s), and the words."""
    program = [sys.executable, "-c", OPEN, path, library]
    done = subprocess.run(program, capture_output=True, text=True, timeout=TIMEOUT * 4, check=True)
    memory, seconds = map(float, done.stdout.split())
    return memory, seconds, done.stderr


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("harm", HARMS)
def test_no_number_in_a_dump_makes_the_opening_take_much_memory_or_time(
    library: str, tmp_path: Path, harm: str
) -> None:
    path = write(tmp_path, HARMS[harm]())
    os.truncate(path, max(Path(path).stat().st_size, 8 << 30))  # sparse: what is read is there
    memory, seconds, _ = cost_of(path, library)
    assert memory < MOST_MEMORY
    assert seconds < MOST_TIME


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_page_with_an_impossible_size_is_an_error(library: str, tmp_path: Path) -> None:
    """Not among the last pages, which are looked at when the dump is opened."""
    pages = {frame: MACHINE.pages()[frame % 512] for frame in range(1200)}
    data = bytearray(kdump(pages, len(pages), Kdump(notes=MACHINE.notes)))
    sub_blocks, bitmap_blocks = struct.unpack_from("<iI", data, 424 + 8)
    descriptors = (1 + sub_blocks + bitmap_blocks) * PAGE
    struct.pack_into("<I", data, descriptors + 24 * 3 + 8, 0xF0000000)
    path = write(tmp_path, bytes(data))
    os.truncate(path, 8 << 30)
    memory, _, words = cost_of(path, library)
    assert memory < MOST_MEMORY
    assert words.splitlines() == ["CORRUPT 0x3000"]
