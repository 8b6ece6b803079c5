"""One user process: its threads, mappings, files, and memory."""
