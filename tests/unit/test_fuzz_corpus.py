"""The fuzzer's targets on its corpus and near it; `make fuzz` goes on from there."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS

SEEDS = [(name, path) for name in TARGETS for path in sorted((CORPUS / name).iterdir())]
MUTANTS = 60


@pytest.mark.parametrize(("target", "path"), SEEDS, ids=lambda each: getattr(each, "name", each))
def test_the_corpus_and_what_is_like_it(target: str, path: Path) -> None:
    data = path.read_bytes()
    TARGETS[target](data)
    dice = random.Random(len(data))
    for _ in range(MUTANTS):
        TARGETS[target](mutant(data, dice))


def mutant(data: bytes, dice: random.Random) -> bytes:
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


def test_every_target_has_seeds() -> None:
    assert {name for name, _ in SEEDS} == set(TARGETS)
    assert len(SEEDS) >= 10
