"""Compare real dumps with the oracles and write what came of it as JSON.

usage: python -m tests.real.oracle [--full] [--folders FOLDER] [--dump NAME]... FILE
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.real.harness import HarnessError, RealDump, real_dump
from tests.real.oracle import run, table
from tests.real.oracle.dumps import every_dump, from_folder, parted


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare real dumps with drgn and QEMU.")
    parser.add_argument("file", type=Path, help="JSON to write (- for none)")
    parser.add_argument("--full", action="store_true", help="ask gdb about every form of a dump")
    parser.add_argument("--dump", action="append", default=[], metavar="ARCH/RELEASE-SCENARIO")
    parser.add_argument("--folders", type=Path, help="where dumps are that were made elsewhere")
    options = parser.parse_args()
    rows, missing = [], {}
    for name in options.dump or every_dump():
        started = time.monotonic()
        try:
            dump = _dump(name, options.folders)
        except HarnessError as error:
            missing[name] = str(error)
            print(f"{name}: {error}", flush=True)
            continue
        found = run.compare(dump, name, full=options.full)
        rows += found
        for row in found:
            print(table.line(row), flush=True)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    if options.file != Path("-"):
        table.save(options.file, rows, missing)
    return 1 if any(row["different"] for row in rows) else 0


def _dump(name: str, folders: Path | None) -> RealDump:
    if folders is not None:
        return from_folder(folders / name)
    arch, release, scenario = parted(name)
    return real_dump(release, scenario, arch)


if __name__ == "__main__":
    sys.exit(main())
