"""From the continuous optimum to something a board can do: whole samples, clocks that it has, whole batches.

Each device keeps its upload as planned and gets the rest of the round for computing (see boards.py). Which whole
numbers of samples are worth a look depends on the batches: where the clock would change in the middle of one, a sample
or two less can cost much less. Of a device's candidates only those on the lower convex hull of joules over error can be
best, and along it a joule buys less and less accuracy. Everybody starts with the cheapest candidate, and the steps of
all are taken in the order of what a joule buys until the mean error is within the target: up here and down there,
which costs far less than rounding everybody up. What error is then left over is given back where it saves most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models import energy
from server.plan.boards import Boards
from server.plan.columnar import row_of, starts
from server.plan.device_step import Points
from server.plan.diagnosis import PAD, NoPlanError, named
from server.plan.fleet import Fleet
from server.plan.pairs import exchanged
from server.plan.problem import Executed

_CHUNK = 16_384  # devices at a time
_ROUNDING = 1e-12  # relative, of the target: what a mean may lose to rounding
_FEW = 200  # devices of which one alone can cost that much
_LOOKS = 20  # how often the candidates may be moved to where the samples went
_SPARE = 1e-4  # of all joules: if error that is left over is worth more, it is worth looking farther
_TRIMMED = 2_000  # steps before and behind the last one whose devices may take one back


def realise(fleet: Fleet, points: Points, batch_size: int = 1) -> Executed:
    """What the devices are told; raises `NoPlanError` where whole samples cannot keep the target."""
    return whole(Boards(fleet, points.upload_s, batch_size), points.samples)


def whole(boards: Boards, wanted: np.ndarray) -> Executed:
    """What `boards` are told, who would train `wanted` (I,) samples each; raises `NoPlanError` like `realise`."""
    fleet = boards.fleet
    if fleet.target_error is None:
        return boards.executed(fleet.local.astype(np.int64))
    if not fleet.pooled:
        _room_for_one(boards)
    best = _climb(boards, wanted, afar=False)
    if best is None or best.spare_j > _SPARE * best.joules or len(fleet) <= _FEW:
        best = _look_afar(boards, wanted, best)
    samples = exchanged(boards, best.samples, _allowed(fleet))
    return boards.executed(samples if _keeps(fleet, samples) else best.samples)


@dataclass(frozen=True)
class _Found:
    """Whole samples (I,) that keep the target, their joules, and those that left-over error is worth."""

    samples: np.ndarray
    joules: float
    spare_j: float


def _look_afar(boards: Boards, wanted: np.ndarray, best: _Found | None) -> _Found:
    """The best of ladders that reach from the least to the most samples, each closer to what the last one found."""
    for _ in range(_LOOKS):
        found = _climb(boards, wanted if best is None else best.samples, afar=True)
        if found is None and best is None:
            raise _out_of_reach(boards)
        if found is None or (best is not None and found.joules >= best.joules):
            break
        best = found
    assert best is not None
    return best


@dataclass(frozen=True)
class _Ladder:
    """Each device's candidates on its hull, ragged (N,): from the cheapest to the most accurate."""

    start: np.ndarray
    samples: np.ndarray
    loss: np.ndarray
    joules: np.ndarray


def _ladder(boards: Boards, wanted: np.ndarray, afar: bool) -> _Ladder:
    parts = []
    for first in range(0, len(wanted), _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, len(wanted)))
        samples, loss, joules = _candidates(boards, rows, wanted[rows], afar)
        kept = energy.falling_hulls(loss, joules)
        order = np.argsort(np.where(kept, -loss, np.inf), axis=1, kind="stable")
        steps = np.arange(loss.shape[1]) < kept.sum(axis=1)[:, None]
        along = (np.take_along_axis(values, order, axis=1)[steps] for values in (samples, loss, joules))
        parts.append((kept.sum(axis=1), *along))
    count, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Ladder(starts(count), *columns)


def _candidates(
    boards: Boards, rows: np.ndarray, wanted: np.ndarray, afar: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(samples, loss, joules), each (M, W), of what the devices `rows` may do."""
    samples = boards.near(rows, wanted)
    if afar:
        samples = np.concatenate([samples, boards.far(rows, wanted)], axis=1)
    return samples, boards.losses(rows, samples), boards.joules(rows, samples)


def _climb(boards: Boards, wanted: np.ndarray, afar: bool) -> _Found | None:
    """Whole samples (I,) near `wanted`, or also `afar`, that keep the target: the cheapest ones, then the steps that a
    joule buys most with. None where no candidates keep it, or the cheapest do and cheaper ones might lie afar."""
    fleet, ladder = boards.fleet, _ladder(boards, wanted, afar)
    start = ladder.start
    allowed = _allowed(fleet)
    inner = np.ones(len(ladder.loss), dtype=bool)
    inner[start[1:] - 1] = False  # no step up from a device's last candidate
    at = np.flatnonzero(inner)
    gain = ladder.loss[at] - ladder.loss[at + 1]
    price = (ladder.joules[at + 1] - ladder.joules[at]) / gain
    order = np.argsort(price, kind="stable")
    missing = float(ladder.loss[start[:-1]].sum()) - allowed
    taken = 0 if missing <= 0 else int(np.searchsorted(np.cumsum(gain[order]), missing)) + 1
    if taken == 0 and not afar and (ladder.samples[start[:-1]] > boards.least).any():
        return None
    device = row_of(start)[at][order]
    while True:
        samples = ladder.samples[start[:-1] + np.bincount(device[:taken], minlength=len(fleet))]
        if _keeps(fleet, samples):
            break
        taken += 1
        if taken > len(order):
            return None
    nearby = np.unique(device[max(0, taken - _TRIMMED) : taken + _TRIMMED])
    samples, spare = _trim(boards, samples, nearby, _candidates(boards, nearby, wanted[nearby], afar))
    joules = float(boards.joules(np.arange(len(fleet)), samples[:, None]).sum())
    return _Found(samples, joules, spare * float(price[order[taken - 1]]) if taken else 0.0)


def _allowed(fleet: Fleet) -> float:
    """What the losses of all devices may sum to."""
    assert fleet.target_error is not None
    return len(fleet) * (fleet.allowed_loss + 0.5 * _ROUNDING * fleet.target_error)


def _keeps(fleet: Fleet, samples: np.ndarray) -> bool:
    assert fleet.target_error is not None
    return fleet.mean_error(samples) <= fleet.target_error * (1 + _ROUNDING)


def _trim(
    boards: Boards, samples: np.ndarray, rows: np.ndarray, candidates: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, float]:
    """Gives error that is left over back to the devices `rows`, where it saves most, until nobody can use it; the
    samples then, and the error that is still left."""
    fleet = boards.fleet
    everybody = np.arange(len(fleet))
    slack = _allowed(fleet) - float(boards.losses(everybody, samples[:, None]).sum())
    choice, loss, joules = candidates
    now = (choice == samples[rows, None]).argmax(axis=1)
    device = np.arange(len(rows))
    while len(rows):
        costs = loss - loss[device, now][:, None]
        saves = np.where(costs <= slack, joules[device, now][:, None] - joules, 0.0)
        best, column = np.unravel_index(saves.argmax(), saves.shape)
        if saves[best, column] <= 0:
            break
        slack -= float(costs[best, column])
        now[best] = column
    trimmed = samples.copy()
    trimmed[rows] = choice[device, now]
    return trimmed, slack


def _room_for_one(boards: Boards) -> None:
    """Raises `NoPlanError` where a device without data has no time for a whole sample."""
    empty = np.flatnonzero(boards.most == 0)
    if len(empty):
        ids = tuple(boards.fleet.ids[i] for i in empty.tolist())
        raise NoPlanError(
            f"round_s {boards.fleet.round_s:.6g} leaves no time for one whole sample on {named(ids)}", "round_s", ids
        )


def _out_of_reach(boards: Boards) -> NoPlanError:
    fleet = boards.fleet
    nearest = fleet.mean_error(boards.most.astype(float)) * (1 + PAD)
    return NoPlanError(
        f"target_error {fleet.target_error:.6g} is out of reach in whole samples; the least target_error is "
        f"{nearest:.7g}",
        "target_error",
        (),
        nearest,
    )
