"""What goes wrong, and is told the user in one line."""


class KdumpError(Exception):
    """Something the user is told in one line; the command ends."""


class Unreadable(KdumpError):
    """The dump does not hold the memory at `address`."""

    def __init__(self, address: int, size: int) -> None:
        super().__init__("cannot read %d bytes at 0x%x" % (size, address))
        self.address = address


class Corrupt(KdumpError):
    """A kernel structure contradicts itself; what was read before it still counts."""
