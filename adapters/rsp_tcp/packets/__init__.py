"""The packets: a table of handlers, and the handlers by kind."""
