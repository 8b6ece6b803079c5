"""CrashDump on libkdumpfile, bound at ABI level."""

from kdump_gdbserver.adapters.kdumpfile.opener import KdumpfileOpener

__all__ = ["KdumpfileOpener"]
