"""Symbols, types and unwind data: readers of what the kernel carries, writers of ELF."""
