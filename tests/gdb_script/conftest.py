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


class StandInDecorator:
    """gdb.FrameDecorator.FrameDecorator as far as the script uses it."""

    def __init__(self, base):
        self._base = base

    def inferior_frame(self):
        return self._base if not isinstance(self._base, StandInDecorator) else None


def stand_in() -> dict[str, types.ModuleType]:
    """The modules the script imports from gdb, by name."""
    gdb = types.ModuleType("gdb")
    gdb.unwinder = types.ModuleType("gdb.unwinder")
    gdb.unwinder.register_unwinder = lambda locus, unwinder, replace=False: None
    gdb.FrameDecorator = types.ModuleType("gdb.FrameDecorator")
    gdb.FrameDecorator.FrameDecorator = StandInDecorator
    gdb.frame_filters = {}
    gdb.FRAME_UNWIND_UNAVAILABLE = 3
    gdb.Command = StandInCommand
    gdb.error = type("error", (RuntimeError,), {})
    gdb.MemoryError = type("MemoryError", (gdb.error,), {})
    gdb.GdbError = type("GdbError", (Exception,), {})
    gdb.COMMAND_DATA, gdb.COMPLETE_FILENAME, gdb.STDERR = 1, 2, 1
    return {
        "gdb": gdb,
        "gdb.unwinder": gdb.unwinder,
        "gdb.FrameDecorator": gdb.FrameDecorator,
    }


@pytest.fixture(scope="session")
def script():
    """KdumpGdbCommands.py, loaded once."""
    modules = stand_in()
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
