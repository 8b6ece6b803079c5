"""No answer differs from the oracle's: the quick part of the table in docs/trust.md."""

from __future__ import annotations

import os

import pytest

from tests.real.conftest import get_dump
from tests.real.harness.catalogue import EVERYTHING
from tests.real.oracle import table
from tests.real.oracle.dumps import QUICK, every_dump, parted
from tests.real.oracle.run import compare

# Set by `make test-everything`.
_EVERYTHING = bool(os.environ.get(EVERYTHING))

# What is known to differ and not mended yet; it has to differ, so that the list grows old with
# nothing in it.
KNOWN: dict[tuple[str, str, str], str] = {}


@pytest.mark.parametrize("name", every_dump() if _EVERYTHING else QUICK)
def test_every_answer_is_the_oracles(name: str) -> None:
    arch, release, scenario = parted(name)
    rows = compare(get_dump(release, scenario, arch), name, full=_EVERYTHING)
    found = {(name, row["mode"], row["check"]) for row in rows if row["different"]}
    new = [
        table.line(row)
        for row in rows
        if row["different"] and (name, row["mode"], row["check"]) not in KNOWN
    ]
    assert not new, "\n".join(new)
    mended = {key for key in KNOWN if key[0] == name} - found
    assert not mended, "take these out of KNOWN"
    compared = {row["mode"] for row in rows if row["equal"]}
    assert {"kernel", "-k", "-j"} <= compared
