"""The gdb script as a module, with a stand-in for the `gdb` module it runs in."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "gdb" / "KdumpGdbCommands.py"


class StandInCommand:
    """gdb.Command as far as the script's module level needs it."""

    def __init__(self, name, command_class, completer=None):
        self.name = name
        self.completer = completer

    def dont_repeat(self):
        pass


class StandInUnwinder:
    """gdb.unwinder.Unwinder, likewise."""

    def __init__(self, name):
        self.name = name


def stand_in() -> types.ModuleType:
    gdb = types.ModuleType("gdb")
    gdb.Command = StandInCommand
    gdb.error = type("error", (RuntimeError,), {})
    gdb.MemoryError = type("MemoryError", (gdb.error,), {})
    gdb.GdbError = type("GdbError", (Exception,), {})
    gdb.COMMAND_DATA, gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME, gdb.STDERR = 1, 3, 2, 1
    gdb.unwinder = types.ModuleType("gdb.unwinder")
    gdb.unwinder.Unwinder = StandInUnwinder
    gdb.unwinder.registered = []
    gdb.unwinder.register_unwinder = lambda locus, unwinder, replace: (
        gdb.unwinder.registered.append((locus, unwinder, replace))
    )
    return gdb


@pytest.fixture(scope="session")
def script():
    """KdumpGdbCommands.py, loaded once."""
    gdb = stand_in()
    modules = {"gdb": gdb, "gdb.unwinder": gdb.unwinder}
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        spec = importlib.util.spec_from_file_location("KdumpGdbCommands", SCRIPT)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
