"""What KdumpGdbCommands.py, which users source, brings into gdb's own Python.

What is known of the kernel is in domain/kernel, which the server uses too. Here is what only gdb
can tell or do; from the bottom up, no module imports one that stands below it here:

    elf_file               symbols and sections as vmlinux has them
    symbols                gdb's symbols as a source of types
    frame_info             what tells a frame from others, for gdb's unwinders
    target                 what gdb is connected to: memory, architecture, the kernel
    cpu_registers          a CPU's registers, from gdb's thread for it
    interrupt_stacks       the frame of a function that changed stacks, for backtraces
    arm64_frames           arm64 frames of signed return addresses, and of code that is gone
    sidecar_file           the text of what is saved, written all or nothing
    command, command_NAME  what the user types
    registration           gdb is told of all that

It runs in whatever gdb the user has: Python 3.6, the standard library and gdb's module, no more.
Imports are relative, as the script loads all this under a name of its own.
"""
