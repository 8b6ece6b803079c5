"""The kernel's identity: an ELF file of nothing but a build-id, which debuggers compare."""

from __future__ import annotations

import io

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.domain.address_space import ByteOrder
from kdump_gdbserver.domain.arch import AARCH64, X86_64, Arch
from kdump_gdbserver.domain.symbols.writers.identity_file import identity_file
from tests.support.fake_kernel import FakeKernel, fake_kernel


@given(st.integers(1, 0xFFFF), st.sampled_from(["little", "big"]), st.binary(max_size=64))
def test_it_is_read_back(machine: int, byte_order: ByteOrder, build_id: bytes) -> None:
    elf = ELFFile(io.BytesIO(identity_file(machine, byte_order, build_id)))
    assert elf["e_type"] == "ET_EXEC"
    assert elf.little_endian == (byte_order == "little")
    assert elf.num_segments() == 0
    section = elf.get_section_by_name(".note.gnu.build-id")
    if build_id:
        assert isinstance(section, NoteSection)
        (note,) = section.iter_notes()
        assert note["n_desc"] == build_id.hex()
    else:
        assert section is None
    (unit,) = elf.get_dwarf_info().iter_CUs()
    assert unit.get_top_DIE().tag == "DW_TAG_compile_unit"
    assert not unit.get_top_DIE().attributes


def served(kernel: FakeKernel) -> ELFFile:
    view = open_kernel_view(kernel.dump())
    assert view.files is not None
    assert view.exec_file is not None
    file = view.files.open(view.exec_file)
    assert file is not None
    return ELFFile(io.BytesIO(file.read(0, file.size)))


@pytest.mark.parametrize("arch", [X86_64, AARCH64])
@pytest.mark.parametrize(
    ("line", "build_id"),
    [("", None), ("BUILD-ID=00FFab\n", "00ffab"), ("BUILD-ID=xyz\n", None)],
)
def test_the_kernel_is_the_program_that_gdb_may_ask_for(
    arch: Arch, line: str, build_id: str | None
) -> None:
    elf = served(fake_kernel(arch).with_vmcoreinfo(lambda text: text + line))
    assert elf.get_machine_arch() == {X86_64: "x64", AARCH64: "AArch64"}[arch]
    section = elf.get_section_by_name(".note.gnu.build-id")
    found = next(section.iter_notes())["n_desc"] if isinstance(section, NoteSection) else None
    assert found == build_id
