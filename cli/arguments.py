"""The command line's options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from kdump_gdbserver.domain.text import printable

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 1234
_LONGEST = 2e6  # seconds; poll(2) takes no more than an int of milliseconds

_EPILOG = """\
Then, in gdb:  file VMLINUX  and  target remote HOST:PORT  (as printed).
Started by a systemd socket unit, it serves the sockets that systemd opened.
Exit status: 0 after a normal end, 2 when something given cannot be used.
"""


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port; give 0 to 65535 (0: any free)")
    return port


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < _LONGEST:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds; give e.g. 600")
    return seconds


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; name a file")
    return text


class _Parser(argparse.ArgumentParser):
    """Prints a usage error on one line, like all other errors."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, printable(f"{self.prog}: error: {message} (--help lists all options)") + "\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser for `kdump-gdbserver`."""
    parser = _Parser(
        prog="kdump-gdbserver",
        description="Show a Linux kernel crash dump (vmcore) to gdb over its remote protocol.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    dump = parser.add_argument_group("the dump")
    dump.add_argument(
        "-f",
        "--file",
        action="append",
        type=_path,
        metavar="VMCORE",
        help="the dump; once for each part of a split one",
    )
    dump.add_argument(
        "-v",
        "--vmlinux",
        metavar="VMLINUX",
        help="the kernel's symbol file; with -j the executable",
    )
    dump.add_argument(
        "--symbols",
        choices=("dump", "vmlinux", "none"),
        help="what a gdb without a file gets: names and types out of the dump, or the kernel's"
        " vmlinux (default: the vmlinux if one is found, else what the dump has)",
    )
    dump.add_argument(
        "--no-cache",
        action="store_true",
        help="neither use nor keep symbols made of earlier dumps (in ~/.cache/kdump-gdbserver)",
    )
    dump.add_argument("--arch", metavar="ARCH", help="architecture of a dump that tells none")
    dump.add_argument(
        "--vmcoreinfo", metavar="FILE", help="VMCOREINFO text to use instead of the dump's"
    )
    dump.add_argument(
        "--libkdumpfile", metavar="PATH", help="the libkdumpfile shared library to use"
    )
    view = parser.add_argument_group("what to show (default: the kernel, one thread for each CPU)")
    view.add_argument(
        "-k",
        "--kernel-tasks",
        metavar="JSON",
        help="every kernel task as a thread; the file is what kdump-save-kernel-json wrote",
    )
    view.add_argument(
        "-j",
        "--process",
        metavar="JSON",
        help="one user process; the file is what kdump-save-process-json wrote",
    )
    view.add_argument(
        "--sysroot",
        metavar="DIR",
        help="with -j: the dumped machine's / or a copy of it, for pages of mapped files that"
        " the dump left out, and for the client to read programs and libraries from",
    )
    server = parser.add_argument_group("the server")
    server.add_argument(
        "-a",
        "--address",
        metavar="HOST",
        default=DEFAULT_HOST,
        help=f"address to listen on (default {DEFAULT_HOST}); whoever can connect can read the"
        " whole dump, so others than this machine's are warned about",
    )
    server.add_argument(
        "-p",
        "--port",
        type=_port,
        metavar="PORT",
        default=DEFAULT_PORT,
        help=f"port to listen on, 0 for a free one (default {DEFAULT_PORT})",
    )
    place = server.add_mutually_exclusive_group()
    place.add_argument(
        "--unix", metavar="PATH", help="listen on a Unix socket that only you can connect to"
    )
    place.add_argument(
        "--stdio",
        action="store_true",
        help="serve one client on standard input and output:"
        " (gdb) target remote | kdump-gdbserver -f VMCORE --stdio",
    )
    server.add_argument(
        "--idle-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="drop clients that are silent for so long (default: never)",
    )
    server.add_argument("--once", action="store_true", help="end when the first client has left")
    logs = parser.add_argument_group("logging (to standard error, unless told otherwise)")
    logs.add_argument("-d", "--debug", action="store_true", help="log every packet")
    logs.add_argument("--log-json", action="store_true", help="log as JSON lines")
    logs.add_argument(
        "--log-file", metavar="FILE", help="add the log to a file that only you may read"
    )
    parser.add_argument(
        "--print-gdb-script", action="store_true", help="print the path of the gdb script and end"
    )
    parser.add_argument(
        "--write-gdb-script",
        type=_path,
        metavar="FILE",
        help="write the gdb script as one file, which needs nothing beside it, and end",
    )
    parser.add_argument(
        "--save-symbols",
        type=_path,
        metavar="FILE",
        help="write the dump's own names and types as an ELF file for other debuggers, and end",
    )
    parser.add_argument(
        "--no-sandbox",
        action="store_true",
        help="open the dump in the process that you start, with all its rights: for systems where"
        " the process of its own, which gives them up, does not work",
    )
    parser.add_argument("--version", action="store_true", help="print versions and end")
    return parser


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; ends the program with status 2 on a usage error."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    alone = options.version or options.print_gdb_script or options.write_gdb_script
    if not (alone or options.file):
        parser.error("no dump given; give one with -f VMCORE")
    if options.process is not None and options.kernel_tasks is not None:
        parser.error("-k shows the kernel and -j a process; give one of them")
    if options.save_symbols is not None and options.process is not None:
        parser.error("--save-symbols is for the kernel's; leave -j out")
    if options.sysroot is not None and options.process is None:
        parser.error("--sysroot is for a process; give one with -j JSON")
    return options
