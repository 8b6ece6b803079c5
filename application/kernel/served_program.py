"""Which file debuggers get for the kernel's program: one that leads to its vmlinux, or another."""

from __future__ import annotations

from dataclasses import dataclass

from kdump_gdbserver.application.kernel.kernel_files import KernelProgram, MakeProgram
from kdump_gdbserver.application.kernel.kernel_survey import KernelSurvey
from kdump_gdbserver.application.made_file import MadeFile
from kdump_gdbserver.domain.symbol_files.sections import ElfSections, read_sections
from kdump_gdbserver.domain.symbol_files.stub import section_stub
from kdump_gdbserver.ports.host_files import HostFiles
from kdump_gdbserver.ports.remote_files import RemoteFile
from kdump_gdbserver.ports.symbol_finder import FoundVmlinux


class LeadsToVmlinux:
    """A stand-in for a vmlinux by which debuggers take that; implements `KernelProgram`.

    They look for the debug file of its build-id in their own directories, then at the server,
    which has it.
    """

    def __init__(
        self, found: FoundVmlinux, sections: ElfSections, offset: int, files: HostFiles
    ) -> None:
        """Raise `ValueError` for a vmlinux without a build-id."""
        self._found = found
        self._build_id = sections.build_id
        self._stub = section_stub(sections, offset)
        self._files = files

    def prepare(self) -> None:
        """See `KernelProgram.prepare`."""

    def open(self) -> RemoteFile:
        """See `KernelProgram.open`."""
        return MadeFile(self._stub)

    def open_debug_file(self, build_id: str) -> RemoteFile | None:
        """See `KernelProgram.open_debug_file`."""
        return self._files.open(self._found.path) if build_id == self._build_id else None

    def describe(self) -> str:
        """See `KernelProgram.describe`."""
        return f"{self._found.path} ({self._found.how}), by its build-id"


@dataclass(frozen=True, slots=True)
class ServeVmlinux:
    """Serves a vmlinux that was found, or what `otherwise` makes where that cannot be."""

    found: FoundVmlinux
    files: HostFiles
    otherwise: MakeProgram

    def __call__(self, survey: KernelSurvey) -> KernelProgram:
        """Make the program."""
        info = survey.dump_memory.dump.vmcoreinfo
        file = self.files.open(self.found.path)
        if file is None:
            return self.otherwise(survey)
        try:
            sections = read_sections(file.read, file.size)
            offset = self._offset(survey, sections)
            if sections.build_id != info.build_id or offset is None:
                return self.otherwise(survey)
            return LeadsToVmlinux(self.found, sections, offset, self.files)
        except (ValueError, OSError):
            return self.otherwise(survey)
        finally:
            file.close()

    def _offset(self, survey: KernelSurvey, sections: ElfSections) -> int | None:
        """Return by how much the kernel was moved, None where nothing tells it."""
        dump = survey.dump_memory.dump
        if dump.vmcoreinfo.kaslr_offset is not None:
            return dump.vmcoreinfo.kaslr_offset
        text = survey.symbols.symbol(dump.facts.arch.first_symbol)
        return None if text is None else text - sections.first_segment
