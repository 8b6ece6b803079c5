"""Nothing but the dump: a gdb that is given no file, on real dumps; and a vmlinux that is found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.conftest import get_dump
from tests.real.harness import RealDump
from tests.support.debuggers import each_debugger
from tests.support.gdb_session import frames, gdb, serve
from tests.support.lldb_session import lldb

__all__ = ["each_debugger"]
pytestmark = pytest.mark.usefixtures("each_debugger")

# gdb says it once of every program that it gets from a server.
_SLOW = re.compile(r"^warning: File transfers from remote targets can be slow\..*$", re.MULTILINE)
_COMMANDS = (
    "bt", "info threads", "p init_task.comm", "ptype struct page", "p &runqueues",
    "info line panic", "monitor info",
)  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for release in ("6.1", "6.12"):
        get_dump(release, "panic")  # by now, for they are in that cache, too
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def look(dump: Path, *options: str) -> str:
    """Everything that gdb prints; a warning of its own, other than the one, fails the test."""
    with serve(dump, *options) as server:
        text = _SLOW.sub("", gdb(server, *_COMMANDS, ugly=True))
    for mark in ("warning:", "Traceback", "?? ()", "Python Exception", "corrupt"):
        assert mark not in text, f"gdb printed {mark!r}:\n{text}"
    return text


def own_names(text: str) -> None:
    chain = frames(text.partition("\n  Id ")[0])
    assert chain[chain.index("panic") + 1] == "sysrq_handle_crash"
    assert chain[-1].startswith("entry_SYSCALL_64")
    assert '= "swapper/0\\000' in text
    assert "struct page {" in text
    assert re.search(r"= \(struct rq \*\) 0x[0-9a-f]{5} <runqueues>", text)  # not moved
    assert text.count("stop_this_cpu") == 2


def test_a_gdb_without_a_file_shows_names_types_and_whole_stacks(
    panicked: RealDump, tmp_path: Path
) -> None:
    """Made, then taken from where it was kept: the same."""
    (dump, *_) = panicked.dumps["kdump-zlib"]
    first = look(dump, "--symbols", "dump")
    own_names(first)
    assert "served        the dump's own symbols" in first
    kept = list((tmp_path / "cache/kdump-gdbserver/symbols").iterdir())
    assert [each.name for each in kept] == re.findall(r"build-id +(\w+)", first)
    assert look(dump, "--symbols", "dump") == first


def test_a_vmlinux_beside_the_dump_is_taken_without_a_file_command(
    panicked: RealDump, tmp_path: Path
) -> None:
    """Lines, locals and per-CPU variables, wherever gdb is: the server has the file."""
    (dump, *_) = panicked.dumps["elf"]
    for source, name in ((dump, "vmcore"), (panicked.vmlinux, "vmlinux")):
        (tmp_path / name).symlink_to(source)
    with serve(tmp_path / "vmcore") as server:
        assert server.file_command.startswith(f"file {tmp_path}/vmlinux")
        text = _SLOW.sub("", gdb(server, *_COMMANDS, ugly=True))
    assert "panic.c:" in text
    assert re.search(r'panic \(fmt=.*"sysrq triggered crash', text)
    assert re.search(r"= \(struct rq \*\) 0x[0-9a-f]{5}\b", text)
    assert "?? ()" not in text
    assert f"{tmp_path}/vmlinux (found beside the dump)" in text


def test_the_users_own_vmlinux_wins_before_and_after(panicked: RealDump) -> None:
    (dump, *_) = panicked.dumps["elf"]
    with serve(dump, "--symbols", "dump") as server:
        load = server.file_command.replace("<vmlinux>", str(panicked.vmlinux))
        before = gdb(server, "bt", "p &init_task", before=[load])
        after = gdb(server, load, "bt", "p &init_task", ugly=True)
    for text in (before, after):
        assert "panic.c:" in text
        assert frames(text)[-1].startswith("entry_SYSCALL_64")
    addresses = {re.search(r"0x[0-9a-f]+ <init_task>", text)[0] for text in (before, after)}  # type: ignore[index]
    assert len(addresses) == 1


def test_another_kernels_vmlinux_is_noticed(panicked: RealDump) -> None:
    """By what gdb answers, also if it was loaded after gdb has connected."""
    (dump, *_) = panicked.dumps["elf"]
    other = get_dump("6.12" if "6.1." in panicked.release else "6.1", "panic")
    with serve(dump, "--symbols", "dump") as server:
        load = server.file_command.replace("<vmlinux>", str(panicked.vmlinux))
        wrong = server.file_command.replace("<vmlinux>", str(other.vmlinux))
        assert "wrong symbols" not in gdb(server, "monitor info", ugly=True)
        assert "wrong symbols" not in gdb(server, load, "monitor info", ugly=True)
        assert "wrong symbols" in gdb(server, wrong, "monitor info", ugly=True)


def test_saved_symbols_are_for_drgn_and_lldb(panicked: RealDump, tmp_path: Path) -> None:
    (dump, *_) = panicked.dumps["elf"]
    path = tmp_path / "symbols"
    command = [sys.executable, "-m", "kdump_gdbserver.cli.main", "-f", str(dump)]
    subprocess.run([*command, "--save-symbols", str(path)], check=True, timeout=120)
    script = tmp_path / "script.py"
    script.write_text(
        "from drgn.helpers.linux import for_each_task\n"
        "print('tasks', [task.comm.string_().decode() for task in for_each_task(prog)])\n"
        "print(prog.crashed_thread().stack_trace())\n"
    )
    drgn = Path(sys.executable).with_name("drgn")
    done = subprocess.run(
        [drgn, "-q", "-c", str(dump), "-s", str(path), str(script)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "'kthreadd'" in done.stdout
    assert re.search(r"^#\d+ +panic$", done.stdout, re.MULTILINE)
    with serve(dump, "--symbols", "none") as server:
        text = lldb(server, "bt", "target variable init_task.comm", file=path)
    assert "`panic" in text
    assert '"swapper/0' in text
