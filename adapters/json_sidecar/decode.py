"""Bytes to wire types: every way in which the JSON can be wrong, in one line each."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from kdump_gdbserver.adapters.json_sidecar.source import FORMAT_VERSION, Kind, Source
from kdump_gdbserver.adapters.json_sidecar.wire import Header
from kdump_gdbserver.domain.errors import SidecarError

T = TypeVar("T")

_PLACE = re.compile(r"(?P<problem>.*) - at `(?P<key>key in )?\$\.?(?P<field>.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`\Z", re.DOTALL)
_BYTE = re.compile(r"JSON is malformed: (?P<problem>.*) \(byte (?P<offset>\d+)\)\Z", re.DOTALL)


def decode(source: Source, raw: bytes, wanted: type[T]) -> T:
    """Decode `raw` as `wanted`, or raise the `SidecarError` that says why not."""
    try:
        return msgspec.json.decode(raw, type=wanted)
    except msgspec.ValidationError as failure:
        raise _wrong_field(source, raw, str(failure)) from None
    except UnicodeDecodeError as failure:
        raise source.error("", f"is not UTF-8 text ({failure.reason})") from None
    except msgspec.DecodeError as failure:
        raise _not_json(source, raw, str(failure)) from None
    except RecursionError:
        raise source.error("", "is nested too deeply for a sidecar") from None


def is_legacy(source: Source, raw: bytes) -> bool:
    """Tell the earlier script's form from version 1; raise when `raw` is neither.

    Kind and version are checked first, since a file of another kind or of a later version may
    differ in everything else.
    """
    header = decode(source, raw, Header)
    if header.format is msgspec.UNSET:
        if header.version is not msgspec.UNSET:
            raise source.error("format", "is missing")
        if header.threads is msgspec.UNSET:
            problem = "is no sidecar: it has neither 'format' nor 'threads'"
            raise source.error("", problem, f"check which file is given with {source.kind.option}")
        kernel = header.rootpgt is msgspec.UNSET and header.loadaddr is msgspec.UNSET
        _require_kind(source, Kind.KERNEL if kernel else Kind.PROCESS)
        return True
    _require_kind(source, _kind_of(source, _field(source, "format", header.format, str)))
    if header.version is msgspec.UNSET:
        raise source.error("version", "is missing")
    version = _field(source, "version", header.version, int)
    if version > FORMAT_VERSION:
        problem = f"is {version}, newer than this server reads ({FORMAT_VERSION})"
        raise source.error("version", problem, "update kdump-gdbserver")
    if version < FORMAT_VERSION:
        raise source.error("version", f"is {version}, which never was one")
    return False


def _kind_of(source: Source, text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        known = " nor ".join(repr(kind.value) for kind in Kind)
        shown = text if len(text) <= 60 else text[:60] + "..."
        raise source.error("format", f"'{shown}' is neither {known}") from None


def _require_kind(source: Source, found: Kind) -> None:
    if found is not source.kind:
        problem = f"holds {found.holds}, not {source.kind.holds}"
        raise source.error("format", problem, f"give it with {found.option}")


def _field(source: Source, name: str, raw: msgspec.Raw | msgspec.UnsetType, wanted: type[T]) -> T:
    assert isinstance(raw, msgspec.Raw)
    try:
        return msgspec.json.decode(raw, type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as failure:
        problem = _plain(str(failure).split(" - at ")[0])
        raise source.error(name, problem) from None


def _wrong_field(source: Source, raw: bytes, message: str) -> SidecarError:
    place = _PLACE.match(message)
    problem, field = (place["problem"], place["field"]) if place else (message, "")
    missing = _MISSING.match(problem)
    if missing:
        field = f"{field}.{missing[1]}" if field else missing[1]
        return source.error(field, "is missing")
    if not field:
        return source.error("", f"is not a sidecar: {_plain(problem)}")
    if "[...]" in field:
        field = _name_member(raw, field)
    return source.error(field, _plain(problem))


def _plain(problem: str) -> str:
    # "Expected `str | null`, got `int`" -> "expected str or null, got int"
    text = problem.replace(" | ", " or ").replace("`", "")
    return text[:1].lower() + text[1:]


def _name_member(raw: bytes, field: str) -> str:
    """Replace msgspec's `[...]` with the name of the first value of the wrong type."""
    before, _, _ = field.partition("[...]")
    accepted = (int, str) if before.endswith("siginfo") else (int,)
    try:
        at: Any = msgspec.json.decode(raw)
        for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", before):
            at = at[key] if key else at[int(index)]
        members = dict(at)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return before  # there is more that is wrong: a number with thousands of digits, no UTF-8
    except (LookupError, TypeError, ValueError):
        return before  # a key is there twice, and the other value is of another kind
    for name, value in members.items():
        if type(value) not in accepted:
            return f"{before}.{name}"
    return before


def _not_json(source: Source, raw: bytes, message: str) -> SidecarError:
    place = _BYTE.match(message)
    if place:
        offset = int(place["offset"])
        if place["problem"] == "trailing characters":
            offset -= 1  # msgspec counts from 1 here only
        line = raw.count(b"\n", 0, offset) + 1
        column = offset - (raw.rfind(b"\n", 0, offset) + 1) + 1
        problem = place["problem"]
        return source.error("", f"is not JSON: {problem} at line {line} column {column}")
    if "truncated" in message:
        problem = "is empty" if not raw.strip() else "ends in the middle of the JSON (truncated)"
        lines = raw.count(b"\n") + 1
        column = len(raw) - (raw.rfind(b"\n") + 1) + 1
        where = f" at line {lines} column {column}" if raw.strip() else ""
        return source.error("", problem + where)
    return source.error("", f"is not JSON: {message}")
