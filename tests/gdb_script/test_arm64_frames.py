"""arm64 frames that gdb takes for code that is not there: what the unwinder tells of them."""

from types import SimpleNamespace

import pytest

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

    def __init__(self, pc, older=None, newer=None):
        self._pc, self._older, self._newer = pc, older, newer

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
    assert kept == [decorated[0], decorated[2], decorated[3]]


def test_the_filter_is_for_arm64_alone(script, monkeypatch):
    gdb, made = script.target.gdb, script.arm64_frames.MeantFrames()
    assert gdb.frame_filters[made.name] is made
    for name, wanted in (("aarch64", True), ("i386:x86-64", False)):
        arch = SimpleNamespace(name=lambda name=name: name)
        frame = SimpleNamespace(architecture=lambda arch=arch: arch)
        monkeypatch.setattr(gdb, "selected_frame", lambda frame=frame: frame, raising=False)
        assert made.enabled is wanted
    made.enabled = False
    assert not made.enabled

    def none():
        raise gdb.error("No frame")

    made.enabled = True
    monkeypatch.setattr(gdb, "selected_frame", none, raising=False)
    assert not made.enabled
