"""The codec: bytes to packets and back, without I/O."""
