"""Connection: acknowledgement, retransmission, leaving, and the promise never to raise."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kdump_gdbserver.adapters.rsp_tcp.packets.dispatch import BY_LETTER, BY_WORD
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import MAX_PAYLOAD
from kdump_gdbserver.application.view import View
from tests.support.sessions import GDB, Debugger, FakeFiles, packet, sum_of, thread_of, view_of
from tests.support.strategies import splits

ODD = "né<&>\"'\x01\n\ud800\udc80"


def rich_view() -> View:
    """A view with everything a view can have."""
    return view_of(
        {0x1000: bytes(range(256)), 0x2000: b"#$}*" * 64},
        [thread_of(i, extra=f"CPU #{i} {ODD}", name=ODD, core=i) for i in range(1, 5)],
        text_segment=0xFFFFFFFF9F000000,
        auxv=b"\x06\0#$}*" * 9,
        files=FakeFiles({"/etc/passwd": b"root#$}*", "": b"nameless"}, {"/proc/self": "1#"}),
        exec_file=f"/bin/{ODD}",
        thread_locals=True,
    )


words = st.sampled_from(
    [bytes([letter]) for letter in BY_LETTER]
    + [word + separator for word in BY_WORD for separator in (b"", b":", b",", b";")]
    + [b"vFile:open:", b"vFile:pread:", b"vFile:stat:", b"qXfer:threads:read:", b"qXfer:auxv:read:"]
)
crumbs = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b":", b",", b";", b"p1.", b"-1", b"0", b"1", b"3", b"1000", b"ffffffffffffffff", b"read"]
    ),
    st.integers(0, 1 << 70).map(lambda n: b"%x" % n),
)
payloads = st.builds(
    lambda word, rest: word + b"".join(rest),
    st.one_of(st.just(b""), words),
    st.lists(crumbs, max_size=8),
)


@settings(max_examples=150)
@given(st.lists(payloads, max_size=12), st.booleans())
@example([b"qXfer:features:read:#$*}:0,10", b"m#,1", b"T*"], True)
@example([b"qGetTLSAddr:1,0,bad"], True)
@example([b"vFile:open:2F00FF,0,0", b"vFile:open:,0,0", b"vFile:stat:FFFE"], False)
@example([b"qXfer:threads:read::0,ffff", b"qThreadExtraInfo,1"], False)
@example([b"qXfer:exec-file:read::0,ffff"], False)
def test_any_packets_get_at_most_one_frame_each_and_nothing_raises(
    given_: list[bytes], like_gdb: bool
) -> None:
    debugger = Debugger(rich_view())
    if like_gdb:
        debugger.start(*GDB)
    for payload in given_:
        if debugger.ask(payload) == b"OK" and payload.startswith(b"QStartNoAckMode"):
            debugger.acknowledged = False
        if debugger.connection.closed:
            return
    assert debugger.data(b"?")[:3] in {b"T05", b"W00"}


@given(st.binary(max_size=400))
@example(b"$#")
@example(b"$#K")
@example(packet(b"QStartNoAckMode") + b"$#")
def test_any_bytes_leave_the_connection_usable(garbage: bytes) -> None:
    debugger = Debugger(rich_view())
    debugger.connection.receive(garbage)
    if debugger.connection.closed:
        return
    # Whatever was left unfinished, a new packet begins with "$", unless that was taken for
    # a digit of a checksum ("$#" came before); then the next one does.
    answers = [debugger.connection.receive(packet(b"qAttached")) for _ in range(2)]
    assert answers[1].endswith(b"$1#31")
    assert answers[0].endswith(b"$1#31") or b"#" in garbage[-2:]


conversation = [b"qSupported:multiprocess+", b"?", b"Hgp1.3", b"g", b"m1000,20", b"m2000,8", b"zz"]


@given(splits(b"+".join(packet(payload) for payload in conversation)))
def test_answers_do_not_depend_on_how_the_stream_is_cut(parts: list[bytes]) -> None:
    debugger, other = Debugger(rich_view()), Debugger(rich_view())
    expected = b"".join(other.connection.receive(packet(payload)) for payload in conversation)
    assert expected == b"".join(debugger.connection.receive(part) for part in parts)


def test_a_nack_brings_the_last_frame_again() -> None:
    debugger = Debugger(rich_view())
    receive = debugger.connection.receive
    assert receive(b"-") == b""  # nothing was sent yet
    first = receive(packet(b"qC"))
    assert first == b"+$QC1#c5"
    assert first[1:] == receive(b"-") == receive(b"-")
    assert receive(b"+") == b""
    receive(b"$qC#00")
    assert first[1:] == receive(b"-")


def test_a_wrong_checksum_is_refused_in_ack_mode_and_borne_without() -> None:
    debugger = Debugger(rich_view())
    assert debugger.connection.receive(b"$qC#00") == b"-"
    assert debugger.connection.receive(b"$qC#b4") == b"+$QC1#c5"
    debugger.start()
    assert debugger.connection.receive(b"$qC#00") == b"$QC1#c5"


def test_checksums_do_not_count_from_the_agreement_on() -> None:
    """Also when the next packet comes in the same bytes as the one that agrees on it."""
    agree, wrong = packet(b"QStartNoAckMode"), b"$qC#00"
    for pieces in ([agree + wrong], [agree, wrong], [agree[:5], agree[5:] + wrong]):
        connection = Debugger(view_of()).connection
        answers = b"".join(connection.receive(piece) for piece in pieces)
        assert answers == b"+$OK#9a" + packet(b"QC1")


def test_no_ack_mode_begins_after_its_own_reply() -> None:
    connection = Debugger(rich_view()).connection
    assert connection.receive(packet(b"QStartNoAckMode")) == b"+$OK#9a"
    assert connection.receive(b"+" + packet(b"qC")) == b"$QC1#c5"


def test_an_interrupt_is_let_pass() -> None:
    connection = Debugger(rich_view()).connection
    assert connection.receive(b"\x03") == b""
    assert connection.receive(b"\x03" + packet(b"qC") + b"\x03") == b"+$QC1#c5"


def test_an_overlong_packet_is_refused_and_the_next_one_answered() -> None:
    connection = Debugger(rich_view()).connection
    assert connection.receive(b"$m" + b"0" * (MAX_PAYLOAD + 1)) == b"-"
    assert connection.receive(b"0" * 1000) == b""
    assert connection.receive(b"#00" + packet(b"qC")) == b"+$QC1#c5"


@pytest.mark.parametrize(
    ("payload", "reply"),
    [(b"k", b""), (b"D", b"$OK#9a"), (b"D;1", b"$OK#9a"), (b"vKill;1", b"$OK#9a")],
)
def test_a_client_that_leaves_gets_no_further_answers(payload: bytes, reply: bytes) -> None:
    connection = Debugger(rich_view()).connection
    assert not connection.closed
    assert b"+" + reply == connection.receive(packet(payload) + packet(b"qC"))
    assert connection.closed


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0", b"v", b"q", b"Q", b"vMustReplyEmpty", b"qSupport", b"vUnheardOf;1", b"qUnheardOf",
     b"QUnheardOf:1", b"jUnheardOf", b"qXfer:unheard-of:read::0,1", b"qXfer:threads:write::0:",
     b"vFile:chmod:1", b"qTStatus"],
)  # fmt: skip
def test_unknown_packets_get_the_empty_reply(payload: bytes) -> None:
    debugger = Debugger(rich_view())
    debugger.start(*GDB)
    assert debugger.data(payload) == b""


@pytest.mark.parametrize(
    "payload",
    [b"m", b"m1000", b"m1000,", b"m,4", b"m-1,4", b"m0x10,4", b"m1000,4,4", b"m 1000,4", b"m1_0,4",
     b"m10000000000000000,1", b"p", b"pzz", b"pffff", b"H", b"Hg", b"Hgzz", b"Hg9", b"Hgp2.1",
     b"Hgp1.9", b"T", b"T9", b"Tp1.-2", b"qThreadExtraInfo", b"qThreadExtraInfo,", b"qXfer:auxv:"
     b"read::zz,1", b"qXfer:features:read:target.xml:ffffff,1", b"qXfer:features:read:x.xml:0,1",
     b"qXfer:auxv:read::1", b"qGetTLSAddr:1", b"qGetTLSAddr:1,2,zz", b"qSymbol:zz:6869",
     b"qSymbol:1:6x"],
)  # fmt: skip
def test_malformed_arguments_get_an_error_in_words_or_a_number(payload: bytes) -> None:
    plain, worded = Debugger(rich_view()), Debugger(rich_view())
    worded.start(*GDB)
    number = plain.data(payload)
    assert number[:1] == b"E"
    assert len(number) == 3
    assert int(number[1:], 16) > 0
    words = worded.data(payload)
    assert words[:2] == b"E."
    assert len(words) > 8
    assert all(0x20 <= byte < 0x7F for byte in words)


@pytest.mark.parametrize(
    "payload", [b"vFile:pread:zz,1,1", b"vFile:open:6,0,0", b"vFile:stat:zz", b"vFile:pread:0"]
)
def test_malformed_arguments_of_vfile_get_its_own_kind_of_error(payload: bytes) -> None:
    """EINVAL as the manual numbers it ("Errno Values"); any other reply gdb takes for a bug."""
    debugger = Debugger(rich_view())
    for _ in range(2):
        assert debugger.data(payload) == b"F-1,16"
        debugger.start(*GDB)


def test_an_error_does_not_hand_back_all_that_was_sent() -> None:
    debugger = Debugger(rich_view())
    debugger.start(*GDB)
    assert len(debugger.data(b"qXfer:features:read:" + b"#" * 100_000 + b":0,1")) < 400


def test_objects_of_many_annexes_do_not_pile_up() -> None:
    debugger = Debugger(rich_view())
    for annex in range(100):
        assert debugger.data(b"qXfer:exec-file:read:%x:0,1" % annex)[:1] == b"m"
    assert len(debugger.connection._client.objects) <= 1


@pytest.mark.parametrize(
    "payload",
    [b"G00", b"P0=00", b"M1000,1:00", b"X1000,1:\0", b"X1000,0:", b"c", b"c1000", b"C05", b"s",
     b"S05", b"vCont;c", b"vCont;s:p1.1;c", b"Z0,1000,1", b"z0,1000,1", b"Z2,1000,4"],
)  # fmt: skip
def test_changing_and_running_are_refused_and_the_session_goes_on(payload: bytes) -> None:
    debugger = Debugger(rich_view())
    before = debugger.data(b"g"), debugger.data(b"m1000,100")
    assert debugger.data(payload)[:15] == b"E.a crash dump "
    assert not debugger.connection.closed
    assert before == (debugger.data(b"g"), debugger.data(b"m1000,100"))


def test_the_example_frames_are_right() -> None:
    assert sum_of(b"QC1") == b"c5"
    assert sum_of(b"qC") == b"b4"
