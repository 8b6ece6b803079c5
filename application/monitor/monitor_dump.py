"""Monitor commands about the dump as a whole: info, vmcoreinfo, dmesg."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime

from kdump_gdbserver.application.monitor.monitor_target import MonitorTarget, expect
from kdump_gdbserver.domain.dump_facts import DumpFacts, dump_level_classes
from kdump_gdbserver.domain.errors import InputError, MemoryFault
from kdump_gdbserver.domain.printk import LogRecord, kernel_log
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from kdump_gdbserver.ports.crash_dump import CrashDump

# How the log says that the kernel died, most telling first.
_LAST_WORDS = (
    "Kernel panic - not syncing",
    "BUG: ",
    "Unable to handle kernel",
    "Oops",
    "general protection fault",
    "watchdog: BUG",
    "sysrq: Trigger a crash",
)
# Records that are only looked at, between two signs of progress.
_RECORDS_AT_ONCE = 1000
# The prefix of a message in a plain-text log: level and time.
_PREFIX = re.compile(r"(<\d+>)?(\[ *\d+\.\d+\] )?")


def info(target: MonitorTarget, arguments: Sequence[str]) -> Iterator[str | None]:
    """Yield what is known of the dump, a fact a line."""
    expect("info", arguments, 0)
    panic = yield from _panic_message(target)
    dump = target.dump
    facts, vmcoreinfo_ = dump.facts, dump.vmcoreinfo
    for name, value in (
        ("dump", ", ".join(facts.paths)),
        ("format", _format(facts)),
        ("dump level", _level(facts)),
        ("complete", facts.missing_pages and f"no: {facts.missing_pages}"),
        ("taken by", "a hypervisor (QEMU)" if facts.hypervisor else None),
        ("shown", target.shown),
        ("current", target.current),
        ("architecture", facts.arch.name),
        ("host", facts.nodename),
        ("release", facts.release or vmcoreinfo_.release),
        ("version", facts.version),
        ("build-id", vmcoreinfo_.build_id),
        ("VMCOREINFO", _where(facts, vmcoreinfo_)),
        ("KASLR offset", _hex(vmcoreinfo_.kaslr_offset)),
        ("kernel at", target.text),
        ("names", target.symbols and target.symbols()),
        ("served", target.served and target.served()),
        ("wrong symbols", target.client_symbols and target.client_symbols.problem),
        ("CPUs", f"{facts.cpu_count} with registers"),
        ("memory", _stored(dump)),
        ("page size", f"{facts.page_size} bytes"),
        ("crash time", _crash_time(vmcoreinfo_)),
        ("panic", panic),
        ("unwind data", target.unwind_data),
        ("read by", facts.library or None),
        ("trouble", target.memory.trouble),
    ):
        if value:
            yield f"{name:<13} {value}"


def _where(facts: DumpFacts, vmcoreinfo_: Vmcoreinfo) -> str | None:
    """Say where the VMCOREINFO is from, unless the dump carries it as it should."""
    if facts.vmcoreinfo_at is not None:
        return (
            f"not in the dump's headers; found in its memory at {facts.vmcoreinfo_at:#x}, proved"
            " by the kernel's page tables and release"
        )
    return None if vmcoreinfo_.lines else "none; give it with --vmcoreinfo"


def _stored(dump: CrashDump) -> str | None:
    if dump.places is None:
        return None
    return f"{dump.places.stored_memory() / (1 << 20):.1f} MiB in the dump"


def _hex(value: int | None) -> str | None:
    return None if value is None else hex(value)


def _format(facts: DumpFacts) -> str:
    flattened = " (flattened)" if facts.flattened else ""
    return f"{facts.format}{f', {facts.codec}' if facts.codec else ''}{flattened}"


def _level(facts: DumpFacts) -> str | None:
    if facts.dump_level is None:
        return None
    left_out = ", ".join(dump_level_classes(facts.dump_level))
    return f"{facts.dump_level} (without {left_out})" if left_out else f"{facts.dump_level}"


def _crash_time(vmcoreinfo_: Vmcoreinfo) -> str:
    time = vmcoreinfo_.crash_time
    if time is None:
        return "not told (the kernel writes CRASHTIME for kdump only)"
    try:
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return f"{time} seconds since 1970"


def _panic_message(target: MonitorTarget) -> Generator[None, None, str]:
    found: dict[str, str] = {}
    try:
        for number, record in enumerate(_log(target)):
            if record is None or number % _RECORDS_AT_ONCE == 0:
                yield None
            if record is None:
                continue
            text = _PREFIX.sub("", record.text, count=1).split("\n", 1)[0]
            for words in _LAST_WORDS:
                if text.startswith(words):
                    found.setdefault(words, text)
    except (InputError, MemoryFault) as error:
        return f"the log cannot be read: {error}"
    return next((found[words] for words in _LAST_WORDS if words in found), "none in the log")


def _log(target: MonitorTarget) -> Iterator[LogRecord | None]:
    return kernel_log(target.memory.kernel(), target.dump.vmcoreinfo, target.dump.facts.arch)


def dmesg(target: MonitorTarget, arguments: Sequence[str]) -> Iterator[str | None]:
    """Yield the kernel's log, as dmesg(1) shows it."""
    expect("dmesg", arguments, 0)
    for record in _log(target):
        if record is None:
            yield None
        else:
            yield from record.lines()


def vmcoreinfo(target: MonitorTarget, arguments: Sequence[str]) -> Iterator[str]:
    """Yield the lines of VMCOREINFO."""
    expect("vmcoreinfo", arguments, 0)
    lines = target.dump.vmcoreinfo.lines
    if not lines:
        raise InputError("the dump has no VMCOREINFO; give it with --vmcoreinfo")
    yield from (f"{key}={value}" for key, value in lines.items())
