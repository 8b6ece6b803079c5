"""CrashDump on libkdumpfile, bound at ABI level."""
