"""The fuzzer's targets on its corpus and near it; `make fuzz` goes on from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.mutants import mutants, seeds
from tests.fuzz.targets import CORPUS, TARGETS

SEEDS = [(name, path) for name in TARGETS for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize(("target", "path"), SEEDS, ids=lambda each: getattr(each, "name", each))
def test_the_corpus_and_what_is_like_it(target: str, path: Path) -> None:
    data = path.read_bytes()
    TARGETS[target](data)
    for mutant in mutants(data, 60):
        TARGETS[target](mutant)


def test_mutants_are_many_and_always_the_same() -> None:
    for name in TARGETS:
        for data in seeds(name):
            found = list(mutants(data, 60))
            assert found == list(mutants(data, 60))
            assert len({*found, data}) > 30


def test_every_target_has_seeds() -> None:
    assert {name for name, _ in SEEDS} == set(TARGETS)
    assert len(SEEDS) >= 10
