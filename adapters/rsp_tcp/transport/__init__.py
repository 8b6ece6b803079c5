"""Transports: sockets and standard input, and the server that listens on them."""
