"""The command line: arguments, wiring, logging, console output."""
