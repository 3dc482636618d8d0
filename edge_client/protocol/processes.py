"""Child processes that must not outlive their parent: a worker of its client, a broker or boards of their server."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)  # loaded here: between fork and exec nothing may be loaded


def die_with_parent(parent_pid: int | None = None, number: signal.Signals = signal.SIGTERM) -> None:
    """In a child: signal `number` when the thread that started it ends, however it ends (prctl(2)). Linux only.

    Between fork and exec `parent_pid` is known: a parent that has died before this call is not told of any more, so the
    child ends at once.
    """
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(128 + number)
