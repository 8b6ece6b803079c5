"""The file that the server takes: its text, written all or nothing."""

import json
import os
import pathlib
import tempfile
from typing import Any, Dict

from ...domain.kernel.errors import KdumpError


def json_text(content: Dict[str, Any]) -> str:
    """The sidecar's text: one line for each item of its lists, so that it can be searched."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list) and value:
            lines = ",\n  ".join(json.dumps(item) for item in value)
            text = "[\n  %s\n ]" % lines
        else:
            text = json.dumps(value)
        parts.append(" %s: %s" % (json.dumps(key), text))
    return "{\n%s\n}\n" % ",\n".join(parts)


def write_whole(name: str, text: str) -> None:
    """Write the file `name` (mode 0600: it tells about other users' processes), all or nothing.

    Until the text is safely on the disk it is in another file beside it, so whatever fails or is
    interrupted leaves an older file as it was, and no half a file.
    """
    given = pathlib.Path(name).expanduser()
    if given.is_symlink() and given.lstat().st_uid not in (0, os.geteuid()):
        raise KdumpError("cannot write %s: it is another user's link" % given)
    path = given.resolve()
    if path.exists() and not path.is_file():
        raise KdumpError("cannot write %s: not a regular file" % path)
    try:
        handle, scratch = tempfile.mkstemp(prefix=".kdump-", suffix=".tmp", dir=str(path.parent))
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            pathlib.Path(scratch).replace(path)
        except BaseException:
            pathlib.Path(scratch).unlink()
            raise
    except OSError as error:
        raise KdumpError("cannot write %s: %s" % (path, error.strerror)) from None
