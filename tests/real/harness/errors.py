"""The harness's one error: something needed for a real dump cannot be had."""

from __future__ import annotations


class HarnessError(Exception):
    """A real dump cannot be made here; the message says what is missing and what to do."""
