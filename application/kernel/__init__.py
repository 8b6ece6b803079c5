"""The kernel as an inferior: its CPUs, its tasks, its symbols."""
