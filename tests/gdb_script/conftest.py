"""What the gdb script loads, with a stand-in for the `gdb` module it runs in."""

import runpy
import sys
import types
from pathlib import Path

import pytest

ROOT = "kdump_gdb_script"
SCRIPT = Path(__file__).parents[2] / "gdb" / "KdumpGdbCommands.py"


class StandInCommand:
    """gdb.Command as far as registering needs it."""

    def __init__(self, name, command_class, completer=None):
        self.name = name
        self.completer = completer
        sys.modules["gdb"].commands.append(self)

    def dont_repeat(self):
        pass


class StandInUnwinder:
    """gdb.unwinder.Unwinder, likewise."""

    def __init__(self, name):
        self.name = name


class StandInDecorator:
    """gdb.FrameDecorator.FrameDecorator, likewise."""

    def __init__(self, base):
        self.base = base

    def inferior_frame(self):
        return self.base.inferior_frame()

    def frame_args(self):
        return self.base.frame_args()


def stand_in() -> types.ModuleType:
    gdb = types.ModuleType("gdb")
    gdb.Command = StandInCommand
    gdb.commands = []
    gdb.frame_filters = {}
    gdb.error = type("error", (RuntimeError,), {})
    gdb.MemoryError = type("MemoryError", (gdb.error,), {})
    gdb.GdbError = type("GdbError", (Exception,), {})
    gdb.COMMAND_DATA, gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME, gdb.STDERR = 1, 3, 2, 1
    gdb.FrameDecorator = types.ModuleType("gdb.FrameDecorator")
    gdb.FrameDecorator.FrameDecorator = StandInDecorator
    gdb.FrameDecorator.SymValueWrapper = lambda name, value: (name, value)
    gdb.unwinder = types.ModuleType("gdb.unwinder")
    gdb.unwinder.Unwinder = StandInUnwinder
    gdb.unwinder.registered = []
    gdb.unwinder.register_unwinder = lambda locus, unwinder, replace: (
        gdb.unwinder.registered.append((locus, unwinder, replace))
    )
    return gdb


@pytest.fixture(scope="session")
def script():
    """Every module that the script loads, by its short name, as the script has loaded it."""
    gdb = stand_in()
    before = dict(sys.modules)
    sys.modules.update(
        {"gdb": gdb, "gdb.unwinder": gdb.unwinder, "gdb.FrameDecorator": gdb.FrameDecorator}
    )
    try:
        runpy.run_path(str(SCRIPT))
        loaded = {name: m for name, m in sys.modules.items() if name.startswith(ROOT + ".")}
        by_name = {name.rpartition(".")[2]: module for name, module in loaded.items()}
        # More than one folder has one of that name.
        by_name["errors"] = loaded[ROOT + ".domain.kernel.errors"]
        by_name["symbols"] = loaded[ROOT + ".domain.kernel.symbols"]
        by_name["gdb_symbols"] = loaded[ROOT + ".gdb.kdump_commands.symbols"]
        by_name["process"] = loaded[ROOT + ".domain.kernel.process.process"]
        yield types.SimpleNamespace(**by_name)
    finally:
        for name in [*before, *sys.modules]:
            if name.split(".")[0] in ("gdb", ROOT):
                sys.modules.pop(name, None)
                if name in before:
                    sys.modules[name] = before[name]
