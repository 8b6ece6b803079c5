"""What KdumpGdbCommands.py, which users source, brings into gdb's own Python.

From the bottom up; no module imports one that stands below it here:

    errors                 what the user is told in one line
    memory                 bytes of the target, and where a structure keeps its members
    structures             lists, radix tree and maple tree, torn ones too
    page_tables            from a process's addresses to the kernel's
    notes                  build-id and VMCOREINFO out of the dump's notes
    elf_file               symbols and sections as vmlinux has them
    orc                    the kernel's unwind tables
    vectors                x87, SSE and AVX registers as the kernel saved them
    tasks                  one task, and the table of all
    target                 memory and architecture of what gdb is connected to
    symbols                the kernel's variables, types and VMCOREINFO
    arch, arch_NAME        what the scheduler saves of a task's registers, and the like
    architectures          those there are
    kernel                 the kernel in the dump
    cpus, pids             two ways to tasks, beside the lists
    snapshot               all tasks: what kdump-save-kernel-json writes
    user_memory, paths     a process's bytes, and its files' names
    mappings, signals      /proc/PID/maps, siginfo
    cpu_registers          a CPU's registers, from gdb's thread for it
    user_registers         those of a thread, wherever they are
    process                one process: what kdump-save-process-json writes
    interrupt_stacks       the frame of a function that changed stacks, for backtraces
    sidecar_file           the text of what is saved, written all or nothing
    command, command_NAME  what the user types
    registration           gdb is told of all that

It runs in whatever gdb the user has: Python 3.6, the standard library and gdb's module, no more.
Facts about the kernel are from its source; file names in comments are paths in it.
"""
