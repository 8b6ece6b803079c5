"""The GDB Remote Serial Protocol: codec, packets and transports."""
