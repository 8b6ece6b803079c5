"""Turns what the guest wrote to its facts disk into facts.json.

The wire format is that of guest/report.c: `FILE path length`, the raw bytes, a newline, ... `END`.
All numbers in the result are plain integers; addresses are virtual addresses in the guest.
"""

from __future__ import annotations

import json
import re
from typing import Any

from .errors import HarnessError

PF_KTHREAD = 0x00200000  # include/linux/sched.h
_COMM_LENGTH = 15  # TASK_COMM_LEN without the final zero


def parse(raw: bytes) -> dict[str, Any]:
    """The facts of one guest. Raises HarnessError if the report is cut short."""
    files = _split(raw)
    text = {path: data.decode(errors="surrogateescape") for path, data in files.items()}
    return {
        "release": text["/proc/sys/kernel/osrelease"].strip(),
        "version": text["/proc/version"].strip(),
        "cmdline": text["/proc/cmdline"].strip(),
        "cpus_online": text["/sys/devices/system/cpu/online"].strip(),
        "cpus_present": text["/sys/devices/system/cpu/present"].strip(),
        "vmcoreinfo_note": text.get("/sys/kernel/vmcoreinfo", "").strip(),
        "page_size": int(text["page_size"]),
        "shell_pid": int(text["/run/facts/shell_pid"]),
        "symbols": _symbols(text["/proc/kallsyms"]),
        "modules": _modules(text["/proc/modules"]),
        "iomem": text["/proc/iomem"],
        "cpuinfo": text["/proc/cpuinfo"],
        "dmesg": text["dmesg"],
        "tasks": _tasks(text),
        "programs": _programs(files, text),
        "processes": _processes(files, text),
    }


def _split(raw: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    at = 0
    while not raw.startswith(b"END\n", at):
        end = raw.find(b"\n", at)
        match = re.fullmatch(rb"FILE (.*) (\d+)", raw[at : max(end, at)])
        if not match:
            raise HarnessError(f"the guest's report breaks off at byte {at} of {len(raw)}")
        length = int(match.group(2))
        files[match.group(1).decode()] = raw[end + 1 : end + 1 + length]
        at = end + 1 + length + 1
    return files


def _symbols(text: str) -> dict[str, int]:
    lines = (line.split() for line in text.splitlines())
    return {name: int(address, 16) for address, _kind, name, *_module in lines}


def _modules(text: str) -> dict[str, dict[str, int]]:
    found = {}
    for line in text.splitlines():
        name, size, *_rest, _state, address = line.split()[:6]
        found[name] = {"size": int(size), "address": int(address, 16)}
    return found


def _tasks(text: dict[str, str]) -> list[dict[str, Any]]:
    """Every thread of every process, in the order of the thread ids."""
    tasks = []
    for path, status in text.items():
        match = re.fullmatch(r"/proc/\d+/task/(\d+)/status", path)
        if not match:
            continue
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        folder = path.removesuffix("/status")
        stat = text.get(f"{folder}/stat", "").rpartition(") ")[2].split()
        tasks.append({
            "tid": int(match.group(1)),
            "tgid": int(fields["Tgid"]),
            "ppid": int(fields["PPid"]),
            "comm": _comm(text.get(f"{folder}/comm", "")),
            "uid": int(fields["Uid"].split()[0]),
            "state": fields["State"][0],
            "kernel": bool(int(stat[6]) & PF_KTHREAD) if len(stat) > 6 else None,
            "cpu": int(stat[36]) if len(stat) > 36 else None,
            "wchan": text.get(f"{folder}/wchan", ""),
            "syscall": _syscall(text.get(f"{folder}/syscall", "")),
            "stack": re.findall(r"\] (\w+)\+", text.get(f"{folder}/stack", "")),
        })  # fmt: skip
    return sorted(tasks, key=lambda task: int(task["tid"]))


def _comm(text: str) -> str:
    """The name as task_struct.comm holds it: /proc adds to workers' names and shows longer ones."""
    name = text.rstrip("\n")
    worker = re.match(r"kworker/u?\d+:\d+H?(?=[-+])", name)
    return worker.group() if worker else name[:_COMM_LENGTH]


def _syscall(line: str) -> dict[str, Any] | None:
    """The system call a thread is blocked in, with its user stack pointer and program counter."""
    words = line.split()
    if len(words) != 9:
        return None
    numbers = [int(word, 0) for word in words]
    return {"number": numbers[0], "arguments": numbers[1:7], "sp": numbers[7], "pc": numbers[8]}


def _programs(files: dict[str, bytes], text: dict[str, str]) -> dict[str, dict[str, Any]]:
    programs = {}
    for path, content in text.items():
        name = path.removeprefix("/run/facts/")
        if name in (path, "shell_pid"):
            continue
        told: dict[str, Any] = json.loads(content)
        told |= _process(files, text, f"/proc/{told['pid']}")
        programs[name] = told
    return programs


def _processes(files: dict[str, bytes], text: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What /proc says of every process with an executable, by process id (as JSON wants: text)."""
    owners = [path.split("/")[2] for path in files if re.fullmatch(r"/proc/\d+/exe", path)]
    return {pid: _process(files, text, f"/proc/{pid}") for pid in owners}


def _process(files: dict[str, bytes], text: dict[str, str], folder: str) -> dict[str, Any]:
    pid = folder.rpartition("/")[2]
    return {
        "maps": _maps(text[f"{folder}/maps"]),
        "auxv": files[f"{folder}/auxv"].hex(),
        "cmdline": text[f"{folder}/cmdline"].rstrip("\0").split("\0"),
        "exe": text[f"{folder}/exe"],
        "status": text[f"{folder}/task/{pid}/status"],
    }


def _maps(text: str) -> list[dict[str, Any]]:
    """The lines of /proc/PID/maps; `end` is exclusive, `offset` in bytes, `path` may be empty."""
    maps = []
    for line in text.splitlines():
        span, access, offset, _device, inode, *path = line.split(None, 5)
        start, end = (int(part, 16) for part in span.split("-"))
        maps.append({"start": start, "end": end, "access": access, "offset": int(offset, 16),
                     "inode": int(inode), "path": path[0] if path else ""})  # fmt: skip
    return maps
