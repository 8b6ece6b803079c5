"""Process mode on real dumps: a process as from its own core file, through a real gdb."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real import process_sidecar
from tests.real.conftest import get_dump
from tests.real.harness import RealDump
from tests.support.gdb_session import frames, gdb, missing, serve

SCRIPT = Path(__file__).parents[2] / "gdb" / "KdumpGdbCommands.py"
ODD = "odd (na) me"
WORKERS = ["reader", "sleeper", "waiter", "poller", "vectors"]
SYSCALL_FRAMES = {
    "reader": "read",
    "sleeper": "nanosleep",
    "waiter": "futex",
    "poller": "poll",
}

Save = Callable[[RealDump, str], Path]


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """Return what makes a program's sidecar, as a user would: with the gdb command."""
    folders: dict[Path, Path] = {}

    def saved(dump: RealDump, program: str) -> Path:
        if dump.dir not in folders:
            folder = folders[dump.dir] = tmp_path_factory.mktemp("sidecars")
            commands = [f"source {SCRIPT}"]
            for name, told in dump.facts["programs"].items():
                path = folder / f"{name.split()[0]}.json"
                commands.append(f"kdump-save-process-json {path} {told['pid']}")
            with serve(dump.dumps["elf"]) as server:
                # A CPU that was in user mode is a nameless frame to the kernel's symbols.
                gdb(server, *commands, before=[f"file {dump.vmlinux}"], ugly=True)
        return folders[dump.dir] / f"{program.split(maxsplit=1)[0]}.json"

    return saved


def ask(
    dump: RealDump,
    sidecar: Path,
    program: str,
    *commands: str,
    form: str = "elf",
    options: tuple[str, ...] = (),
    offset: str = "",
    ugly: bool = False,
) -> str:
    """Show a process to gdb as the seed's section "Process" does, with `set sysroot`."""
    before = [f"file '{dump.programs[program]}'{offset}", f"set sysroot {dump.sysroot}"]
    with serve(dump.dumps[form], "-j", str(sidecar), *options) as server:
        return gdb(server, *commands, before=before, ugly=ugly)


def value(text: str, number: int) -> str:
    match = re.search(rf"^\${number} = (.*)$", text, re.MULTILINE)
    assert match, text
    return match[1]


def backtraces(text: str) -> dict[str, list[str]]:
    """Return the functions of each thread's backtrace, by the thread's LWP."""
    parts = re.split(r"^Thread \d+ \((.*)\):$", text, flags=re.MULTILINE)
    result = {}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        lwp = re.search(r"LWP (\d+)", title)
        assert lwp, title
        result[lwp[1]] = frames(body)
    return result


def test_the_walk_through_of_the_readme(panicked: RealDump, tmp_path: Path) -> None:
    """Command for command: list, save, restart with -j, connect, look around."""
    pid = panicked.facts["programs"]["threads"]["pid"]
    sidecar = tmp_path / "process.json"
    with serve(panicked.dumps["elf"]) as server:
        text = gdb(
            server,
            f"source {SCRIPT}",
            "kdump-kernel-ps",
            f"kdump-save-process-json {sidecar} {pid}",
            before=[f"file {panicked.vmlinux}"],
        )
    assert re.search(rf"^0 +{pid} +\d+ +{pid} +threads +0x", text, re.MULTILINE), text
    with serve(panicked.dumps["elf"], "-j", str(sidecar)) as server:
        base = panicked.facts["programs"]["threads"]["maps"][0]["start"]
        assert server.printed == [
            f"Waiting for incoming connection on localhost port {server.port}",
            "In gdb execute the following command(s) to connect:",
            "# If you use PIE executable use the following command to correctly",
            "# load process symbols",
            f"file <executable> -o {base:#x}",
            f"target remote localhost:{server.port}",
        ]
        text = gdb(
            server,
            "bt",
            "p *head->next",
            "info threads",
            "info sharedlibrary",
            "info proc mappings",
            "p $xmm0",
            "p errno",
            before=[f"file {panicked.programs['threads']}", f"set sysroot {panicked.sysroot}"],
        )
    told = panicked.facts["programs"]["threads"]
    assert frames(text)[-1] == "main", text
    assert "pthread_clockjoin" in " ".join(frames(text))
    node = told["nodes"][1]
    assert f'id = {node["id"]}, label = "{node["label"]}' in value(text, 1)
    for worker in told["threads"]:
        tid, name = worker["tid"], worker["name"]
        assert f'Thread {pid}.{tid} (pid {pid} LWP {tid} "{name}")' in text
    for library in ("libc.so.6", "ld-linux-x86-64.so.2"):
        code = next(m for m in told["maps"] if library in m["path"] and "x" in m["access"])
        shown = re.search(rf"^(0x\w+) +(0x\w+) +Yes +\S+{re.escape(library)}", text, re.MULTILINE)
        assert shown, text
        assert code["start"] <= int(shown[1], 16) < int(shown[2], 16) <= code["end"]
    assert "v4_int32 = {" in value(text, 2)


@pytest.mark.parametrize("program", ["threads", "nonpie", "static", "staticpie", "plain32", ODD])
def test_main_thread_from_the_system_call_to_main(
    panicked: RealDump, save: Save, program: str
) -> None:
    """With no `-o`: PIE, fixed address, static, 32-bit; a library in the middle of the chain."""
    told = panicked.facts["programs"][program]
    text = ask(
        panicked, save(panicked, program), program, "bt", "p *head", "p &head",
        ugly=program == "plain32",
    )  # fmt: skip
    names = frames(text)
    if program != "threads":
        chain = ["level3", "level2", "level1", "main"]
        if program in ("nonpie", ODD):
            chain.insert(1, "shared_level2")
        assert names[-len(chain) :] == chain, text
        assert any("pause" in name for name in names[: -len(chain)]), text
    node = told["nodes"][0]
    assert f'id = {node["id"]}, label = "{node["label"]}' in value(text, 1)
    assert f"{told['head_variable']:#x}" in value(text, 2)
    assert "?? ()" not in text


def test_every_worker_with_its_locals_and_thread_local_variables(
    panicked: RealDump, save: Save
) -> None:
    told = panicked.facts["programs"]["threads"]
    commands = ["thread apply all bt"]
    for number in range(2, 2 + len(WORKERS)):
        commands += [
            f"thread {number}",
            "p tls_number",
            "p &tls_number",
            "p tls_text",
            "p (int)errno",
            "frame function level2",
            "p local2",
        ]
    text = ask(panicked, save(panicked, "threads"), "threads", *commands)
    stacks = backtraces(text.split("[Switching")[0])
    for place, worker in enumerate(told["threads"]):
        stack = stacks[str(worker["tid"])]
        assert stack[-6:-2] == ["level3", "level2", "level1", "run"], stack
        wanted = SYSCALL_FRAMES.get(worker["name"], "sleep_with_vectors")
        assert any(wanted in name for name in stack[:-6]), stack
        first = 1 + 5 * place
        assert value(text, first) == str(worker["tls_number"])
        assert f"{worker['tls_number_address']:#x}" in value(text, first + 1)
        assert value(text, first + 2).startswith(f'"tls-{worker["name"]}')
        assert value(text, first + 3) == str(worker["errno"])
        assert value(text, first + 4) == str(worker["tag"] * 1000 + 2)


@pytest.mark.parametrize("program", ["static", "staticpie", "nonpie", "plain32"])
def test_thread_local_variables_of_every_kind_of_program(
    panicked: RealDump, save: Save, program: str
) -> None:
    told = panicked.facts["programs"][program]
    text = ask(
        panicked, save(panicked, program), program,
        "p tls_number", "p &tls_number", "thread 2", "p tls_number", ugly=True,
    )  # fmt: skip
    assert value(text, 1) == "77", text
    assert f"{told['tls_number_address']:#x}" in value(text, 2)
    assert value(text, 3) == "78"


def test_known_registers_of_a_thread_that_sleeps(panicked: RealDump, save: Save) -> None:
    told = panicked.facts["programs"]["threads"]
    names = list(told["registers"])
    commands = [f"p/x ${name}" for name in names]
    commands += [f"p/x $ymm{i}.v32_int8" for i in range(16)] if told["vector_bytes"] == 32 else []
    number = 2 + WORKERS.index("vectors")
    text = ask(
        panicked,
        save(panicked, "threads"),
        "threads",
        f"thread {number}",
        *commands,
        "p $st0",
        "p $st1",
    )
    for place, name in enumerate(names, start=1):
        assert value(text, place) == f"{told['registers'][name]:#x}", name
    for i, vector in enumerate(told["vectors"] if told["vector_bytes"] == 32 else []):
        shown = value(text, len(names) + 1 + i)
        # gdb folds repeats, of which the pattern has none.
        assert bytes(int(word, 16) for word in re.findall(r"0x\w+", shown)).hex() == vector
    assert re.search(r"= 3\.14159265358979323\d+$", text, re.MULTILINE)


def assert_spinner(dump: RealDump, text: str) -> None:
    told = dump.facts["programs"]["spinner"]
    tid = told["spinner_tid"]
    current = rf"^\* \d+ +Thread \d+\.{tid} \(pid \d+ LWP {tid} \"spin-user\"\)"
    assert re.search(current, text, re.MULTILINE), text
    assert told["spin_begin"] <= int(value(text, 1), 16) <= told["spin_end"]
    for place, (name, known) in enumerate(told["registers"].items(), start=2):
        assert value(text, place) == f"{known:#x}", name


@pytest.mark.parametrize("scenario", ["panic", "kdump", "live"])
def test_the_thread_on_a_cpu_is_current_with_its_user_registers(scenario: str, save: Save) -> None:
    """Stopped by an interrupt (panic), or caught in user mode by the hypervisor (live)."""
    dump = get_dump("6.1", scenario)
    registers = dump.facts["programs"]["spinner"]["registers"]
    commands = ["info threads", "p/x $pc", *(f"p/x ${name}" for name in registers), "bt"]
    text = ask(dump, save(dump, "spinner"), "spinner", *commands)
    assert_spinner(dump, text)
    assert frames(text)[-4:-2] == ["spin", "run"], text


def test_auxv_and_mappings_are_those_of_the_living_process(panicked: RealDump, save: Save) -> None:
    for program in ("threads", "plain32"):
        told = panicked.facts["programs"][program]
        sidecar = save(panicked, program)
        text = ask(
            panicked, sidecar, program, "info proc mappings", "info auxv", "info proc",
        )  # fmt: skip
        pattern = r"^[ \t]+(0x\w+) +(0x\w+) +0x\w+ +(0x\w+) +(\S{4}) +(.*?)$"
        shown = [
            (int(start, 16), int(end, 16), int(offset, 16), access, path.strip())
            for start, end, offset, access, path in re.findall(pattern, text, re.MULTILINE)
        ]
        expected = [
            (m["start"], m["end"], m["offset"], m["access"], m["path"])
            for m in told["maps"]
            if m["path"] not in ("[vsyscall]", "[vvar]", "[vdso]", "[vvar_vclock]")
        ]
        assert [s for s in shown if not s[4].startswith("[v")] == expected
        # A 64-bit kernel takes a 32-bit process's vector to end where 64 bits are 0.
        auxv = json.loads(sidecar.read_text())["auxv"]
        assert told["auxv"].startswith(auxv)
        assert not told["auxv"][len(auxv) :].strip("0")
        assert f"exe = '{told['exe']}'" in text
        assert "cwd = '/'" in text
        assert " ".join(told["cmdline"]) in text
        assert re.search(r"AT_ENTRY .*0x", text)


def test_info_proc_stat_and_status_tell_nothing_that_is_not_known(
    panicked: RealDump, save: Save
) -> None:
    told = panicked.facts["programs"]["spinner"]
    text = ask(
        panicked, save(panicked, "spinner"), "spinner", "info proc stat", "info proc status",
        ugly=True,
    )  # fmt: skip
    shown = dict(re.findall(r"^([A-Z][\w ]+):\s+(.*)$", text, re.MULTILINE))
    size = sum(m["end"] - m["start"] for m in told["maps"] if m["path"] != "[vsyscall]")
    assert shown == {
        "Process": f"{told['pid']}",
        "Exec file": "spinner",
        "Name": "spinner",
        "Tgid": f"{told['pid']}",
        "Pid": f"{told['pid']}",
        "VmSize": f"{size // 1024} kB",
        "Threads": "2",
    }


def test_info_os_is_about_this_process(panicked: RealDump, save: Save) -> None:
    told = panicked.facts["programs"]["spinner"]
    text = ask(
        panicked, save(panicked, "spinner"), "spinner",
        "info os", "info os processes", "info os threads", "info os cpus",
    )  # fmt: skip
    rows = [line.split() for line in text.splitlines()]
    pid, tid = str(told["pid"]), str(told["spinner_tid"])
    (process,) = (
        row for row in rows if row[:2] == [pid, "spinner"] and len(row) == 3 and row[2] != pid
    )
    assert [pid, "spinner", pid] in rows
    assert [pid, "spin-user", tid, process[2]] in rows
    assert [process[2], tid] in rows
    assert {"processes", "threads", "cpus"} <= {row[0] for row in rows if row}


def test_the_old_offset_option_and_the_earlier_scripts_file_still_work(
    panicked: RealDump, save: Save, tmp_path: Path
) -> None:
    full = json.loads(save(panicked, "threads").read_text())
    old = tmp_path / "old.json"
    keys = ("pid", "tid", "comm", "registers")
    threads = [{key: thread[key] for key in keys} for thread in full["threads"]]
    old.write_text(
        json.dumps(
            {"rootpgt": full["rootpgt"], "loadaddr": full["loadaddr"], "threads": threads}, indent=4
        )
    )
    base = panicked.facts["programs"]["threads"]["maps"][0]["start"]
    program = str(panicked.programs["threads"])
    for sidecar, ugly in ((save(panicked, "threads"), False), (old, True)):
        with serve(panicked.dumps["elf"], "-j", str(sidecar), "-v", program) as server:
            assert server.file_command == f"file {program} -o {base:#x}"
            assert server.printed[0].startswith("Waiting for incoming connection")  # no warning
        text = ask(
            panicked, sidecar, "threads", "bt", "p *head", "thread 3", "bt",
            offset=f" -o {base:#x}", ugly=ugly,
        )  # fmt: skip
        assert 'label = "node-100' in value(text, 1)
        assert {"level3", "level2", "level1", "run", "main"} <= set(frames(text)), text


def test_printed_lines_of_an_executable_that_is_no_pie(panicked: RealDump, save: Save) -> None:
    program, sidecar = str(panicked.programs["nonpie"]), str(save(panicked, "nonpie"))
    with serve(panicked.dumps["elf"], "-j", sidecar, "-v", program) as server:
        assert server.printed[2:] == [f"file {program}", f"target remote localhost:{server.port}"]


def test_gcore_writes_a_core_file_that_shows_the_same(
    panicked: RealDump, save: Save, tmp_path: Path
) -> None:
    for program in ("threads", "plain32"):
        core = tmp_path / f"core.{program}"
        text = ask(
            panicked, save(panicked, program), program, "thread apply all bt", f"gcore {core}",
            "info registers", "p $xmm2", ugly=True,
        )  # fmt: skip
        assert f"Saved corefile {core}" in text
        assert "Memory read failed" not in text
        again = gdb(
            None,
            f"set sysroot {panicked.sysroot}",
            f"file {panicked.programs[program]}",
            f"core {core}",
            "thread apply all bt",
            "info registers",
            "p $xmm2",
            "info auxv",
            "p *head->next",
            ugly=True,
        )
        stacks = backtraces(text)
        assert len(stacks) == (6 if program == "threads" else 2)
        assert backtraces(again) == stacks
        assert registers_shown(again) == registers_shown(text)
        assert value(again, 1) == value(text, 1)
        assert "label = " in value(again, 2)
        assert "AT_ENTRY" in again


def registers_shown(text: str) -> list[str]:
    """Return the lines of `info registers`, without what depends on gdb's mood."""
    pattern = r"^(?:[re]?[a-ds][ixps]|r\d+|eflags|[c-gs]s|[fg]s_base|k\d) +(?:0x\w+|<\w+>)"
    return re.findall(pattern, text, re.MULTILINE)


@pytest.fixture
def living(panicked: RealDump, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The same program, alive on this machine: its pid and what it tells."""
    told = tmp_path / "told"
    with subprocess.Popen([panicked.programs["threads"], str(told)]) as process:
        try:
            deadline = time.monotonic() + 120
            while not told.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            if not told.exists():
                missing("the guest's program does not run on this machine")
            yield process.pid, told
        finally:
            process.send_signal(signal.SIGKILL)


def test_side_by_side_with_a_core_file_of_the_same_state(
    panicked: RealDump, save: Save, living: tuple[int, Path], tmp_path: Path
) -> None:
    """gdb's core of the same program in the same state, beside the one from the dump."""
    core = tmp_path / "core"
    program = panicked.programs["threads"]
    made = gdb(None, f"attach {living[0]}", f"gcore {core}", "detach", ugly=True)
    if not core.exists():
        missing(f"no core file of a living process can be made here: {made[-300:]}")
    commands = ["thread apply all bt", "info registers", "info auxv", "p *head->next", "p $xmm0"]
    real = gdb(None, f"file {program}", f"core {core}", *commands, ugly=True)
    ours = ask(panicked, save(panicked, "threads"), "threads", *commands)
    assert list(backtraces(ours).values()) == list(backtraces(real).values())
    names = [re.findall(r"^(\w+) +(?:0x|\[|<)", text, re.MULTILINE) for text in (ours, real)]
    wanted = [[name for name in found if re.fullmatch(r"[a-z][a-z0-9_]+", name)] for found in names]
    assert [n for n in wanted[0] if not n.startswith("k")] == [
        n for n in wanted[1] if not n.startswith("k")
    ]
    kinds = [set(re.findall(r"\bAT_\w+", text)) for text in (ours, real)]
    # A newer kernel than the dumped one may tell more.
    assert kinds[0] <= kinds[1] | {"AT_HWCAP2", "AT_SECURE", "AT_MINSIGSTKSZ"}
    nodes = [re.sub(r"0x\w+", "", value(text, 1)) for text in (ours, real)]
    assert nodes[0] == nodes[1]


def test_bytes_equal_those_of_drgn(panicked: RealDump, save: Save) -> None:
    """Every page of every mapping, huge pages too: equal, or unreadable for drgn alone."""
    from kdump_gdbserver.adapters.json_sidecar import JsonSidecarReader
    from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
    from kdump_gdbserver.application.process.process_view import open_process_view
    from kdump_gdbserver.domain.errors import MemoryFault

    for program in ("threads", "plain32", "spinner"):
        told = panicked.facts["programs"][program]
        dump = KdumpfileOpener().open([str(panicked.dumps["elf"][0])])
        image = JsonSidecarReader().read_process(str(save(panicked, program)), dump.facts.arch)
        view = open_process_view(dump, image)
        memory = view.open_memory()
        pages = [page for vma in image.vmas for page in range(vma.start, vma.end, 4096)]
        given = "".join(f"{page:#x} 4096\n" for page in pages)
        printed = process_sidecar.run(
            panicked.vmlinux, panicked.dumps["elf"][0], told["pid"], "read", given=given
        ).split()
        equal = untouched = 0
        for page, truth in zip(pages, printed, strict=True):
            try:
                ours = memory.read(page, 4096)
            except MemoryFault:
                assert truth == "fault", f"{page:#x}"
                continue
            if truth == "fault":  # zeros of memory never touched, or the vDSO's other pages
                inside = next(vma for vma in image.vmas if vma.start <= page < vma.end)
                assert inside.path == "[vdso]" or ours == bytes(4096), f"{page:#x}"
                untouched += 1
            else:
                assert ours.hex() == truth, f"{page:#x}"
                equal += 1
        assert equal > 100
        assert untouched > 0
    huge = panicked.facts["programs"]["threads"]["huge"]
    assert huge["bytes"] == 4 << 20


def test_huge_pages_and_pages_never_touched(panicked: RealDump, save: Save) -> None:
    told = panicked.facts["programs"]["threads"]["huge"]
    last = told["bytes"] // 4096 - 1
    text = ask(
        panicked, save(panicked, "threads"), "threads",
        f"p/x *(unsigned long *){told['address']:#x}",
        f"p/x *(unsigned long *){told['address'] + last * 4096:#x}",
    )  # fmt: skip
    assert (value(text, 1), value(text, 2)) == (f"{told['key']:#x}", f"{told['key'] + last:#x}")
    plain = panicked.facts["programs"]["static"]
    text = ask(
        panicked, save(panicked, "static"), "static",
        f"p *(unsigned char *){plain['touched_page']:#x}",
        f"p *(unsigned char *){plain['untouched_page']:#x}",
        "x/gx 0xffffffff81000000", "x/gx 0",
    )  # fmt: skip
    assert value(text, 1).startswith(f"{plain['touched_byte']} ")
    assert value(text, 2).startswith("0 ")  # as the process itself would have read it
    assert "Cannot access memory at address 0xffffffff81000000" in text
    assert "Cannot access memory at address 0x0" in text


def test_no_file_of_this_machine_is_given_to_a_client(
    panicked: RealDump, save: Save, tmp_path: Path
) -> None:
    pid = panicked.facts["programs"]["threads"]["pid"]
    got = tmp_path / "got"
    paths = ["/etc/passwd", str(panicked.programs["threads"]), "/proc/self/maps", "/proc/1/cmdline"]
    text = ask(
        panicked, save(panicked, "threads"), "threads",
        *(f"remote get {path} {got}" for path in paths),
        f"remote get /proc/{pid}/maps {tmp_path / 'maps'}",
        f"remote put {save(panicked, 'threads')} /tmp/x",
    )  # fmt: skip
    assert text.count("Remote I/O error: No such file or directory") == len(paths), text
    assert not got.exists()
    assert "/bin/threads" in (tmp_path / "maps").read_text()
    assert "Read-only file system" in text


def test_without_any_sysroot_gdb_says_what_is_missing(panicked: RealDump, save: Save) -> None:
    with serve(panicked.dumps["elf"], "-j", str(save(panicked, "threads"))) as server:
        text = gdb(server, "info sharedlibrary", "x/2gx $sp", ugly=True)
    assert "/bin/threads" in text
    assert "No such file or directory" in text
    assert "Traceback" not in text
    assert re.search(r"^0x7f\w+:\t0x\w+\t0x\w+$", text, re.MULTILINE), text


def test_with_the_servers_sysroot_gdb_needs_nothing(panicked: RealDump, save: Save) -> None:
    """No `file`, no `set sysroot`: programs and libraries come through the server."""
    options = ("-j", str(save(panicked, "threads")), "--sysroot", str(panicked.sysroot))
    with serve(panicked.dumps["elf"], *options) as server:
        text = gdb(server, "bt", "info sharedlibrary", "p errno", ugly=True)
    assert frames(text)[-1] == "main"
    assert len(re.findall(r"^0x\w+ +0x\w+ +Yes +target:/", text, re.MULTILINE)) == 2, text


def sysroot_as_in_the_guest(dump: RealDump, folder: Path, modified: int) -> Path:
    """Copy the sysroot with the guest's times, by which files are known again."""
    copy = Path(shutil.copytree(dump.sysroot, folder))
    for path in copy.rglob("*"):
        if path.is_file():
            os.utime(path, (modified, modified))
    return copy


def test_filtered_pages_of_files_come_from_the_sysroot_or_not_at_all(
    save: Save, tmp_path: Path
) -> None:
    """A dump without page cache: code is there only with the files that it came from."""
    dump = get_dump("6.12", "kdump")
    form = next(form for form in dump.dumps if form.startswith("d23-"))
    sidecar = save(dump, "threads")
    vmas: list[dict[str, Any]] = json.loads(sidecar.read_text())["vmas"]
    modified = next(vma["file_mtime"] for vma in vmas if vma.get("path") == "/bin/threads")
    good = sysroot_as_in_the_guest(dump, tmp_path / "good", modified)
    newer = sysroot_as_in_the_guest(dump, tmp_path / "newer", modified + 1)
    commands = ("x/4i main", "bt", "p tls_number")
    with serve(dump.dumps[form], "-j", str(sidecar), "--sysroot", str(good)) as server:
        text = gdb(
            server, *commands, before=[f"file {dump.programs['threads']}", f"set sysroot {good}"]
        )
    assert len(re.findall(r"<main(\+\d+)?>:\t\w", text)) == 4, text
    assert frames(text)[-1] == "main"
    for options in ((), ("--sysroot", str(newer))):
        with serve(dump.dumps[form], "-j", str(sidecar), *options) as server:
            text = gdb(
                server,
                *commands,
                before=[f"file {dump.programs['threads']}", f"set sysroot {good}"],
                ugly=True,
            )
        assert "Cannot access memory at address" in text.split("main>:")[1], text


@pytest.mark.parametrize("program", ["threads", "plain32"])
def test_libraries_are_found_where_their_list_was_filtered(
    save: Save, tmp_path: Path, program: str
) -> None:
    """A dump without user pages has no stack and no link_map; the frame that runs has its name."""
    dump = get_dump("6.1", "kdump")
    sidecar = save(dump, program)
    vmas: list[dict[str, Any]] = json.loads(sidecar.read_text())["vmas"]
    modified = next(vma["file_mtime"] for vma in vmas if vma.get("path") == f"/bin/{program}")
    good = sysroot_as_in_the_guest(dump, tmp_path / "good", modified)
    commands = ("info sharedlibrary", "thread apply all bt 1", "x/i $pc")
    libraries = {vma["path"]: vma["start"] for vma in reversed(vmas) if ".so" in vma["path"]}
    for form, options in (
        ("d31-zlib", ("--sysroot", str(good))), ("elf", ("--sysroot", str(good))), ("d31-zlib", ()),
    ):  # fmt: skip
        text = ask(dump, sidecar, program, *commands, form=form, options=options, ugly=True)
        shown = re.findall(r"^0x\w+ +0x\w+ +Yes\S* +(?:\(\*\) +)?(\S+)$", text, re.MULTILINE)
        told = {f"{dump.sysroot}{path}" for path in libraries}
        if not options:
            assert set(shown) < told  # nothing proves whose code it is
            continue
        assert set(shown) == told, text
        pcs = re.findall(r"^#0 .*", text, re.MULTILINE)
        assert len(pcs) == (6 if program == "threads" else 2)
        assert not any("?? ()" in pc for pc in pcs), text


def test_a_sidecar_of_another_dump_is_refused(save: Save) -> None:
    sidecar = save(get_dump("6.1", "panic"), "threads")
    other = get_dump("6.12", "panic")
    with pytest.raises(BaseException, match="another dump") as caught:  # noqa: SIM117
        with serve(other.dumps["elf"], "-j", str(sidecar)):
            pass
    assert "Traceback" not in str(caught.value)
