"""What a process gives up before it opens a file that somebody else made.

Linux only, and each part only where the kernel has it: seccomp (an allow list of system calls),
Landlock (reading below named paths), limits on memory, files and computing, no privileges.
"""
