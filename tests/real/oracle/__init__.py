"""The server's answers beside those of other programs: every dump, form and mode, counted.

`drgn_side.py` asks drgn, with the kernel's own debug information; `qemu_registers.py` reads what
QEMU said of the CPUs; `server_side.py` and `gdb_side.py` ask the server, the first in its own
protocol, the second through gdb. `checks.py` compares, `table.py` makes docs/trust.md of it.
"""
