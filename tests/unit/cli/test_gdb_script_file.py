"""--write-gdb-script: one file, written whole or not at all, and never over what is not ours."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdump_gdbserver.cli import gdb_script
from kdump_gdbserver.cli.gdb_script import one_file, script_modules, write_gdb_script
from tests.support.refusals import refused

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kdump_gdbserver.cli.main", *arguments],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_option_writes_it_and_says_what_to_type(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    done = run("--write-gdb-script", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"source {path}\n", "")
    assert path.read_text() == one_file()
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = run("--write-gdb-script", str(tmp_path / "gone" / "script.py"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"kdump-gdbserver: error: {tmp_path}/gone/script.py: No such file or directory; name a"
        " file that you can write\n"
    )


def test_modules_come_behind_those_that_they_import() -> None:
    names = [path for path, _ in script_modules()]
    assert names[-1] == "gdb/kdump_commands/registration.py"
    assert len(names) == len(set(names)) > 30
    for first, second in (
        ("domain/kernel/types.py", "domain/kernel/memory.py"),
        ("domain/arch/task_state.py", "domain/arch/x86_64.py"),
        ("domain/arch/x86_64.py", "domain/arch/__init__.py"),
        ("domain/arch/model.py", "domain/kernel/kernel.py"),
        ("domain/__init__.py", "domain/kernel/__init__.py"),
    ):
        assert names.index(first) < names.index(second)


def test_the_texts_are_in_it_as_they_are() -> None:
    tree = ast.parse(one_file())
    (found,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "kdump_modules"
    )
    assert found == script_modules()
    assert all(text == (ROOT / path).read_text() for path, text in found)


def test_quotes_and_backslashes_survive() -> None:
    for text in ('"""a\\n"""\n', "\\\n", '""""\n', "'''\n", '\\"\\\\"""\n'):
        assert ast.literal_eval(f'"""{gdb_script._quoted(text)}"""') == text


def test_an_older_one_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text("# Written by kdump-gdbserver 0.0.1 --write-gdb-script: all\nolder\n")
    path.chmod(0o640)
    assert write_gdb_script(str(path)) == path
    assert path.read_text() == one_file()
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_new_one_has_the_mode_that_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = write_gdb_script(str(tmp_path / "script.py"))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "content", [b"", b"print()\n", b"\xff\xfe\0", (ROOT / "gdb/KdumpGdbCommands.py").read_bytes()]
)
def test_another_file_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "script.py"
    path.write_bytes(content)
    assert refused(write_gdb_script, str(path)) == (
        f"{path}: is there already, and --write-gdb-script did not write it; remove it or give"
        " another name"
    )
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_regular_file_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("fifo", "dangling", "."):
        assert "is there already" in refused(write_gdb_script, str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "fifo"]


def test_a_write_that_fails_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gdb_script(str(tmp_path / "script.py"))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert refused(write_gdb_script, str(path)).startswith(f"{path}: No space left on device")
    assert path.read_text() == one_file()
    assert list(tmp_path.iterdir()) == [path]
