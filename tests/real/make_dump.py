#!/usr/bin/env python3
"""Makes one real crash dump (or finds it in the cache) and prints where everything is.

With --all makes those that a test run uses, which the tests then find.
"""

from __future__ import annotations

import argparse
import sys
import time

from harness import HarnessError, catalogue, real_dump
from harness.machines import MACHINES


def main() -> int:
    """Run the command line; the exit status is 1 if the dump cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", choices=sorted(MACHINES), default="x86_64")
    parser.add_argument("--release", default="6.1")
    parser.add_argument("--scenario", default="panic")
    parser.add_argument("--all", action="store_true", help="what `make test` wants, or all")
    options = parser.parse_args()
    return make_all() if options.all else make_one(options)


def make_all() -> int:
    """Make every dump of the catalogue, in its order; the exit status is 1 if one cannot be had."""
    status = 0
    for wanted in catalogue():
        began = time.monotonic()
        try:
            real_dump(wanted.release, wanted.scenario, wanted.arch)
        except HarnessError as error:
            print(f"make_dump: {wanted}: {error}", file=sys.stderr)
            status = 1
        else:
            print(f"{wanted}  {time.monotonic() - began:.1f} s", flush=True)
    return status


def make_one(options: argparse.Namespace) -> int:
    """Make the dump that the command line names, and say what there is of it."""
    began = time.monotonic()
    try:
        dump = real_dump(options.release, options.scenario, options.arch)
    except HarnessError as error:
        print(f"make_dump: {error}", file=sys.stderr)
        return 1
    print(f"dir       {dump.dir}\nrelease   {dump.release}\nvmlinux   {dump.vmlinux}")
    print(f"sysroot   {dump.sysroot}")
    for name, module in dump.module_debug.items():
        print(f"module    {name}: {module}")
    for form, paths in dump.dumps.items():
        print(f"dump      {form}: {' '.join(map(str, paths))}")
    for name, path in dump.programs.items():
        print(f"program   {name} (pid {dump.facts['programs'][name]['pid']}): {path}")
    print(f"tasks     {len(dump.facts['tasks'])}\nseconds   {time.monotonic() - began:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
