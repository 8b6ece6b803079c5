"""scripts/check-subject: git's commit-msg hook, over messages as git hands them to it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "check-subject"
NO_BODY = "the message: there is no body that says why\n"
SCISSORS = "# ------------------------ >8 ------------------------\n"


def said(message: str, folder: Path) -> tuple[int, str]:
    file = folder / "COMMIT_EDITMSG"
    file.write_text(message)
    done = subprocess.run([SCRIPT, str(file)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "message",
    [
        "docs: what changed\n\nBecause.\n",
        "# a comment first\n\ndocs: what changed\n\nBecause.\n# On branch main\n",
        f"{'docs: ':x<72}\n\nBecause.\n",
        "fixup! docs: what changed\n",
        "Merge branch 'main'\n",
    ],
)
def test_a_good_message_passes(message: str, tmp_path: Path) -> None:
    assert said(message, tmp_path) == (0, "")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("docs: what changed\n", NO_BODY),
        ("docs: what changed\n\n# On branch main\n", NO_BODY),
        (f"docs: what changed\n\n{SCISSORS}diff --git a/README.md b/README.md\n", NO_BODY),
        ("no area\n\nBecause.\n", "the message: the subject is not 'area: what changed'\n"),
        (
            f"{'docs: ':x<73}\n\nBecause.\n",
            "the message: the subject has 73 characters, 72 are the most\n",
        ),
    ],
)
def test_a_bad_message_is_told_why(message: str, words: str, tmp_path: Path) -> None:
    assert said(message, tmp_path) == (1, words)
