"""Scripts for gdb's own Python; only data files as far as the server is concerned."""
