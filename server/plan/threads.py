"""One job for many parts of a large fleet, on all processors: numpy lets threads run side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_THREADS = 8  # at most: beyond that the memory is the limit
_ALONE = 20_000  # devices: fewer are done sooner than threads are started

Part = TypeVar("Part")
Result = TypeVar("Result")


def on_threads(job: Callable[[Part], Result], parts: Sequence[Part], devices: int) -> list[Result]:
    """job(part) of all parts of so many devices, in order."""
    threads = min(_THREADS, len(parts), _processors())
    if threads < 2 or devices < _ALONE:
        return [job(part) for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(job, parts))


def _processors() -> int:
    """How many this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
