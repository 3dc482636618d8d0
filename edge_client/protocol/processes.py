"""Child processes that must not outlive their parent: a worker of its client, a broker or boards of their server."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)  # loaded here: between fork and exec nothing may be loaded


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """In a child: this signal when the thread that started it ends, however it ends (prctl(2)). Linux only."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, number, 0, 0, 0)
