"""Random fleets of any size as arrays, for the planner's benchmarks: every draw has a plan, and time, band and storage
are short for some of its devices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models import energy, radio
from server.plan.columnar import starts
from server.plan.columns import Devices, Laws, Levels, Opps, Radios, Spreads
from server.plan.device_step import Points, total_use
from server.plan.devices import RADIO_KINDS, AccuracyModel, EnergyBasis, LearningCurve
from server.plan.fleet import Curves, Fleet, Links, Tables
from server.plan.problem import Problem
from server.plan.upload_step import least_upload_s

RADIOS = ("scheduled", "fixed_power", "shared_link", "wired", "mixed")
CPUS = ("curves", "tables", "both")
CURVE = LearningCurve(2.0, 0.4, 0.05)
ETA = 0.6
_POINTS = 6  # operating points of a table


def random_fleet(
    count: int,
    seed: int,
    *,
    radio_kind: str = "mixed",
    cpus: str = "curves",
    basis: str = "added",
    epochs: int = 1,
    accuracy: float | None = 0.5,
    slack: float = 1.1,
    levels: int = 0,
    pooled: bool = False,
) -> Fleet:
    """`count` devices from a seed. `slack` (> 1) is the round over the least with equal shares of the medium;
    `accuracy` in [0, 1] the target between all local samples and what then still fits; `levels` those of a radio."""
    rng = np.random.default_rng(seed)
    idle_w = rng.uniform(1.5, 4.0, count)
    local = rng.integers(200, 400, count).astype(float)
    overhead_w = rng.choice([0.0, 0.3], count) + (idle_w if basis == "board" else 0.0)
    links = _links(rng, count, radio_kind, overhead_w, levels)
    tables, curves = _processors(
        rng, count, cpus, rng.uniform(0.05, 0.5, count) + (idle_w if basis == "board" else 0.0)
    )
    fleet = Fleet(
        ids=tuple(f"d{i}" for i in range(count)),
        local=local,
        most=local + rng.integers(0, 400, count),
        upload_bits=rng.uniform(3e7, 6e7, count),
        tau_min_s=_by_row(tables, curves, tables.tau_s[:, 0], _seconds(curves, curves.freq_max_hz)),
        tau_idle_s=_by_row(tables, curves, tables.tau_s[:, -1], _seconds(curves, _cheapest_hz(curves))),
        tables=tables,
        curves=curves,
        links=links,
        epochs=epochs,
        round_s=1.0,
        target_error=None,
        curve=CURVE,
        eta=ETA,
        pooled=pooled,
        capacity=1e6 * count if links.banded.any() else 1.0 if links.shared.any() else float("inf"),
    )
    return _possible(fleet, accuracy, slack)


def _possible(fleet: Fleet, accuracy: float | None, slack: float) -> Fleet:
    """The fleet with a round and a target that a plan with equal shares of the medium keeps."""
    takers = max(1, int(np.count_nonzero(fleet.links.banded | fleet.links.shared)))
    if fleet.links.shared.any():
        upload_s = least_upload_s(fleet) * np.where(fleet.links.shared, takers, 1)
    else:
        upload_s = least_upload_s(replace(fleet, capacity=fleet.capacity / takers))
    tau_s = fleet.epochs * fleet.tau_min_s
    round_s = slack * float((fleet.local * tau_s + upload_s).max())
    if accuracy is None:
        return replace(fleet, round_s=round_s, most=fleet.local)
    first = fleet.mean_error(fleet.local)
    last = fleet.mean_error(np.clip((round_s - upload_s) / tau_s, fleet.local, fleet.most))
    return replace(fleet, round_s=round_s, target_error=first + accuracy * (last - first))


def problem_of(fleet: Fleet, basis: EnergyBasis) -> Problem:
    """The problem whose arrays on a basis these are: with boards that idle at 1 W, less than any overhead here."""
    count, links, tables, curves = len(fleet), fleet.links, fleet.tables, fleet.curves
    added_w = 1.0 if basis == "added" else 0.0
    laws = {name: np.full(count, np.nan) for name in ("fixed_s", "cycles", "power_static_w", "kappa")}
    laws |= {name: np.full(count, np.nan) for name in ("freq_min_hz", "freq_max_hz")}
    for name, column in laws.items():
        column[curves.rows] = getattr(curves, name) + (added_w if name == "power_static_w" else 0.0)
    real = np.diff(tables.tau_s, axis=1, prepend=-1.0)[:, ::-1] > 0  # ascending in frequency, without padding
    lengths = np.zeros(count, dtype=np.int64)
    lengths[tables.rows] = real.sum(axis=1)
    raw_j = tables.joules + added_w * tables.tau_s
    points = (column[:, ::-1][real] for column in (tables.freq_hz, tables.tau_s, raw_j))
    kind = np.full(count, RADIO_KINDS.index("wired"), dtype=np.int8)
    kind[links.scheduled] = RADIO_KINDS.index("scheduled")
    kind[links.fixed_power] = RADIO_KINDS.index("fixed_power")
    kind[links.shared] = RADIO_KINDS.index("shared_link")
    radios = Radios(
        kind=kind,
        gain_over_noise_hz_per_w=1.0 / links.noise_w_per_hz,
        tx_power_max_w=np.where(links.scheduled & ~links.leveled, links.power_w, np.nan),
        tx_power_w=np.where(links.fixed_power | links.shared, links.power_w, np.nan),
        amplifier_efficiency=links.efficiency,
        overhead_w=links.overhead_w - (1.0 - added_w),
        link_bits_per_s=links.rate_bits_per_s,
    )
    told = np.full((count, 0), np.nan) if links.levels_w is None else links.levels_w
    devices = Devices(
        ids=fleet.ids,
        local_counts=fleet.local.astype(np.int32)[:, None],
        storage_samples=(fleet.most - fleet.local).astype(np.int64),
        upload_bits=fleet.upload_bits,
        power_idle_w=np.ones(count),
        laws=Laws(*laws.values()),
        opps=Opps(starts(lengths), *points),
        radios=radios,
        levels=Levels(starts(np.isfinite(told).sum(axis=1)), told[np.isfinite(told)]),
        spreads=Spreads(np.zeros(count), np.zeros(count)),
    )
    model: AccuracyModel = "pooled" if fleet.pooled else "device_mean"
    band_hz = fleet.capacity if links.banded.any() else None
    terms = (fleet.round_s, fleet.epochs, fleet.target_error, fleet.curve, fleet.eta)
    return Problem(devices, *terms, basis, band_hz, model)


def changed(fleet: Fleet, seed: int, part: float = 0.01) -> Fleet:
    """The same devices a round later: joules, seconds and channels drifted by `part`."""
    rng = np.random.default_rng(seed)
    count = len(fleet)

    def drift(size: int) -> np.ndarray:
        return np.exp(part * rng.standard_normal(size))

    tables, curves, links = fleet.tables, fleet.curves, fleet.links
    watts = drift(len(curves.rows))  # of all of a curve, so that its cheapest clock stays
    return replace(
        fleet,
        tables=replace(tables, joules=tables.joules * drift(len(tables.rows))[:, None]),
        curves=replace(curves, kappa=curves.kappa * watts, power_static_w=curves.power_static_w * watts),
        links=replace(links, noise_w_per_hz=links.noise_w_per_hz * drift(count)),
        upload_bits=fleet.upload_bits * drift(count),
    )


def _links(rng: np.random.Generator, count: int, kind: str, overhead_w: np.ndarray, levels: int) -> Links:
    kinds = rng.choice(["scheduled", "fixed_power", "wired"], count) if kind == "mixed" else np.full(count, kind)
    scheduled, fixed, shared, wired = (kinds == name for name in ("scheduled", "fixed_power", "shared_link", "wired"))
    rate = np.where(shared, rng.uniform(1e7, 4e7, count) * count, rng.uniform(5e6, 2e7, count))
    gain = np.exp(rng.normal(np.log(1e8), 1.0, count).clip(np.log(5e7), None))
    return Links(
        scheduled=scheduled,
        fixed_power=fixed,
        shared=shared,
        wired=wired,
        noise_w_per_hz=np.where(scheduled | fixed, 1.0 / gain, np.nan),
        power_w=np.where(scheduled, 0.2, np.where(wired, 0.0, 0.1)),
        efficiency=np.full(count, 0.4),
        overhead_w=overhead_w,
        rate_bits_per_s=np.where(scheduled | fixed, np.nan, rate),
        levels_w=np.where(scheduled[:, None], np.geomspace(0.02, 0.2, levels), np.nan) if levels else None,
    )


def _processors(rng: np.random.Generator, count: int, cpus: str, static_w: np.ndarray) -> tuple[Tables, Curves]:
    fixed_s, cycles = rng.uniform(0.0, 0.01, count), rng.uniform(4e7, 6e7, count)
    kappa, quickest_hz = rng.uniform(4e-28, 1e-27, count), rng.uniform(1.2e9, 1.8e9, count)
    tabled = np.full(count, cpus == "tables") if cpus != "both" else rng.random(count) < 0.5
    rows = np.flatnonzero(tabled)
    freq_hz = quickest_hz[rows, None] * np.linspace(1.0, 0.3, _POINTS)
    tau_s = fixed_s[rows, None] + cycles[rows, None] / freq_hz
    joules = tau_s * (static_w[rows, None] + kappa[rows, None] * freq_hz**3)
    cheapest = joules.argmin(axis=1, keepdims=True) if len(rows) else np.zeros((0, 1), dtype=np.int64)
    point = np.minimum(np.arange(_POINTS), cheapest)  # samples of a convex law: its falling part is the hull
    tables = Tables(rows, *(np.take_along_axis(column, point, axis=1) for column in (tau_s, joules, freq_hz)))
    rest = np.flatnonzero(~tabled)
    law = (fixed_s, cycles, static_w, kappa, 0.3 * quickest_hz, quickest_hz)
    return tables, Curves(rest, *(column[rest] for column in law))


def _seconds(curves: Curves, freq_hz: np.ndarray) -> np.ndarray:
    return energy.seconds_per_sample(freq_hz, curves.fixed_s, curves.cycles)


def _cheapest_hz(curves: Curves) -> np.ndarray:
    law = (curves.fixed_s, curves.cycles, curves.power_static_w, curves.kappa, curves.freq_min_hz, curves.freq_max_hz)
    return energy.cheapest_freq(np.zeros(len(curves.rows)), *law)


def _by_row(tables: Tables, curves: Curves, of_tables: np.ndarray, of_curves: np.ndarray) -> np.ndarray:
    values = np.empty(len(tables.rows) + len(curves.rows))
    values[tables.rows], values[curves.rows] = of_tables, of_curves
    return values


def binding(fleet: Fleet, points: Points) -> set[str]:
    """The names of the bounds that some device stands at."""
    links, near = fleet.links, 1e-7
    samples, compute_s, upload_s, hertz = points.samples, points.compute_s, points.upload_s, points.bandwidth_hz
    tau_s = compute_s / (fleet.epochs * np.maximum(samples, 1e-12))
    rows = np.flatnonzero(links.scheduled)
    law = (fleet.upload_bits[rows], hertz[rows], upload_s[rows], links.noise_w_per_hz[rows])
    stands = {
        "round": compute_s + upload_s > fleet.round_s * (1 - near),
        "early finish": compute_s + upload_s < fleet.round_s * (1 - near),
        "highest clock": tau_s < fleet.tau_min_s * (1 + near),
        "cheapest clock": tau_s > fleet.tau_idle_s * (1 - near),
        "local samples": samples < fleet.local * (1 + near),
        "storage": (samples > fleet.most * (1 - near)) & (fleet.most > fleet.local),
        "highest power": radio.tx_power_w(*law) > links.power_w[rows] * (1 - near),
        "the medium": np.array([total_use(fleet, points) > fleet.capacity * (1 - near)]),
        "whole band": (hertz > fleet.capacity * (1 - near)) & links.banded,
        "target": np.array([fleet.target_error is not None and _reached(fleet, samples)]),
    }
    return {name for name, where in stands.items() if bool(where.any())}


def _reached(fleet: Fleet, samples: np.ndarray) -> bool:
    return fleet.mean_error(samples) > (fleet.target_error or 0.0) * (1 - 1e-7)
