"""No answer differs from the oracle's: the quick part of the table in docs/trust.md."""

from __future__ import annotations

import os

import pytest

from tests.real.conftest import get_dump
from tests.real.oracle import table
from tests.real.oracle.dumps import QUICK, every_dump, parted
from tests.real.oracle.run import compare

# Set by `make test-everything`.
_EVERYTHING = os.environ.get("KDUMP_TEST_EVERYTHING") == "1"


@pytest.mark.parametrize("name", every_dump() if _EVERYTHING else QUICK)
def test_every_answer_is_the_oracles(name: str) -> None:
    arch, release, scenario = parted(name)
    rows = compare(get_dump(release, scenario, arch), name, full=_EVERYTHING)
    differing = [table.line(row) for row in rows if row["different"]]
    assert not differing, "\n".join(differing)
    compared = {row["mode"] for row in rows if row["equal"]}
    assert {"kernel", "-k", "-j"} <= compared
