"""What gdb's `monitor` command answers."""
