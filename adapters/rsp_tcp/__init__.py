"""The GDB Remote Serial Protocol: sans-I/O codec, packet dispatch, TCP transport."""
