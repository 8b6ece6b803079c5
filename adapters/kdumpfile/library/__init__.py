"""libkdumpfile: found, bound by ctypes, one object for each context."""
