"""Measurements of the server beside gdbserver and a stub: `make bench`, see docs/benchmarks.md."""
