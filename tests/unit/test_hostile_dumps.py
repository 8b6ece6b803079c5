"""Dumps made to harm: the program neither crashes nor hangs nor takes much memory for them."""

from __future__ import annotations

import signal
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
from tests.unit.kdumpfile_support import LIBRARIES, Machine, write
from tests.unit.vmcore_builder import (
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
