"""One user process as an inferior: memory, registers, files, libraries."""
