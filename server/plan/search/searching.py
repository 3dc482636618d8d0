"""One door to the three searchers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from server.errors import ConfigError
from server.plan.device_step import Points
from server.plan.fleet import Fleet
from server.plan.search.cross_entropy import cross_entropy
from server.plan.search.genetic import genetic
from server.plan.search.gradient import gradient
from server.plan.search.judge import Judge
from server.plan.search.levels import refuse_levels
from server.plan.search.trace import Trace

_SEARCHERS: dict[str, Callable[[Judge, Trace, np.random.Generator], None]] = {
    "ce": cross_entropy,
    "ga": genetic,
    "gradient": gradient,
}
METHODS: tuple[str, ...] = tuple(_SEARCHERS)
_USUAL, _USUAL_DEVICES = 40_000, 100  # evaluations, and the devices up to which there are so many
_FEWEST, _MOST_DEVICES = 40, 100_000


@dataclass(frozen=True)
class Searched:
    """The best that was found. `infeasible_share` is the part of all candidates that broke a constraint before they
    were repaired; `history` (G, 2): evaluations so far and the best joules so far, after each generation."""

    points: Points
    energy_j: float
    evaluations: int
    infeasible_share: float
    history: np.ndarray


def default_evaluations(devices: int) -> int:
    """As many as end within a minute: 40,000 up to a hundred devices, then fewer as the fleet grows."""
    return max(_FEWEST, int(_USUAL * min(1.0, _USUAL_DEVICES / devices)))


def refuse_for_search(devices: int) -> None:
    """Raises `ConfigError` for fleets of which a generation takes gigabytes and not even the start ends in a minute."""
    if devices > _MOST_DEVICES:
        raise ConfigError(f"method: {devices} devices are too many to search; 'exact' plans them")


def search(
    fleet: Fleet, method: str, *, evaluations: int, seed: int, report: Callable[[int, float], None] | None = None
) -> Searched:
    """The best points within `evaluations` candidates; the same seed finds the same.

    `report(evaluations, best_j)` is called after each generation. "gradient" stops sooner where it no longer moves, and
    any method after one candidate where no device has a choice; a `KeyboardInterrupt` ends a search with the best so
    far, if there is any. Raises `ConfigError` for discrete transmit levels, too many devices or fewer than one
    evaluation, `NoPlanError` where no split keeps every constraint.
    """
    if method not in _SEARCHERS:
        raise ConfigError(f"method: {method!r} is no searcher; {', '.join(METHODS)} are")
    if evaluations < 1:
        raise ConfigError(f"evaluations: {evaluations} is not a whole number above 0")
    refuse_levels(fleet)
    refuse_for_search(len(fleet))
    judge, rng = Judge(fleet), np.random.default_rng(seed)
    trace = Trace(judge, evaluations, report)
    try:
        if judge.dimensions:
            _SEARCHERS[method](judge, trace, rng)
        else:
            trace.judge(judge.start[None, :])
    except KeyboardInterrupt:
        if not trace.history:
            raise
    points, energy_j = judge.points(trace.best_split)
    share = judge.infeasible / judge.evaluations
    return Searched(points, energy_j, judge.evaluations, share, np.array(trace.history))
