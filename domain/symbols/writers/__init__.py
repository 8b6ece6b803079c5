"""What debuggers read of a kernel, written out of what the dump has: ELF and DWARF."""
