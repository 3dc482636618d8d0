"""Whether there is a plan at all; if not, why, who, and the nearest value that would do.

Four questions, easiest first: can every device alone end within the round; is there enough of the medium for all of
them; is the accuracy above the learning curve's floor; and is it reached when everybody trains all it can. The last
one is itself convex: minimise the mean error instead of the joules.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from server.plan.diagnosis import PAD, NoPlanError, named
from server.plan.dual import solve_dual
from server.plan.fleet import Fleet, Tables
from server.plan.points import Points
from server.plan.upload_step import least_medium_use, least_upload_s


def most_accurate(fleet: Fleet) -> Points:
    """The points of least mean error; raises `NoPlanError` where no plan keeps every constraint."""
    with_data(fleet)
    _alone(fleet)
    _together(fleet)
    points = _train_all(fleet)
    _accuracy(fleet, points)
    return points


def with_data(fleet: Fleet) -> None:
    """Raises `NoPlanError` for devices that have nothing to train on."""
    empty = fleet.most == 0
    if empty.any():
        ids = _ids(fleet, empty)
        fix = "give it data" if fleet.target_error is None else "give it data or storage_samples"
        raise NoPlanError(f"no samples to train on {named(ids)}: {fix}, or leave it out", "local_counts", ids)


def _alone(fleet: Fleet) -> None:
    needed_s = fleet.epochs * fleet.local * fleet.tau_min_s + least_upload_s(fleet)
    late = needed_s > fleet.round_s
    if late.any():
        ids, nearest = _ids(fleet, late), float(needed_s.max() * (1 + PAD))
        raise NoPlanError(
            f"round_s {fleet.round_s:.6g} is too short for {named(ids)}: training local samples at the highest clock"
            f" and uploading alone takes up to {needed_s.max():.6g} s",
            "round_s",
            ids,
            nearest,
        )


def _together(fleet: Fleet) -> None:
    if not np.isfinite(fleet.capacity):
        return
    use = _least_use(fleet, fleet.round_s)
    if use.sum() <= fleet.capacity:
        return
    ids = tuple(fleet.ids[i] for i in np.argsort(-use)[: max(1, len(fleet) // 5)])
    if fleet.links.banded.any():
        nearest = float(use.sum() * (1 + PAD))
        raise NoPlanError(
            f"bandwidth_hz {fleet.capacity:.6g} is too little for all uploads within round_s {fleet.round_s:.6g}: they "
            f"need {nearest:.7g} Hz, most of it for {named(ids)}",
            "bandwidth_hz",
            ids,
            nearest,
        )
    raise NoPlanError(
        f"the shared link cannot carry all uploads within round_s {fleet.round_s:.6g}: it would have to be "
        f"{use.sum():.4g} times as fast, most of it for {named(ids)}",
        "round_s",
        ids,
        _shortest_round_s(fleet),
    )


def _least_use(fleet: Fleet, round_s: float) -> np.ndarray:
    """What each device must have of the medium when it trains its local samples at the highest clock."""
    return least_medium_use(fleet, round_s - fleet.epochs * fleet.local * fleet.tau_min_s)


def _shortest_round_s(fleet: Fleet) -> float:
    """The least round in which all local samples are trained and uploaded, by bisection."""
    low, high = fleet.round_s, 2.0 * fleet.round_s
    while _least_use(fleet, high).sum() > fleet.capacity:
        low, high = high, 2.0 * high
    while high - low > 1e-9 * high:
        middle = 0.5 * (low + high)
        if _least_use(fleet, middle).sum() > fleet.capacity:
            low = middle
        else:
            high = middle
    return float(high * (1 + PAD))


def _train_all(fleet: Fleet) -> Points:
    """Everybody trains all it can; where the medium does not reach for that, by its price."""
    links = fleet.links
    taking = links.banded | links.shared
    upload_s = least_upload_s(fleet)
    full_s = fleet.round_s - fleet.epochs * fleet.most * fleet.tau_min_s
    roomy = taking & (full_s >= upload_s)
    use = np.zeros(len(fleet))
    use[taking] = np.inf
    use[roomy] = least_medium_use(fleet, np.where(roomy, full_s, fleet.round_s))[roomy]
    if use.sum() > fleet.capacity:
        return solve_dual(_without_energy(fleet), fixed_error_price_j=1.0).step.points
    upload_s = np.where(taking, full_s, upload_s)
    samples = np.clip((fleet.round_s - upload_s) / (fleet.epochs * fleet.tau_min_s), fleet.local, fleet.most)
    samples = np.where(taking, fleet.most, samples)
    band_hz = np.where(links.banded, use, 0.0)
    return Points(samples, fleet.epochs * samples * fleet.tau_min_s, upload_s, band_hz)


def _without_energy(fleet: Fleet) -> Fleet:
    """The same fleet where joules cost nothing: highest clock, full power, so that only error is minimised."""
    count = len(fleet)
    tau = fleet.tau_min_s[:, None]
    links = replace(
        fleet.links,
        scheduled=np.zeros(count, dtype=bool),
        fixed_power=fleet.links.banded,
        efficiency=np.full(count, np.inf),
        overhead_w=np.zeros(count),
        levels_w=None,
    )
    tables = Tables(np.arange(count), tau, np.zeros_like(tau), np.ones_like(tau))
    nobody = np.zeros(0)
    curves = replace(
        fleet.curves,
        rows=np.zeros(0, dtype=np.int64),
        fixed_s=nobody,
        cycles=nobody,
        power_static_w=nobody,
        kappa=nobody,
        freq_min_hz=nobody,
        freq_max_hz=nobody,
    )
    return replace(fleet, tables=tables, curves=curves, links=links, tau_idle_s=fleet.tau_min_s)


def _accuracy(fleet: Fleet, points: Points) -> None:
    target = fleet.target_error
    if target is None:
        return
    least = fleet.mean_error(points.samples)
    if least <= target:
        return
    nearest = least * (1 + PAD)
    full = points.samples >= fleet.most * (1 - 1e-9)
    if target <= fleet.curve.gamma:
        why = f"lies at or below the learning curve's floor gamma = {fleet.curve.gamma:.6g}"
    elif full.all():
        why = "is out of reach even with all storage filled on every device"
    elif not full.any():
        why = f"is out of reach within round_s {fleet.round_s:.6g}, even at the highest clocks"
    else:
        ids = _ids(fleet, ~full)
        why = f"is out of reach: storage_samples binds on {full.sum()} devices, round_s on {named(ids)}"
    raise NoPlanError(
        f"target_error {target:.6g} {why}",
        "target_error",
        _alone_to_blame(fleet, points, target),
        nearest,
    )


def _alone_to_blame(fleet: Fleet, points: Points, target: float) -> tuple[str, ...]:
    """The device with the least data, if the others keep the target without it; else nobody.

    A mean is everybody's doing: a device above it is no reason to leave it out.
    """
    worth = fleet.worth(points.samples)
    worst = int(np.argmin(worth))
    others = np.delete(worth, worst)
    if not len(others):
        return ()
    without = fleet.error_at(others.mean()) if fleet.pooled else fleet.error_at(others).mean()
    return (fleet.ids[worst],) if without <= target else ()


def _ids(fleet: Fleet, mask: np.ndarray) -> tuple[str, ...]:
    return tuple(fleet.ids[i] for i in np.flatnonzero(mask))
