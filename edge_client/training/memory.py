"""How many images are done at once within a bound on memory: rehearsed with ever more of them, and never guessed at.

What a runtime holds for an image is its own affair (arenas, layouts, what it keeps for the way back), so it is
measured: the peak of this process after one image, after two, after four; the next doubling is tried only where the
growth so far says that it will fit. The peak only ever rises, which is why the sizes do.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_client.errors import TrainingError

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Fit:
    """So many `images` at once were seen to fit, and an image more took `growth` bytes at most."""

    images: int
    growth: float


def peak_bytes() -> int:
    """The most that this process ever held in memory (VmHWM of proc(5))."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise TrainingError("this kernel does not tell a process's peak memory; leave memory_limit out")
    return int(found.group(1)) << 10


def fitting(
    most: int,
    limit_bytes: int,
    rehearse: Callable[[int], None],
    peak: Callable[[], int] = peak_bytes,
    *,
    spare: int = 0,
    known: Fit | None = None,
) -> Fit:
    """The largest of 1, 2, 4 ... `most` images whose work stays below `limit_bytes`, `spare` bytes of it kept free.

    `rehearse(n)` does the work of n images; `known`: what was found in this process before. Raises TrainingError where
    one image alone is too much.
    """
    fit = known
    if fit is None:
        rehearse(1)
        fit = Fit(1, 0.0)
        if peak() + spare > limit_bytes:
            raise TrainingError(
                f"the training process holds {_mb(peak() + spare)} for one image, and memory_limit leaves it "
                f"{_mb(limit_bytes)}; give it more, or a smaller network"
            )
    before = peak()
    while fit.images < most:
        step = min(2 * fit.images, most)
        if before + spare + fit.growth * (step - fit.images) > limit_bytes:
            break
        rehearse(step)
        now = peak()
        growth = max(fit.growth, (now - before) / (step - fit.images))
        if now + spare > limit_bytes:
            return Fit(fit.images, growth)
        fit, before = Fit(step, growth), now
    return fit


def give_back() -> None:
    """Of what came in many pieces, or was there for a moment, the C library keeps the room unless it is asked."""
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
