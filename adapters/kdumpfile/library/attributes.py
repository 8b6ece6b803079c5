"""libkdumpfile's attributes as Python values."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from kdump_gdbserver.adapters.kdumpfile.library.bindings import (
    Attribute,
    AttributeIterator,
    AttributeType,
    Status,
)
from kdump_gdbserver.adapters.kdumpfile.library.context import Context

Value = int | str


class Attributes:
    """The attributes of one context, addressed by libkdumpfile's dotted keys."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def get(self, key: str) -> Value | None:
        """Return a number or a string, or None for anything unset, unknown or of another type."""
        attribute = Attribute()
        functions, pointer = self._context.functions, self._context.pointer
        status = functions.kdump_get_attr(pointer, key.encode(), ctypes.byref(attribute))
        if status != Status.OK:
            functions.kdump_clear_err(pointer)
            return None
        return _value(attribute)

    def number(self, key: str) -> int | None:
        """Return a numeric attribute (unsigned), else None."""
        value = self.get(key)
        return value if isinstance(value, int) else None

    def string(self, key: str) -> str | None:
        """Return a text attribute that is not empty, else None."""
        value = self.get(key)
        return value if isinstance(value, str) and value else None

    def items(self, directory: str) -> Iterator[tuple[str, Value | None]]:
        """Iterate over a directory: its keys and their values, None for subdirectories."""
        functions, pointer = self._context.functions, self._context.pointer
        iterator = AttributeIterator()
        reference = ctypes.byref(iterator)
        status = functions.kdump_attr_iter_start(pointer, directory.encode(), reference)
        if status != Status.OK:
            functions.kdump_clear_err(pointer)
            return
        try:
            attribute = Attribute()
            while status == Status.OK and iterator.key is not None:
                name = iterator.key.decode("utf-8", "replace")
                got = functions.kdump_attr_ref_get(
                    pointer, ctypes.byref(iterator.pos), ctypes.byref(attribute)
                )
                if got == Status.OK:
                    yield name, _value(attribute)
                status = functions.kdump_attr_iter_next(pointer, reference)
        finally:
            functions.kdump_attr_iter_end(pointer, reference)
            functions.kdump_clear_err(pointer)

    def set_number(self, key: str, value: int) -> int:
        """Set a number; return libkdumpfile's status."""
        attribute = Attribute(type=AttributeType.NUMBER)
        attribute.val.number = value
        return self._set(key, attribute)

    def set_string(self, key: str, value: str) -> int:
        """Set a string; return libkdumpfile's status."""
        attribute = Attribute(type=AttributeType.STRING)
        attribute.val.string = value.encode()
        return self._set(key, attribute)

    def set_blob(self, key: str, value: bytes) -> int:
        """Set a blob to a copy of `value`; return libkdumpfile's status."""
        functions = self._context.functions
        blob = functions.kdump_blob_new_dup(value, len(value))
        if not blob:
            return Status.SYSTEM
        attribute = Attribute(type=AttributeType.BLOB)
        attribute.val.blob = blob
        # The attribute takes our reference over (in all versions so far): no decref here.
        return self._set(key, attribute)

    def _set(self, key: str, attribute: Attribute) -> int:
        status: int = self._context.functions.kdump_set_attr(
            self._context.pointer, key.encode(), ctypes.byref(attribute)
        )
        return status


def _value(attribute: Attribute) -> Value | None:
    """Read the union member that the type names, and no other."""
    if attribute.type == AttributeType.NUMBER:
        return int(attribute.val.number)
    if attribute.type == AttributeType.ADDRESS:
        return int(attribute.val.address)
    if attribute.type == AttributeType.STRING:
        raw: bytes | None = attribute.val.string
        return None if raw is None else raw.decode("utf-8", "replace")
    return None
