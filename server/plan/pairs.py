"""The last word on a small fleet's whole samples: any two devices may exchange, over all that they can train.

Ladders climb convex hulls, which is as good as exact where many devices share the error that is left over. With one,
two or three there is nobody to share it with, and the best counts may lie inside the hulls.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from server.plan.boards import Boards

DEVICES = 40  # at most
_CHOICES = 400_000  # of all of them together, at most
_SWEEPS = 20
_GAIN = 1e-13  # relative, of the joules: an exchange that is worth it


class _Choices:
    """All that one device may train: `samples`, `loss` and `joules` (K,), the most accurate first; `cheapest` (K,) is
    which of the first k choices costs least."""

    def __init__(self, boards: Boards, device: int):
        samples = np.arange(boards.least[device], boards.most[device] + 1)[::-1]
        rows = np.array([device])
        self.samples = samples
        self.loss = boards.losses(rows, samples[None])[0]
        self.joules = boards.joules(rows, samples[None])[0]
        least = np.minimum.accumulate(self.joules)
        self.cheapest = np.maximum.accumulate(np.where(self.joules == least, np.arange(len(samples)), 0))

    def within(self, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cheapest choice for each of some amounts of loss, and its joules; infinite where none is so accurate."""
        known = np.searchsorted(self.loss, loss, side="right") - 1
        choice = self.cheapest[np.maximum(known, 0)]
        return choice, np.where(known >= 0, self.joules[choice], np.inf)


def exchanged(boards: Boards, samples: np.ndarray, allowed: float) -> np.ndarray:
    """Samples (I,) whose losses sum to at most `allowed`, as those given do, after all exchanges that save joules."""
    count = len(samples)
    if count > DEVICES or int((boards.most - boards.least + 1).sum()) > _CHOICES:
        return samples
    choices = [_Choices(boards, device) for device in range(count)]
    now = [int(samples[i] - each.samples[0]) * -1 for i, each in enumerate(choices)]
    for _ in range(_SWEEPS):
        before = list(now)
        for i, j in combinations(range(count), 2) if count > 1 else [(0, 0)]:
            one, other = choices[i], choices[j]
            others = sum(float(choices[k].loss[now[k]]) for k in range(count) if k not in (i, j))
            if i == j:
                picked, joules = one.within(np.array([allowed]))
                first, second, cost = int(picked[0]), int(picked[0]), float(joules[0])
                current = float(one.joules[now[i]])
            else:
                picked, joules = other.within(allowed - others - one.loss)
                first = int((one.joules + joules).argmin())
                second, cost = int(picked[first]), float(one.joules[first] + joules[first])
                current = float(one.joules[now[i]] + other.joules[now[j]])
            if cost < current * (1 - _GAIN):
                now[i], now[j] = first, second
        if now == before:
            break
    return np.array([each.samples[at] for each, at in zip(choices, now, strict=True)])
