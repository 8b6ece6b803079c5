"""One dump, all its forms and modes: serves it, asks all sides, compares."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.real.harness import RealDump
from tests.real.harness.machines import MACHINES
from tests.real.oracle import checks, gdb_side
from tests.real.oracle.checks import Count
from tests.real.oracle.qemu_registers import general_registers
from tests.real.oracle.server_side import Asked, cpu_of, task_of
from tests.real.oracle.user_registers import BITS, names_of
from tests.support.gdb_session import Server, serve

_DRGN_SECONDS = 300
_MODULE = "tests.real.oracle.drgn_side"
# Broken on purpose, for tests of honest errors.
_NO_DUMPS = ("damaged",)


def ask_drgn(stdin: Any, *arguments: object) -> Any:
    """drgn's answer; RuntimeError with its last words if it has none."""
    done = subprocess.run(
        [sys.executable, "-m", _MODULE, *map(str, arguments)], input=json.dumps(stdin),
        capture_output=True, text=True, check=False, timeout=_DRGN_SECONDS, cwd=gdb_side.TOP,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


class Trial:
    """Compares everything about one real dump; `full` asks gdb about every form, not one."""

    def __init__(self, dump: RealDump, name: str, *, full: bool) -> None:
        self.dump = dump
        self.name = name
        self.full = full
        self.machine = MACHINES[dump.arch]
        # Firmware of ppc64le is big-endian, so a dump by QEMU may not tell what the kernel is.
        from_qemu = "qemu_registers" in dump.facts
        self.options = ("--arch", dump.arch) if dump.arch == "ppc64le" and from_qemu else ()
        self.pids = [program["pid"] for program in dump.facts["programs"].values()]
        self.truth = ask_drgn({"pids": self.pids}, "tell", dump.dir, dump.vmlinux)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the table."""
        forms = [form for form in self.dump.dumps if form not in _NO_DUMPS]
        forms.sort(key=lambda form: form != "elf")
        with tempfile.TemporaryDirectory() as work:
            for form in forms:
                for mode, count in self._form(
                    form, Path(work), with_gdb=self.full or form == "elf"
                ):
                    yield {"dump": self.name, "form": form, "mode": mode, **asdict(count)}

    def _form(self, form: str, work: Path, *, with_gdb: bool) -> Iterator[tuple[str, Count]]:
        files = self.dump.dumps[form]
        with serve(files, *self.options) as server:
            for count in self._kernel(server, files, work, with_gdb):
                yield "kernel", count
        if not with_gdb:
            return
        sidecar = work / "tasks.json"
        if sidecar.exists():
            with serve(
                files, *self.options, "-v", str(self.dump.vmlinux), "-k", str(sidecar)
            ) as server:
                for count in self._tasks(server, work, json.loads(sidecar.read_text())):
                    yield "-k", count
        else:
            yield "-k", _failed("tasks", "kdump-save-kernel-json wrote nothing")
        for count in self._processes(files, work):
            yield "-j", count

    # -- kernel mode -------------------------------------------------------------------------

    def _kernel(
        self, server: Server, files: Sequence[Path], work: Path, with_gdb: bool
    ) -> Iterator[Count]:
        asked = Asked(server.port, self.machine.byte_order)
        threads = asked.threads()
        counts, missing = checks.memory(asked, self.truth["memory"])
        if missing:
            try:
                also = ask_drgn([place[1:3] for place in missing], "read", files[0])
            except RuntimeError:
                also = [""] * len(missing)
            checks.left_out(missing, also, filtered=files[0].name.startswith("elf-d"))
        yield from counts
        yield self._cpu_registers(asked, threads)
        asked.close()
        if not with_gdb:
            return
        saves = [f"kdump-save-process-json {work}/{pid}.json {pid}" for pid in self.pids]
        for path in work.glob("*.json"):
            path.unlink()
        shown = gdb_side.ask(
            server, self.dump.arch, f"file {self.dump.vmlinux}", work, self._names(),
            (f"kdump-save-kernel-json {work}/tasks.json", *saves),
        )  # fmt: skip
        yield checks.variables(shown.globals, self.truth["globals"])
        yield checks.chains(
            "chains of CPUs", self._by_cpu(shown.chains, threads), self._cpu_chains()
        )

    def _cpu_registers(self, asked: Asked, threads: dict[int, str]) -> Count:
        said = self.dump.facts.get("qemu_registers")
        if said is None:
            return checks.cpu_registers(asked, threads, self._by_gdb_name(), "drgn")
        told = {str(cpu): general_registers(self.dump.arch, text) for cpu, text in enumerate(said)}
        return checks.cpu_registers(asked, threads, told, "QEMU")

    def _by_gdb_name(self) -> dict[str, Any]:
        """drgn's registers of CPUs with gdb's names, without the fields of ppc64le's cr."""
        renamed = {"rflags": "eflags", "pstate": "cpsr", "fs.base": "fs_base", "gs.base": "gs_base"}
        if self.dump.arch == "aarch64":
            renamed |= {"fp": "x29", "lr": "x30"}
        fields = {f"cr{n}" for n in range(8)} if self.dump.arch == "ppc64le" else ()
        return {
            cpu: told if isinstance(told, str) else
            {renamed.get(name, name): value for name, value in told.items() if name not in fields}
            for cpu, told in self.truth["registers"].items()
        }  # fmt: skip

    def _names(self) -> dict[str, int]:
        return {name: size for name, (_, size, _) in self.truth["globals"].items()}

    def _cpu_chains(self) -> dict[str, Any]:
        return {f"CPU {cpu}": chain for cpu, chain in self.truth["cpu_chains"].items()}

    def _by_cpu(self, shown: dict[str, Any], threads: dict[int, str]) -> dict[str, Any]:
        return {f"CPU {cpu_of(said)}": shown[str(tid)] for tid, said in threads.items()
                if str(tid) in shown}  # fmt: skip

    # -- kernel with tasks -------------------------------------------------------------------

    def _tasks(self, server: Server, work: Path, sidecar: dict[str, Any]) -> Iterator[Count]:
        asked = Asked(server.port, self.machine.byte_order)
        threads = asked.threads()
        asked.close()
        yield checks.tasks(threads, sidecar, self.truth["tasks"])
        shown = gdb_side.ask(server, self.dump.arch, server.file_command, work, self._names())
        yield checks.variables(shown.globals, self.truth["globals"])
        keyed = {}
        for tid, said in threads.items():
            task = task_of(said)
            if task is not None and str(tid) in shown.chains:
                keyed[str(task[1]) if task[1] else task[2].strip("[]")] = shown.chains[str(tid)]
        dead = {str(task["pid"]) for task in self.truth["tasks"] if task["state"] in "XZ"}
        yield checks.chains("chains of tasks", keyed, self.truth["chains"], dead)

    # -- processes ---------------------------------------------------------------------------

    def _processes(self, files: Sequence[Path], work: Path) -> Iterator[Count]:
        user, registers = Count("memory: user", "drgn"), Count("registers of threads", "drgn")
        for pid in self.pids:
            truth, sidecar = self.truth["processes"][str(pid)], work / f"{pid}.json"
            if "absent" in truth:
                user.lacks(f"drgn: {truth['absent']}")
            elif not sidecar.exists():
                user.differs(f"pid {pid}: kdump-save-process-json wrote nothing")
            else:
                with serve(files, *self.options, "-j", str(sidecar)) as server:
                    self._process(server, truth, user, registers)
        yield user
        if registers.equal or registers.different or registers.absent:
            yield registers
        chains = Count("chains of threads", "none")
        chains.lacks("drgn unwinds no user stacks; tests/real/test_process_mode.py has their truth")
        yield chains

    def _process(
        self, server: Server, truth: dict[str, Any], user: Count, registers: Count
    ) -> None:
        asked = Asked(server.port, self.machine.byte_order)
        checks.user_memory(asked, truth, user)
        for tid in asked.threads():
            raw = truth["threads"].get(str(tid))
            if raw is None:
                registers.lacks("the thread was on a CPU")
                continue
            got = asked.registers(tid)
            checks.user_registers(tid, got, raw, *names_of(self.dump.arch, got), BITS, registers)
        asked.close()


def _failed(check: str, why: str) -> Count:
    count = Count(check, "drgn")
    count.differs(why)
    return count


def compare(dump: RealDump, name: str, *, full: bool) -> list[dict[str, Any]]:
    """All rows of one dump; if an oracle cannot be had, one that says so."""
    try:
        return list(Trial(dump, name, full=full).rows())
    except RuntimeError as error:
        count = Count("all", "drgn")
        count.lacks(f"drgn: {error}")
        return [{"dump": name, "form": "elf", "mode": "kernel", **asdict(count)}]
