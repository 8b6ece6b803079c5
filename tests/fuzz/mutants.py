"""Inputs like those of the corpus, the same ones on every machine: no fuzzer needed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.fuzz.targets import CORPUS


def seeds(target: str) -> list[bytes]:
    """Return what the corpus has for a target, in the order of its files' names."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def mutants(data: bytes, count: int) -> Iterator[bytes]:
    """Yield changed copies of `data`, always the same ones."""
    dice = random.Random(len(data))
    for _ in range(count):
        yield _mutant(data, dice)


def _mutant(data: bytes, dice: random.Random) -> bytes:
    """Cut, flip, repeat or insert something."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at, end = sorted(dice.randrange(len(changed) + 1) for _ in range(2))
        what = dice.randrange(4)
        if what == 0:
            del changed[at : min(end, at + 8)]
        elif what == 1 and at < len(changed):
            changed[at] ^= 1 << dice.randrange(8)
        elif what == 2:
            changed[at:at] = changed[at : min(end, at + 16)]
        else:
            changed[at:at] = dice.randbytes(dice.randint(1, 4))
    return bytes(changed)
