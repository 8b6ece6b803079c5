"""From bytes to packets and back, sans I/O."""
