"""A fleet cut into blocks of like devices: one form of processor, one kind of radio, few enough to stay in the cache.

Within a block every step is the same arithmetic on contiguous arrays; blocks are independent of one another once the
prices are given, so threads can share them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models import energy, learning_curve, radio
from server.plan.compute_sides import ComputeSide, CurveSide, TableSide
from server.plan.fleet import Fleet, kink_prices_w
from server.plan.threads import on_threads
from server.plan.upload_sides import FixedPower, Scheduled, SharedLink, UploadSide, Wired

SIZE = 131_072  # devices: arrays long enough that threads seldom wait for one another
_LEAST_SCALE = 1e-6  # of a unit per round: the scale of prices where joules cost nothing


@dataclass(frozen=True)
class Rules:
    """What all devices have in common; `log_gain` is ln(alpha*beta*eta/n), or pooled ln(slope*eta/n), `slope` being the
    error that one more effective sample of the mean saves."""

    count: int
    epochs: int
    round_s: float
    eta: float
    alpha: float
    beta: float
    gamma: float
    log_gain: float
    pooled: bool
    slope: float

    def gain_j(self, price_error_j: float) -> float:
        """What a pooled target pays for training one more sample once, at lambda."""
        return float(np.exp(self.log_gain)) * price_error_j / self.count


@dataclass(frozen=True)
class Block:
    """N like devices, arrays (N,): `rows` in the fleet, least and most samples and the logs of what those are worth,
    `scale_w` the order of the prices of a second."""

    rules: Rules
    rows: np.ndarray
    local: np.ndarray
    most: np.ndarray
    log_least: np.ndarray
    log_most: np.ndarray
    scale_w: np.ndarray
    compute: ComputeSide
    upload: UploadSide

    def __len__(self) -> int:
        return len(self.rows)


def split(fleet: Fleet) -> list[Block]:
    """The blocks of a fleet; every device is in one."""
    rules = _rules(fleet)

    def job(group: Group) -> Block:
        return _block(fleet, rules, *group)

    return on_threads(job, list(_groups(fleet)), len(fleet))


def _rules(fleet: Fleet) -> Rules:
    curve = fleet.curve
    pooled = fleet.pooled and fleet.target_error is not None
    slope = fleet.worth_slope if pooled else curve.alpha * curve.beta
    log_gain = float(np.log(slope * fleet.eta / fleet.epochs))
    law = (curve.alpha, curve.beta, curve.gamma)
    return Rules(len(fleet), fleet.epochs, fleet.round_s, fleet.eta, *law, log_gain, pooled, slope)


Group = tuple[str, np.ndarray, np.ndarray, str]


def _groups(fleet: Fleet) -> Iterator[Group]:
    """(form of processor, places in its arrays, rows in the fleet, kind of radio) of every block."""
    links = fleet.links
    kinds = {"scheduled": links.scheduled, "fixed_power": links.fixed_power, "shared": links.shared}
    for form, rows in (("table", fleet.tables.rows), ("curve", fleet.curves.rows)):
        for kind, mask in {**kinds, "wired": links.wired}.items():
            places = np.flatnonzero(mask[rows])
            if len(places):
                for part in np.array_split(places, -(-len(places) // SIZE)):
                    yield form, part, rows[part], kind


def _block(fleet: Fleet, rules: Rules, form: str, places: np.ndarray, rows: np.ndarray, kind: str) -> Block:
    local, most = fleet.local[rows], fleet.most[rows]
    upload = _upload(fleet, rows, kind)
    compute: ComputeSide
    if form == "table":
        compute = _table(fleet, places)
        busy_w = compute.joules[-1] / compute.tau_s[-1]
    else:
        compute = _curve(fleet, places)
        busy_w = energy.busy_power_w(compute.freq_min_hz, compute.power_static_w, compute.kappa)
    at_most = learning_curve.effective_samples(local, most, fleet.eta)
    with np.errstate(divide="ignore"):
        log_least, log_most = np.log(local), np.log(at_most)
    scale_w = _scale_w(fleet, busy_w, upload)
    return Block(rules, rows, local, most, log_least, log_most, scale_w, compute, upload)


def _scale_w(fleet: Fleet, busy_w: np.ndarray, upload: UploadSide) -> np.ndarray:
    """The lesser of the watts that training and the radio draw anyway: a second's price counts beside them."""
    busy_w = np.where(busy_w > 0, busy_w, _LEAST_SCALE / fleet.round_s)
    return np.where(upload.overhead_w > 0, np.minimum(busy_w, upload.overhead_w), busy_w)


def _table(fleet: Fleet, places: np.ndarray) -> TableSide:
    tau_s, joules = (np.ascontiguousarray(part[places].T) for part in (fleet.tables.tau_s, fleet.tables.joules))
    return TableSide(tau_s, joules, kink_prices_w(tau_s, joules))


def _curve(fleet: Fleet, places: np.ndarray) -> CurveSide:
    curves = fleet.curves
    law = (curves.fixed_s, curves.cycles, curves.power_static_w, curves.kappa, curves.freq_min_hz, curves.freq_max_hz)
    fixed_s, cycles, static_w, kappa, freq_min_hz, freq_max_hz = (column[places] for column in law)
    with np.errstate(divide="ignore"):
        log_fixed = 3.0 * np.log(1.5 * fixed_s / cycles)
    return CurveSide(fixed_s, cycles, static_w, kappa, freq_min_hz, freq_max_hz, -np.log(2.0 * kappa), log_fixed)


def _wired(fleet: Fleet, rows: np.ndarray) -> Wired:
    links = fleet.links
    return Wired(radio.wired_seconds(fleet.upload_bits[rows], links.rate_bits_per_s[rows]), links.overhead_w[rows])


def _shared(fleet: Fleet, rows: np.ndarray) -> SharedLink:
    links = fleet.links
    alone_s = radio.wired_seconds(fleet.upload_bits[rows], links.rate_bits_per_s[rows])
    sending_j = links.power_w[rows] / links.efficiency[rows] * alone_s
    return SharedLink(alone_s, sending_j, links.overhead_w[rows], fleet.round_s)


def _fixed_power(fleet: Fleet, rows: np.ndarray) -> FixedPower:
    links = fleet.links
    nats, noise, power_w = fleet.upload_bits[rows] * radio.LN2, links.noise_w_per_hz[rows], links.power_w[rows]
    return FixedPower(
        nats=nats,
        noise_w_per_hz=noise,
        power_w=power_w,
        drawn_w=power_w / links.efficiency[rows],
        overhead_w=links.overhead_w[rows],
        least_x=np.log1p(power_w / (noise * fleet.capacity)),
        log_scale=2.0 * np.log(power_w / noise) - np.log(nats),
        band_hz=fleet.capacity,
    )


def _scheduled(fleet: Fleet, rows: np.ndarray) -> Scheduled:
    limit = _fixed_power(fleet, rows)
    efficiency = fleet.links.efficiency[rows]
    log_cost = np.log(limit.noise_w_per_hz / efficiency)
    log_nats = np.log(limit.nats)
    return Scheduled(
        limit=limit,
        log_nats=log_nats,
        radiated_j=limit.noise_w_per_hz * limit.nats / efficiency,
        log_inside=-2.0 * log_cost - log_nats,
        log_on_band=-log_cost - np.log(fleet.capacity),
        round_s=fleet.round_s,
    )


def _upload(fleet: Fleet, rows: np.ndarray, kind: str) -> UploadSide:
    if kind == "scheduled":
        return _scheduled(fleet, rows)
    if kind == "fixed_power":
        return _fixed_power(fleet, rows)
    return _shared(fleet, rows) if kind == "shared" else _wired(fleet, rows)
