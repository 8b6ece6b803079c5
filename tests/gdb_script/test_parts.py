"""The script's smaller parts: per-CPU addresses, notes, registers, the file."""

import json
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gdb_script.fakes import FakeMemory
from tests.support.note_writer import note

KASLR = 0x2600000
AREAS = {0: 0xFFFF_8880_1EA0_0000, 1: 0xFFFF_8880_1EB0_0000, 3: 0xFFFF_8880_1ED0_0000}
LINKED = 0x31980  # of runqueues where __per_cpu_start is 0


def right(truth):
    return lambda cpu, address: truth[cpu] == address


@pytest.mark.parametrize("shift", [0, KASLR])  # section loaded at 0; moved along by -o or qOffsets
def test_per_cpu_section_linked_at_zero(script, shift):
    truth = {cpu: area + LINKED for cpu, area in AREAS.items()}
    base = script.percpu.per_cpu_base(LINKED + shift, shift, AREAS, right(truth))
    assert base == LINKED


def test_per_cpu_section_inside_the_image(script):
    symbol, start = 0xFFFF_FFFF_8560_1980, 0xFFFF_FFFF_8560_0000
    offsets = {cpu: (area - start) % 2**64 for cpu, area in AREAS.items()}
    truth = {cpu: area + 0x1980 for cpu, area in AREAS.items()}
    assert script.percpu.per_cpu_base(symbol, start, offsets, right(truth)) == symbol


def test_per_cpu_base_unknown_when_no_copy_is_right(script):
    assert script.percpu.per_cpu_base(LINKED, None, AREAS, lambda cpu, address: False) is None


def test_one_wrong_cpu_is_enough_to_refuse(script):
    truth = {cpu: area + LINKED for cpu, area in AREAS.items()}
    truth[3] += 8
    assert script.percpu.per_cpu_base(LINKED, 0, AREAS, right(truth)) is None


def test_a_cpu_that_is_not_in_the_dump_does_not_count(script):
    truth = {cpu: area + LINKED for cpu, area in AREAS.items()}

    def look(cpu, address):
        return None if cpu == 1 else truth[cpu] == address

    assert script.percpu.per_cpu_base(LINKED + KASLR, KASLR, AREAS, look) == LINKED
    assert script.percpu.per_cpu_base(LINKED, 0, AREAS, lambda cpu, address: None) is None


@given(st.sets(st.integers(0, 255)), st.sampled_from(["little", "big"]))
def test_cpu_masks(script, cpus, byte_order):
    words = [0, 0, 0, 0]
    for cpu in cpus:
        words[cpu // 64] |= 1 << cpu % 64
    data = b"".join(word.to_bytes(8, byte_order) for word in words)
    assert script.percpu.bits_set(data, byte_order) == sorted(cpus)


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_build_id_among_other_notes(script, byte_order):
    notes = note(b"Xen", 3, b"odd", byte_order) + note(b"GNU", 3, bytes(range(20)), byte_order)
    assert script.notes.find_build_id(notes, byte_order) == bytes(range(20)).hex()


@given(st.binary(max_size=64))
def test_notes_of_garbage_raise_nothing(script, garbage):
    found = script.notes.find_build_id(garbage, "little")
    assert found is None or len(found) % 2 == 0


def test_vmcoreinfo(script):
    text = (
        b"OSRELEASE=6.1.0\nBUILD-ID=00ff\nNUMBER(x)=a=b\nKERNELOFFSET=2600000\n\nrubbish\n\0tail=1"
    )
    assert script.vmcoreinfo.Vmcoreinfo.parse(text).lines == {
        "OSRELEASE": "6.1.0",
        "BUILD-ID": "00ff",
        "NUMBER(x)": "a=b",
        "KERNELOFFSET": "2600000",
    }


def test_vmcoreinfo_numbers_that_are_none_are_unknown(script):
    text = b"CRASHTIME=soon\nKERNELOFFSET=\nBUILD-ID=xyz\nOSRELEASE=1\n"
    info = script.vmcoreinfo.Vmcoreinfo.parse(text)
    assert (info.crash_time, info.kaslr_offset, info.build_id) == (None, None, None)
    assert info.release == "1"


# -- registers


class KernelOfLayouts:
    """What an architecture asks of the kernel."""

    def __init__(self, script, memory, layouts=(), addresses=()):
        self.memory = script.memory.Memory(memory.fetch)
        self.layouts = dict(layouts)
        self.addresses = dict(addresses)

    def layout(self, name, required=(), optional=(), renamed=None):
        return self.layouts[name]

    def address(self, name):
        return self.addresses[name]


FRAMES = {
    "with flags": ("flags r15 r14 r13 r12 bx bp ret_addr", {}),
    "without flags": ("r15 r14 r13 r12 bx bp ret_addr", {}),
    "other order": ("r12 bx r13 r14 r15 bp ret_addr", {}),
}


@pytest.mark.parametrize("order", [words for words, _ in FRAMES.values()], ids=FRAMES)
def test_x86_64_switch_frame_by_names(script, order):
    sp = 0xFFFF_C900_0000_3E00
    names = order.split()
    members = {
        name: script.memory.Member(8 * index, 8)
        for index, name in enumerate(names)
        if name in script.x86_64.X86_64.task_state.frame_registers
    }
    memory = FakeMemory(script)
    memory.map(sp, b"".join((0x1000 + ord(n[-1])).to_bytes(8, "little") for n in names))
    frame = script.memory.Layout(8 * len(names), members)
    kernel = KernelOfLayouts(script, memory, {"struct inactive_task_frame": frame})
    state = script.x86_64.X86_64.task_state(kernel)
    registers = state.switch_registers({"saved.sp": sp})
    assert registers.pop("rsp") == sp + 8 * len(names)  # behind the return address
    kernel_names = {"rbx": "bx", "rbp": "bp", "rip": "ret_addr"}
    assert registers == {
        name: 0x1000 + ord(kernel_names.get(name, name)[-1])
        for name in ("rbx", "rbp", "r12", "r13", "r14", "r15", "rip")
    }


STEXT = {48: 0xFFFF_8000_0800_0000, 52: 0xFFFF_8000_8001_0000, 39: 0xFFFF_FFC0_0800_0000}


@pytest.mark.parametrize("va_bits", STEXT)
@given(code=st.integers(0, 2**16 - 1), offset=st.integers(0, 2**24))
def test_aarch64_authentication_codes_are_stripped(script, va_bits, code, offset):
    kernel = KernelOfLayouts(script, FakeMemory(script), addresses={"_stext": STEXT[va_bits]})
    state = script.aarch64.AARCH64.task_state(kernel)
    address = STEXT[va_bits] + 4 * offset
    # The code takes bits 54 to va_bits and 63 to 56; bit 55 stays (Arm ARM).
    room = (1 << 64) - (1 << va_bits) & ~(1 << 55)
    signed = address & ~room | (code * 0x1_0001_0001_0001) & room
    assert state.code_address(signed) == address


def test_aarch64_registers_have_gdbs_names_and_no_others(script):
    kernel = KernelOfLayouts(script, FakeMemory(script), addresses={"_stext": STEXT[48]})
    state = script.aarch64.AARCH64.task_state(kernel)
    values = {"saved." + name: 100 + n for n, name in enumerate(state.context)}
    registers = state.switch_registers(values)
    assert list(registers) == [f"x{n}" for n in range(19, 30)] + ["sp", "pc"]
    assert registers["x29"] == values["saved.fp"]


def test_riscv64_registers_have_gdbs_names(script):
    state = script.riscv64.RISCV64.task_state(KernelOfLayouts(script, FakeMemory(script)))
    saved = b"".join((200 + n).to_bytes(8, "little") for n in range(12))
    task = {"saved.s": saved, "saved.ra": 1, "saved.sp": 2}
    expected = {"fp": 200, **{f"s{n}": 200 + n for n in range(1, 12)}, "pc": 1, "sp": 2}
    assert state.switch_registers(task) == expected


def test_ppc64le_switch_frame_ends_in_its_registers(script):
    sp, outer = 0xC000_0000_0726_B7F0, 0xC000_0000_0726_B9E0
    size = 384
    memory = FakeMemory(script)
    regs = [300 + n for n in range(32)] + [0xC000_0000_0001_0000, 7] + [0] * 14
    memory.map(sp, outer.to_bytes(8, "little") + bytes(outer - size - sp - 8)
               + b"".join(value.to_bytes(8, "little") for value in regs))  # fmt: skip
    member = script.memory.Member
    layout = script.memory.Layout(
        size, {"gpr": member(0, 256, "bytes"), "nip": member(256, 8), "ccr": member(264, 8)}
    )
    kernel = KernelOfLayouts(script, memory, {"struct pt_regs": layout})
    registers = script.ppc64le.PPC64LE.task_state(kernel).switch_registers({"saved.sp": sp})
    expected = {f"r{n}": 300 + n for n in range(14, 32)}
    assert registers == {**expected, "pc": 0xC000_0000_0001_0000, "cr": 7, "r1": outer}


def test_s390x_switch_frame_is_that_of_the_abi(script):
    sp = 0x37F_FFD8_BC00
    memory = FakeMemory(script)
    memory.map(sp, bytes(48) + b"".join((600 + n).to_bytes(8, "big") for n in range(10)))
    layout = script.memory.Layout(128, {"gprs": script.memory.Member(48, 80, "bytes")})
    kernel = KernelOfLayouts(script, memory, {"struct stack_frame": layout})
    kernel.memory = script.memory.Memory(memory.fetch, "big")
    registers = script.s390x.S390X.task_state(kernel).switch_registers({"saved.sp": sp})
    assert registers == {**{f"r{6 + n}": 600 + n for n in range(10)}, "pswa": 608}


def test_pointer_tags_are_stripped(script):
    clean = script.aarch64.AARCH64.clean_pointer
    assert clean(0xF1FF_8000_0800_0000) == 0xFFFF_8000_0800_0000
    assert clean(0x0000_7FFF_0800_0000) == 0x0000_7FFF_0800_0000


def test_layout_reads_once_and_decodes(script):
    memory = FakeMemory(script)
    memory.map(0x1000, bytes(range(64)))
    layout = script.memory.Layout(
        64,
        {
            "a": script.memory.Member(8, 4),
            "b": script.memory.Member(2, 3, "bytes"),
            "c": script.memory.Member(24, 8, "pointer"),
        },
    )
    fetched = script.memory.Memory(memory.fetch, clean=lambda address: address & 0xFF)
    assert layout.read(fetched, 0x1000) == {"a": 0x0B0A0908, "b": b"\2\3\4", "c": 0x18}
    assert memory.reads == 1


# -- the file


def test_json_is_one_line_an_item(script):
    content = {"format": "x", "threads": [{"pid": 1}, {"pid": 2}], "errors": [], "cpus": [{}]}
    text = script.sidecar_file.json_text(content)
    assert json.loads(text) == content
    assert '  {"pid": 1},\n  {"pid": 2}\n' in text


def test_file_is_private_and_replaced_whole(script, tmp_path):
    path = tmp_path / "a file"
    path.write_text("older")
    path.chmod(0o644)
    script.sidecar_file.write_whole(str(path), "new\n")
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (OSError(28, "No space left on device"), True),
        (KeyboardInterrupt(), False),
    ],
)
def test_failing_or_interrupted_write_leaves_the_older_file(
    script, tmp_path, monkeypatch, failure, told
):
    path = tmp_path / "tasks.json"
    path.write_text("older")

    def fail(_descriptor):
        raise failure

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(script.errors.KdumpError if told else KeyboardInterrupt) as caught:
        script.sidecar_file.write_whole(str(path), "new")
    if told:
        assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_told(script, tmp_path):
    path = tmp_path / "no" / "file"
    with pytest.raises(script.errors.KdumpError, match="No such file or directory") as caught:
        script.sidecar_file.write_whole(str(path), "new")
    assert str(path) in str(caught.value)


def test_a_link_keeps_pointing_at_its_file(script, tmp_path):
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "target"
    target.write_text("older")
    link = tmp_path / "link"
    link.symlink_to(target)
    script.sidecar_file.write_whole(str(link), "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a link another user's")
def test_a_link_that_another_user_has_put_there_is_not_followed(script, tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("older")
    link.symlink_to(target)
    os.lchown(link, 65534, 65534)
    with pytest.raises(script.errors.KdumpError, match="another user's link"):
        script.sidecar_file.write_whole(str(link), "new")
    assert target.read_text() == "older"


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_regular_file_is_never_replaced(script, tmp_path, kind):
    path = tmp_path / kind
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    before = path.stat().st_ino
    with pytest.raises(script.errors.KdumpError, match="not a regular file"):
        script.sidecar_file.write_whole(str(path), "new")
    assert path.stat().st_ino == before


def test_home_is_expanded(script, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    script.sidecar_file.write_whole("~/k.json", "x")
    assert (tmp_path / "k.json").read_text() == "x"


# -- commands


def test_columns_are_those_users_know(script):
    row = script.command_kernel_ps.KernelPs.ROW
    header = "UID        PID        PPID       LWP        COMM                      ADDRESS\n"
    line = (
        "0          350        1          350        getty                     0xffffa08debe86c00\n"
    )
    assert row.format("UID", "PID", "PPID", "LWP", "COMM", "ADDRESS") == header
    assert row.format(0, 350, 1, 350, "getty", "0xffffa08debe86c00") == line


def registered(script, command):
    (found,) = [known for known in script.target.gdb.commands if known.name == command]
    return found


@pytest.mark.parametrize(
    "command", ["kdump-save-kernel-json", "kdump-save-process-json", "kdump-symbol-file"]
)
def test_file_commands_complete_file_names(script, command):
    assert registered(script, command).completer == script.target.gdb.COMPLETE_FILENAME


@pytest.mark.parametrize(
    "command",
    ["kdump-kernel-ps", "kdump-save-kernel-json", "kdump-save-process-json", "kdump-symbol-file"],
)
def test_help_tells_the_usage(script, command):
    assert f"Usage: {command}" in type(registered(script, command)).__doc__
