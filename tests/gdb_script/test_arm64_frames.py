"""arm64 frames that gdb takes for code that is not there: what the unwinder tells of them."""

from types import SimpleNamespace

import pytest

from kdump_gdbserver.domain.arch import AARCH64
from tests.gdb_script.fakes import FakeMemory
from tests.gdb_script.test_interrupt_stacks import Frame, Value

MASK = 0xFFFF_0000_0000_0000
CODE = 0xFFFF_A640_AA22_71B0
INIT = 0xFFFF_A640_AB39_0000  # freed after boot
SIGNED = CODE & ~MASK
SP = 0xFFFF_8000_0838_3AB0
RECORD = SP + 0x40


@pytest.fixture
def session(script, monkeypatch):
    raw = FakeMemory(script)
    raw.map(CODE, bytes(16))
    raw.map(
        RECORD, (RECORD + 64).to_bytes(8, "little") + (CODE ^ 0x20B6 << 48).to_bytes(8, "little")
    )

    def read(address, size):
        try:
            return raw.fetch(address, size)
        except script.errors.Unreadable:
            raise script.target.gdb.MemoryError("no memory") from None

    gdb = script.target.gdb
    inferior = SimpleNamespace(read_memory=read)
    monkeypatch.setattr(gdb, "selected_inferior", lambda: inferior, raising=False)
    monkeypatch.setattr(gdb, "Value", Value, raising=False)
    state = SimpleNamespace(raw=raw, unwind=script.arm64_frames.Arm64Frames())
    state.frame = lambda **registers: Frame(
        script, "aarch64", **{"sp": SP, "pauth_cmask": MASK, "x29": RECORD, **registers}
    )
    return state


def test_a_cleared_return_address_leads_to_the_code_that_was_meant(session):
    frame = session.frame(pc=SIGNED, x19=7, x30=None)
    assert session.unwind(frame) is frame
    assert frame.frame_id == (SP, SIGNED)
    assert (frame.saved["pc"], frame.saved["sp"], frame.saved["x19"]) == (CODE, SP, 7)
    assert "x30" not in frame.saved  # what is not known stays so


def test_code_that_is_gone_is_left_by_its_frame_record(session):
    frame = session.frame(pc=INIT)
    assert session.unwind(frame) is frame
    signed = CODE ^ 0x20B6 << 48
    assert (frame.saved["pc"], frame.saved["x29"]) == (CODE, RECORD + 64)
    assert frame.saved["x30"] == signed
    session.raw.map(RECORD, bytes(16))
    first = session.frame(pc=INIT)
    session.unwind(first)
    assert first.saved["pc"] == 0


PROGRAM = {"pc": 0xAAAA_D619_141C, "sp": 0xFFFF_90B5_E800, "cpsr": 0x1000}


def test_the_stack_of_a_cpu_in_a_user_program_ends_there(script, session):
    assert AARCH64.spare_address == script.arm64_frames.UNWIND_IMAGE
    assert session.unwind(session.frame(**PROGRAM)) is None  # in process mode there is no image
    session.raw.map(AARCH64.spare_address, b"\x7fELF")
    frame = session.frame(**PROGRAM)
    assert session.unwind(frame) is frame
    assert frame.frame_id == (PROGRAM["sp"], PROGRAM["pc"])
    assert frame.saved["pc"] == 0  # where gdb ends, and says nothing
    for other in ({"cpsr": 0x1005}, {"cpsr": None}, {"pc": 0}):
        assert session.unwind(session.frame(**{**PROGRAM, **other})) is None


@pytest.mark.parametrize(
    "registers",
    [
        {"pc": CODE},  # gdb's own
        {"pc": SIGNED, "sp": 0xFFFF_8200_E800},  # a program's
        {"pc": SIGNED, "pauth_cmask": 0},
        {"pc": INIT, "x29": 0},
        {"pc": 0},
        {"pc": None},
    ],
)
def test_all_other_frames_are_left_to_gdb(session, registers):
    assert session.unwind(session.frame(**registers)) is None


def test_other_architectures_are_left_alone(script, session):
    assert session.unwind(Frame(script, "i386:x86-64", rsp=SP, rip=CODE)) is None


class Older:
    """gdb.Frame."""

    def __init__(self, pc, older=None, newer=None, arch="aarch64"):
        self._pc, self._older, self._newer, self.arch = pc, older, newer, arch

    def architecture(self):
        return SimpleNamespace(name=lambda: self.arch)

    def pc(self):
        return self._pc

    def older(self):
        return self._older

    def newer(self):
        return self._newer

    def read_register(self, name):
        return Value(MASK if name == "pauth_cmask" else 0)


def test_backtraces_leave_out_what_is_no_code(script):
    code = Older(CODE)
    frames = [
        Older(0),
        Older(SIGNED, older=code),
        code,
        Older(SIGNED, older=Older(INIT)),
        Older(0, newer=code),
    ]
    decorated = [SimpleNamespace(inferior_frame=lambda frame=frame: frame) for frame in frames]
    kept = list(script.arm64_frames.MeantFrames.filter(iter(decorated)))
    assert [each.inferior_frame() for each in kept] == [frames[0], code, frames[3]]


@pytest.fixture
def newest(script, monkeypatch):
    """Sets gdb's newest frame."""

    def set_to(frame):
        monkeypatch.setattr(script.target.gdb, "newest_frame", lambda: frame, raising=False)

    return set_to


def test_the_filter_is_asked_only_where_it_leaves_out_something(script, newest):
    gdb, made = script.target.gdb, script.arm64_frames.MeantFrames()
    assert gdb.frame_filters[made.name] is made
    code = Older(CODE)
    signed = Older(CODE, older=Older(SIGNED, older=code))
    started = Older(CODE, older=Older(0, newer=code))
    for frame, wanted in (
        (signed, True),
        (started, True),
        (Older(CODE, older=code), False),
        (Older(CODE, older=Older(SIGNED, older=code), arch="i386:x86-64"), False),
    ):
        newest(frame)
        assert made.enabled is wanted
    newest(signed)
    made.enabled = False
    assert not made.enabled


def test_a_dead_task_has_no_backtrace_to_leave_something_out_of(script, monkeypatch):
    gdb, made = script.target.gdb, script.arm64_frames.MeantFrames()

    def none():
        raise gdb.error("PC not available")

    monkeypatch.setattr(gdb, "newest_frame", none, raising=False)
    assert not made.enabled


def test_an_argument_that_cannot_be_read_does_not_end_the_line(script):
    gdb = script.target.gdb

    def argument(error):
        def fetch():
            if error is not None:
                raise error

        value = SimpleNamespace(fetch_lazy=fetch)
        symbol = SimpleNamespace(value=lambda frame: value)
        return SimpleNamespace(symbol=lambda: symbol)

    given = [argument(None), argument(gdb.MemoryError("no memory")), argument(gdb.error("?"))]
    base = SimpleNamespace(inferior_frame=lambda: Older(CODE), frame_args=lambda: given)
    first, second, third = script.arm64_frames.Shown(base).frame_args()
    assert (first, third) == (given[0], given[2])
    assert second[1] == "<error: no memory>"
    base.frame_args = lambda: None
    assert script.arm64_frames.Shown(base).frame_args() is None
