"""DumpFacts: why pages may be missing."""

from __future__ import annotations

import dataclasses

import pytest

from kdump_gdbserver.domain.dump_facts import dump_level_classes
from tests.support.fake_dump import facts_of


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (0, []),
        (1, []),
        (17, ["free pages"]),
        (31, ["cache pages", "private cache pages", "user pages", "free pages"]),
    ],
)
def test_dump_levels_are_named_as_makedumpfile_does(level: int, expected: list[str]) -> None:
    assert expected == dump_level_classes(level)


def test_the_reason_for_missing_pages() -> None:
    facts = facts_of()
    assert facts.missing_pages is None
    assert dataclasses.replace(facts, dump_level=0).missing_pages is None
    filtered = dataclasses.replace(facts, dump_level=9)
    assert filtered.missing_pages == "filtered out by makedumpfile: user pages"
    assert dataclasses.replace(facts, dump_level=1).missing_pages is None
    truncated = dataclasses.replace(filtered, truncated=True)
    assert truncated.missing_pages == "the file is truncated"
