"""For all tests: the world that programs under test start in."""

from __future__ import annotations

import signal

# A shell that starts the tests in the background lets them, and what they start, ignore ctrl-C,
# nohup does so with a hang-up; servers under test are to be ended by each of these.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in _ENDING[1:]:
    if signal.getsignal(_number) is signal.SIG_IGN:
        # Ignored here as before, but not by those who are started.
        signal.signal(_number, lambda number, frame: None)
