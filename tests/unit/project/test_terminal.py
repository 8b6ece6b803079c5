"""Nothing in a dump, a path or a name reaches a terminal but as printable text on its line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.cli import console
from kdump_gdbserver.cli.arguments import parse_arguments
from kdump_gdbserver.cli.logging_setup import set_up_logging
from kdump_gdbserver.domain.text import printable, printable_line
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from tests.support.fake_dump import facts_of
from tests.support.running import SERVER, Running, started
from tests.support.tcp import TIMEOUT
from tests.unit.kdumpfile.kdumpfile_support import Machine, write
from tests.unit.kdumpfile.vmcore_builder import Kdump, kdump
from tests.unit.kernel.test_monitor import client, dump_of

# Bell, escape, carriage return, backspace, C1's CSI, bidi override and isolate, a line separator,
# and a byte that is no UTF-8, as Python has it in a path.
NASTY = "\a\x1b]0;x\a\r\b\x9b31m\u202e\u2066\u2028\udcff\n"
WORDS = st.text(st.one_of(st.characters(), st.sampled_from(NASTY)), max_size=40)


def is_safe(text: str) -> bool:
    """Whether it is whole lines of printable characters."""
    return all(char.isprintable() or char in "\n\t" for char in text)


@given(WORDS)
def test_any_text_is_printable_and_on_one_line(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    assert printable_line(text).replace("\t", "").isprintable()
    assert printable_line(text).count("\t") == text.count("\t")


@given(WORDS)
def test_what_the_program_prints_is_printable_whatever_paths_and_names_are_in_it(
    word: str,
) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        console.say_error(f"{word}: no such file")
        console.say_warning(f"{word}: is truncated")
        place = console.Place("localhost port 1", "localhost:1")
        console.say(console.invitation(place, word, Vmcoreinfo({})))
        console.say(console.process_invitation(place, word, 0))
        with pytest.raises(SystemExit):
            parse_arguments(["-f", "x", "-p", f"x{word}"])
    assert is_safe(out.getvalue())
    assert is_safe(err.getvalue())
    assert len(err.getvalue().splitlines()) == 3
    lines = out.getvalue().splitlines()
    assert sum(line.startswith("file ") for line in lines) == 2
    assert sum(line.startswith("target remote ") for line in lines) == 2


@given(WORDS, st.booleans())
def test_every_log_line_is_printable_and_one_line(word: str, as_json: bool) -> None:
    err = io.StringIO()
    try:
        with contextlib.redirect_stderr(err):
            set_up_logging(debug=True, as_json=as_json).warning("cannot show this", reason=word)
    finally:
        structlog.reset_defaults()
    text = err.getvalue()
    assert is_safe(text)
    assert text.count("\n") == 1
    if as_json:
        assert json.loads(text)["reason"] == printable(word)


@given(st.text(st.sampled_from(NASTY.replace("\n", "") + "abc"), max_size=40))
def test_what_monitor_commands_show_is_printable(word: str) -> None:
    facts = dataclasses.replace(facts_of(), nodename=word, version=word, release=word)
    log = f"[    0.000000] {word}\n".encode("utf-8", "surrogateescape")
    dump = dump_of(facts, log)
    dump.vmcoreinfo.lines["CRASHED-BY"] = word
    debugger = client(dump)
    for command in ("info", "vmcoreinfo", "help", "dmesg", word.replace("\udcff", "")):
        assert is_safe(debugger.monitor(command))


def test_a_machine_name_forges_no_line(tmp_path: Path) -> None:
    name = b"x\nkdump-gdbserver: warning: all is well\x1b[2J"
    dump = write(tmp_path, kdump(Machine().pages(), 512, Kdump(machine=name)))
    command = [*SERVER, "-f", dump]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 2
    assert is_safe(done.stderr)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", [b"a\nb\x1b[2J", b"no-utf-8-\xff\xfe"])
def test_a_path_that_cannot_be_printed_is_told_by_escapes(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(Machine().elf()[:100_000])  # truncated: a warning
    for option in (path, path + b"-missing"):
        with started([*SERVER, "-f", os.fsdecode(option), "-v", "/nowhere\n"]) as process:
            assert process.wait(TIMEOUT) == 2
            assert process.stderr is not None
            words = process.stderr.read()
        assert is_safe(words)
        assert "Traceback" not in words
        assert len(words.splitlines()) == 1


@pytest.mark.parametrize("closed", [0, 2])
def test_the_program_serves_with_a_standard_stream_closed(tmp_path: Path, closed: int) -> None:
    program = "import os, sys; os.close(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
    dump = write(tmp_path, Machine().elf()[:100_000])  # truncated: a warning, and errors to log
    command = [sys.executable, "-c", program, str(closed), *SERVER, "-f", dump]
    with started(command) as process:
        assert process.stdout is not None
        server = Running(process, int(process.stdout.readline().rsplit(" ", 1)[1]))
        with server.client.socket:
            assert server.serves()
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0


def test_without_standard_output_an_error_is_still_status_2(tmp_path: Path) -> None:
    program = "import os, sys; os.close(1); os.close(2); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", program, *SERVER, "-f", str(tmp_path / "none")]
    assert subprocess.run(command, check=False, timeout=TIMEOUT).returncode == 2
