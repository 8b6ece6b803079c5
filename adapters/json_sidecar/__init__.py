"""JSON sidecars: what gdb extracted from a dump for the server to show."""
