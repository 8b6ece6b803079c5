"""Errors that the user sees as one line."""


class KdumpError(Exception):
    """An error for the user, in one line; it ends the command."""


class Unreadable(KdumpError):
    """The dump does not hold the memory at `address`."""

    def __init__(self, address: int, size: int) -> None:
        super().__init__("cannot read %d bytes at 0x%x" % (size, address))
        self.address = address


class Corrupt(KdumpError):
    """A kernel structure contradicts itself; what was read before it still counts."""
