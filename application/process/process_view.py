"""Process mode: one user process, as gdb would see it in a core file of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kdump_gdbserver.application.kernel.kernel_survey import KernelSurvey, survey_kernel
from kdump_gdbserver.application.kernel.os_tables import cpu_table
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.application.process.libraries import find_libraries
from kdump_gdbserver.application.process.load_offset import find_load_offset
from kdump_gdbserver.application.process.mapped_files import Mappings
from kdump_gdbserver.application.process.os_tables import process_tables
from kdump_gdbserver.application.process.proc_files import ProcFiles
from kdump_gdbserver.application.process.process_memory import ProcessMemory
from kdump_gdbserver.application.process.process_registers import (
    in_layout,
    process_arch,
    process_values,
    thread_pointer,
    user_registers,
)
from kdump_gdbserver.application.process.sysroot import Sysroot
from kdump_gdbserver.application.process.thread_locals import GlibcThreadLocals
from kdump_gdbserver.application.process.untouched import UntouchedPages
from kdump_gdbserver.application.process.vdso import PATH as VDSO
from kdump_gdbserver.application.process.vdso import VdsoPages, find_vdso
from kdump_gdbserver.application.view import View
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.arch.model import Arch
from kdump_gdbserver.domain.errors import MemoryFault, SidecarError
from kdump_gdbserver.domain.placement import Placement
from kdump_gdbserver.domain.registers import RegisterSet
from kdump_gdbserver.domain.sidecars import ProcessImage, ProcessThread, check_identity
from kdump_gdbserver.domain.text import printable
from kdump_gdbserver.domain.threads import Thread, ThreadId, ThreadTable
from kdump_gdbserver.ports.crash_dump import CrashDump
from kdump_gdbserver.ports.host_files import HostFiles
from kdump_gdbserver.ports.symbol_file import SymbolFile

_SIGINFO_SIZE = 128  # SI_MAX_SIZE, include/uapi/asm-generic/siginfo.h


def open_process_view(
    dump: CrashDump,
    image: ProcessImage,
    sysroot: HostFiles | None = None,
    symbol_file: SymbolFile | None = None,
) -> View:
    """Return the view that `defer_process_view` makes, at once."""
    return defer_process_view(dump, image, sysroot, symbol_file)()


def defer_process_view(
    dump: CrashDump,
    image: ProcessImage,
    sysroot: HostFiles | None = None,
    symbol_file: SymbolFile | None = None,
) -> Callable[[], View]:
    """Return what makes the view of one process of a dump: its memory, its threads, its files.

    `sysroot` has the files that the process had mapped, and is what a client may read
    files from; `symbol_file` is its executable, if at hand. Raises `SidecarError`, at once when
    the sidecar is of another dump, later when its page table cannot be used.
    """
    check_identity(image.identity, dump.facts, dump.vmcoreinfo)
    if image.pid <= 0:  # gdb takes 0 for any process
        raise SidecarError(f"{image.identity.source}: pid: is 0, which is no process of its own")
    return lambda: _process_view(dump, image, sysroot, symbol_file)


def _process_view(
    dump: CrashDump,
    image: ProcessImage,
    sysroot: HostFiles | None,
    symbol_file: SymbolFile | None,
) -> View:
    arch = process_arch(dump.facts.arch, image)
    survey = survey_kernel(dump)
    dump_memory = survey.dump_memory
    open_dumped = _dumped_memory(dump_memory, image)
    mappings = Mappings(image.vmas)
    page_size = dump.facts.page_size
    crash_time = dump.vmcoreinfo.crash_time
    files = Sysroot(sysroot, mappings, open_dumped(), page_size, crash_time) if sysroot else None
    vdso = _find_vdso(image, survey, dump, arch, open_dumped())

    def open_memory() -> AddressSpace:
        untouched = UntouchedPages(dump_memory, image.root_table).length
        return ProcessMemory(
            open_dumped(), mappings, page_size, untouched, files=files, vdso_pages=vdso
        )

    kernel = dump.facts.arch
    cpus = _cpus_of(image, survey)
    values: dict[int, Mapping[str, int]] = {}
    for thread in image.threads:
        note = _note(survey, thread, cpus)
        values[thread.tid] = process_values(arch, user_registers(kernel, thread, note))
    same = arch.machine_registers(dump.vmcoreinfo) if values else {}
    layout = arch.layout_for(name for kept in (*values.values(), same) for name in kept)
    threads = ThreadTable(
        _thread(
            thread,
            image.pid,
            RegisterSet.from_values(
                layout, {**in_layout(arch, layout, values[thread.tid]), **same}
            ),
            cpus.get(thread.tid),
            _siginfo(thread) if arch is kernel else None,
        )
        for thread in image.threads
    )
    return View(
        arch=arch,
        layout=layout,
        threads=threads,
        current=_current(threads, image, survey),
        open_memory=open_memory,
        auxv=image.auxv or None,
        exec_file=image.exe,
        files=ProcFiles(image, open_memory, page_size, files),
        open_thread_locals=lambda memory: GlibcThreadLocals(
            arch, memory, lambda thread: thread_pointer(arch, values[thread.id.tid])
        ),
        placement=Placement(find_load_offset(image, open_memory(), page_size, symbol_file)),
        facts=dump.facts,
        dump_memory=dump_memory,
        addressing_bits=arch.addressing_bits(dump.vmcoreinfo),
        root_table=image.root_table,
        memory_map=mappings if image.vmas else None,
        libraries=find_libraries(image, mappings, open_memory(), arch, page_size),
        os_tables=(*process_tables(image, cpus), cpu_table(survey.cpus)),
        title=f'process {image.pid} "{printable(image.comm)}"',
        build_id=_build_id(image, mappings, open_memory()),
    )


def _build_id(image: ProcessImage, mappings: Mappings, memory: AddressSpace) -> str | None:
    """Return the GNU build-id of the executable, None when memory does not have it."""
    for vma in mappings:
        if vma.path and vma.path == image.exe:
            return mappings.build_id(vma, memory.read)
    return None


def _dumped_memory(memory: DumpMemory, image: ProcessImage) -> Callable[[], AddressSpace]:
    def open_dumped() -> AddressSpace:
        try:
            return memory.process(image.root_table)
        except MemoryFault as fault:
            raise SidecarError(
                f"{image.identity.source}: rootpgt: {image.rootpgt:#x} is no page table of this"
                f" dump ({fault}); give the sidecar that was made from this dump"
            ) from None

    return open_dumped


def _find_vdso(
    image: ProcessImage, survey: KernelSurvey, dump: CrashDump, arch: Arch, memory: AddressSpace
) -> VdsoPages | None:
    for vma in image.vmas:
        if vma.path == VDSO:
            return find_vdso(survey, dump.facts.arch, arch, vma, memory)
    return None


def _cpus_of(image: ProcessImage, survey: KernelSurvey) -> Mapping[int, int]:
    """Return the CPU that each thread was on at the crash, by tid.

    Where no thread has one, as in the earlier script's sidecars, the CPUs' pids decide.
    """
    told = {thread.tid: thread.cpu for thread in image.threads if thread.cpu is not None}
    if told:
        return told
    tids = {thread.tid for thread in image.threads}
    return {cpu.pid: cpu.number for cpu in survey.cpus if cpu.pid in tids and cpu.pid is not None}


def _note(
    survey: KernelSurvey, thread: ProcessThread, cpus: Mapping[int, int]
) -> Mapping[str, int] | None:
    """Return the registers of the CPU that a thread was on in user mode, if it was on one."""
    if thread.user_mode is False:
        return None
    for cpu in survey.cpus:
        if cpu.number == cpus.get(thread.tid) and cpu.pid in (None, thread.tid):
            return cpu.registers
    return None


def _thread(
    thread: ProcessThread,
    pid: int,
    registers: RegisterSet,
    cpu: int | None,
    siginfo: bytes | None,
) -> Thread:
    return Thread(
        ThreadId(pid, thread.tid),
        lambda: registers,
        extra=f'pid {thread.pid} LWP {thread.tid} "{printable(thread.comm)}"',
        core=cpu,
        siginfo=siginfo,
    )


def _siginfo(thread: ProcessThread) -> bytes | None:
    """Return the siginfo_t of a 64-bit process's thread, None if the sidecar has none whole."""
    try:
        raw = bytes.fromhex(str((thread.siginfo or {}).get("bytes", "")))
    except ValueError:
        return None
    return raw if len(raw) == _SIGINFO_SIZE else None


def _current(threads: ThreadTable, image: ProcessImage, survey: KernelSurvey) -> Thread:
    """Return the thread that was on the panicking CPU, on any CPU, or the leader."""
    panicking = survey.cpus[survey.panic.index].number
    on_cpu = [thread for thread in threads if thread.core is not None]
    candidates: Sequence[Thread | None] = (
        next((thread for thread in on_cpu if thread.core == panicking), None),
        *on_cpu,
        threads.by_tid(image.pid),
    )
    return next((thread for thread in candidates if thread is not None), threads[0])
