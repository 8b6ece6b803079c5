"""For all tests: the world that programs under test start in."""

from __future__ import annotations

import signal

# A shell that starts the tests in the background lets them, and what they start, ignore ctrl-C;
# servers under test are to be ended by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
