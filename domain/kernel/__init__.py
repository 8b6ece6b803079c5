"""What is known of the Linux kernel: how its structures are found and walked.

From the bottom up; no module imports one that is listed below it:

    errors       what the user sees as one line
    types        what a source of types answers
    memory       bytes of the kernel, and the members of a structure in them
    structures   lists, radix tree and maple tree, torn ones too
    notes        ELF notes, and the build-id in one of them
    orc          the kernel's unwind tables
    tasks        one task, and the table of all
    symbols      the kernel's variables, structures and VMCOREINFO
    percpu       per-CPU variables, and which CPUs there are
    current      the task of each CPU, from few symbols and types (for the server's start)
    kernel       the kernel in the dump
    cpus, pids   two more ways to find tasks, besides the lists
    snapshot     all tasks: what kdump-save-kernel-json writes
    process      one process: what kdump-save-process-json writes

The server and the gdb script both load this package. So it is written in the syntax of Python
3.6, which the gdb of an enterprise distribution may have; it uses the standard library alone and
relative imports, since the script loads it under another name. Types come from `Types` and bytes
from `Memory`; what is special about an architecture is in domain/arch. Facts about the kernel are
from its source; file names in comments are paths in it.
"""
