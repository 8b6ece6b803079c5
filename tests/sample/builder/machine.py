"""Fills physical memory as firmware and boot loader would: kernel, tables, frames, parameters."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from builder import layout, paging
from builder.elfimage import ElfImage
from builder.layout import PAGE, direct


def own_addresses(virtual: int) -> bytes:
    """One page whose every 64-bit word is the virtual address of that word."""
    return struct.pack("<512Q", *range(virtual, virtual + PAGE, 8))


@dataclass
class Process:
    """A user process: physical address of its root table, and where its memory is."""

    root: int
    code: int
    stack: int
    fsbase: int
    user_pages: dict[int, int] = field(default_factory=dict)


class Machine:
    """The machine just before its first instruction."""

    def __init__(self, image: ElfImage) -> None:
        self.memory = paging.PhysicalMemory()
        self.tables = paging.PageTables(self.memory)
        self._symbols = image.symbols
        self._frames = 0
        loaded = image.load(layout.KASLR_OFFSET)
        self.kernel_size = len(loaded)
        self.memory.write(layout.KERNEL_PHYS, bytes(loaded))
        self.root = self.physical("init_top_pgt")
        self._map_kernel_and_ram()
        self._fill_test_areas()
        self.percpu = [self._frame() for _ in range(2)]
        self.task_frame = self._frame()
        for stack in (layout.IDLE1_STACK, layout.INIT_STACK, layout.SHELL_STACK):
            for page in range(0, layout.THREAD_SIZE, PAGE):
                self._map_kernel_page(stack + page, self._frame())
        self.init = self._process(layout.INIT_CODE, layout.INIT_USER_STACK, layout.INIT_FSBASE)
        self.shell = self._process(layout.SHELL_CODE, layout.SHELL_USER_STACK, layout.SHELL_FSBASE)
        command = self.shell.user_pages[layout.SHELL_USER_STACK] + layout.SYSRQ_BUFFER_OFFSET
        self.memory.write(command, b"c\n")
        self._write_parameters()

    def virtual(self, symbol: str) -> int:
        """Run-time virtual address of a kernel symbol that is not per-CPU."""
        return self._symbols[symbol] + layout.KASLR_OFFSET

    def physical(self, symbol: str) -> int:
        """Physical address of a kernel symbol that is not per-CPU."""
        return self._symbols[symbol] - self._symbols["_text"] + layout.KERNEL_PHYS

    @property
    def phys_base(self) -> int:
        """What the kernel calls phys_base: may be negative."""
        return layout.KERNEL_PHYS - (self.virtual("_text") - layout.START_KERNEL_MAP)

    def _frame(self) -> int:
        """A free page frame, neighbours in order of use being far apart in memory."""
        number = self._frames
        self._frames += 1
        assert number < layout.FRAMES
        return layout.FRAMES_PHYS + (number * 13 + 5) % layout.FRAMES * PAGE

    def _map_kernel_page(self, virtual: int, physical: int) -> None:
        self.tables.map(self.root, virtual, physical, paging.KERNEL_DATA)

    def _map_kernel_and_ram(self) -> None:
        """The kernel in large pages; RAM in large pages but for its first 2 MiB; 1 GiB above."""
        text = self.virtual("_text")
        for at in range(0, self.kernel_size, layout.LARGE_PAGE):
            self.tables.map(
                self.root, text + at, layout.KERNEL_PHYS + at, paging.KERNEL_CODE, layout.LARGE_PAGE
            )
        for at in range(0, layout.LARGE_PAGE, PAGE):
            self._map_kernel_page(direct(at), at)
        for at in range(layout.LARGE_PAGE, layout.RAM_SIZE, layout.LARGE_PAGE):
            self.tables.map(self.root, direct(at), at, paging.KERNEL_DATA, layout.LARGE_PAGE)
        self.tables.map(
            self.root,
            direct(layout.HIGH_RAM_PHYS),
            layout.HIGH_RAM_PHYS,
            paging.KERNEL_DATA,
            layout.HUGE_PAGE,
        )

    def _fill_test_areas(self) -> None:
        for page in layout.TEST_AREA_PAGES:
            virtual, frame = layout.TEST_AREA + page * PAGE, self._frame()
            self._map_kernel_page(virtual, frame)
            self.memory.write(frame, own_addresses(virtual))
        self._map_kernel_page(layout.TEST_AREA_EXCLUDED, layout.EXCLUDED_PHYS)
        module = self._frame()
        self._map_kernel_page(layout.MODULES_VADDR, module)
        self.memory.write(module, layout.MODULE_TEXT)
        for physical in (layout.LOW_PAGE, layout.ZERO_TAIL_PHYS, layout.HIGH_PAGE):
            self.memory.write(physical, own_addresses(direct(physical)))

    def _process(self, code: int, stack: int, fsbase: int) -> Process:
        """A process's tables: the kernel's half as it is now, one code and one stack page."""
        process = Process(self.tables.new_table(), code, stack, fsbase)
        kernel_half = self.memory.read(self.root + PAGE // 2, PAGE // 2)
        self.memory.write(process.root + PAGE // 2, kernel_half)
        for virtual, flags in ((code, paging.USER_CODE), (stack, paging.USER_DATA)):
            frame = self._frame()
            self.tables.map(process.root, virtual, frame, flags)
            process.user_pages[virtual] = frame
        instruction = process.user_pages[code] + layout.USER_CODE_ENTRY
        self.memory.write(instruction, b"\x0f\x05")  # syscall
        return process

    def _write_parameters(self) -> None:
        """struct boot_params of include/linux/boot.h, and what KASLR set-up leaves behind."""
        tasks = direct(self.task_frame)
        words = [direct(frame) for frame in self.percpu]
        words.append(layout.CRASH_NOTES)
        words += [tasks, layout.IDLE1_STACK, 0, 0, 0, 0, 0]
        for number, stack, process in (
            (1, layout.INIT_STACK, self.init),
            (2, layout.SHELL_STACK, self.shell),
        ):
            mm = tasks + 0xC00 + 0x100 * number
            words += [
                tasks + 0x400 * number,
                stack,
                mm,
                process.root,
                process.code,
                process.stack + layout.USER_SP_OFFSET,
                process.fsbase,
            ]
        self.memory.write(self.physical("boot_params"), struct.pack(f"<{len(words)}Q", *words))
        for name, value in (
            ("page_offset_base", layout.PAGE_OFFSET),
            ("vmalloc_base", layout.VMALLOC_BASE),
            ("phys_base", self.phys_base & (1 << 64) - 1),
        ):
            self.memory.write_word(self.physical(name), value)

    def crash_note(self, cpu: int) -> bytes:
        """The NT_PRSTATUS note, with its header, that the kernel wrote for a CPU."""
        return self.memory.read(self.percpu[cpu] + layout.CRASH_NOTES, 12 + 8 + 336)
