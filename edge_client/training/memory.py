"""How many images are done at once within a bound on memory: rehearsed with ever more of them, and never guessed at.

What a runtime holds for an image is its own affair (arenas, layouts, what it keeps for the way back), so it is
measured: the peak of this process after one image, after two, after four; the next doubling is tried only where the
growth so far says that it will fit. The peak only ever rises, which is why the sizes do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from edge_client.errors import TrainingError

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """The most that this process ever held in memory (VmHWM of proc(5))."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise TrainingError("this kernel does not tell a process's peak memory; leave memory_limit out")
    return int(found.group(1)) << 10


def fitting(
    most: int, limit_bytes: int, rehearse: Callable[[int], None], peak: Callable[[], int] = peak_bytes, spare: int = 0
) -> int:
    """The largest of 1, 2, 4 ... `most` images whose work stays below `limit_bytes`, `spare` bytes of it kept free.

    `rehearse(n)` does the work of n images. Raises TrainingError where one image alone is too much.
    """
    rehearse(1)
    done, before = 1, peak()
    if before + spare > limit_bytes:
        raise TrainingError(
            f"the training process holds {_mb(before + spare)} for one image, and memory_limit leaves it "
            f"{_mb(limit_bytes)}; give it more, or a smaller network"
        )
    growth = 0.0
    while done < most:
        step = min(2 * done, most)
        if before + spare + growth * (step - done) > limit_bytes:
            break
        rehearse(step)
        now = peak()
        if now + spare > limit_bytes:
            break
        growth, before, done = max(growth, (now - before) / (step - done)), now, step
    return done


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
