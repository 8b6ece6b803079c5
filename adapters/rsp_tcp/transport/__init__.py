"""Sockets and standard input: what carries the bytes, and who listens."""
