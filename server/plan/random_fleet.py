"""Fleets out of the shipped board profiles, for trying the planner: everything is drawn from one seed.

Clocks, watts and link rates come from `firmware_profiles`, spread between units as the profiles say; classes follow a
Dirichlet distribution, amounts of data and channels a log-normal one. What no profile holds is assumed, here in one
place. A plan exists by construction: of the round 0.6 are enough for computing and 0.4 for uploading, and bandwidth and
target are chosen with room beside what is then possible.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from firmware_profiles.loader import load_profile
from firmware_profiles.schema import Profile
from models import learning_curve
from server.plan.build import build_fleet
from server.plan.columnar import starts
from server.plan.columns import Devices, Laws, Levels, Opps, Radios, Spreads
from server.plan.devices import RADIO_KINDS, LearningCurve
from server.plan.problem import Problem
from server.plan.upload_step import least_medium_use

RadioChoice = Literal["scheduled", "fixed_power", "shared_link", "wired", "levels", "mixed"]
RADIO_CHOICES: tuple[RadioChoice, ...] = get_args(RadioChoice)

PI_4B_SAMPLES_PER_S = 20.0  # at its top clock, the unit of `relative_speed`
CURVE = LearningCurve(1.51, 0.49, 0.12)  # of a VGG-9 on Fashion-MNIST, as `fit-learning` measured it
SYNTHETIC_VALUE = 0.48
CLASSES, ALPHA = 10, 0.4
LOCAL_SAMPLES = 250.0  # median
UPLOAD_BITS = 28e6  # 3.5 million weights of 8 bits
GAIN_HZ_PER_W = 3e9  # median channel gain over noise density
SHADOWING = 8.0 * np.log(10.0) / 10.0  # standard deviation of its logarithm: 8 dB
TX_POWER_W = 0.2
SLOWEST = 0.4  # share of the top clock below which no training is planned
POINTS = 6  # of a measured table
COMPUTE_SHARE = 0.6  # of the round
ROOM = 1.3  # bandwidth over what is needed
SPEED_SPREAD = 0.03  # of a board's seconds a sample from round to round, warm or cold
TYPES = ("jetson-nano", "raspberry-pi-4b", "raspberry-pi-5")  # whatever is shipped later: a seed stays a fleet
FADING = 2.0 * np.log(10.0) / 10.0  # standard deviation of a channel's logarithm from round to round: 2 dB


def random_fleet(count: int, seed: int, radio: RadioChoice = "scheduled", *, tables: bool = False) -> Problem:
    """A problem of `count` >= 1 devices that has a plan; with analytic laws, or `tables` of six measured points."""
    rng = np.random.default_rng(seed)
    profiles = [load_profile(name) for name in TYPES]
    board = rng.integers(len(profiles), size=count)
    speed = _around(rng, count, 0.05) * np.array([p.cpu.relative_speed.value for p in profiles])[board]
    tau_s = 1.0 / (PI_4B_SAMPLES_PER_S * speed)  # at the top clock
    spread = np.array([profile.power.spread.value for profile in profiles])[board]
    idle_w = np.array([p.power.idle_w.value for p in profiles])[board] * _around(rng, count, spread)
    load = _around(rng, count, 2 * spread)  # of the watts over idle
    wanted = LOCAL_SAMPLES * _around(rng, count, 0.5)
    round_s = np.ceil(10 * 2.5 * float(np.median(wanted * tau_s))) / 10
    local = np.maximum(np.minimum(wanted, 0.8 * COMPUTE_SHARE * round_s / tau_s).astype(np.int64), 1)
    storage = (local * rng.uniform(0.0, 2.0, count)).astype(np.int64)
    bits = UPLOAD_BITS * rng.uniform(0.95, 1.05, count)
    watts = np.array([profile.link.power_w.value for profile in profiles])[board]
    upload_s = (1 - COMPUTE_SHARE) * round_s
    points = [_clocks(profile) for profile in profiles]
    devices = Devices(
        ids=tuple(f"{profiles[kind].name}-{i}" for i, kind in enumerate(board.tolist())),
        local_counts=_classes(rng, local),
        storage_samples=storage,
        upload_bits=bits,
        power_idle_w=idle_w,
        laws=_laws(points, board, tau_s, idle_w, load, stated=not tables),
        opps=_opps(rng, points, board, tau_s, idle_w, load, stated=tables),
        radios=_radios(rng, radio, profiles, board, bits, upload_s, watts * rng.uniform(0.25, 0.5, count)),
        levels=_levels(count, stated=radio == "levels"),
        spreads=Spreads(np.full(count, SPEED_SPREAD), np.full(count, FADING)),
    )
    draft = Problem(devices, round_s, 1, 1.0, CURVE, SYNTHETIC_VALUE, "added", 1.0)
    fleet = build_fleet(draft)
    needed_hz = float(least_medium_use(fleet, np.full(count, upload_s)).sum())
    possible = np.clip(np.floor(COMPUTE_SHARE * round_s / fleet.tau_min_s), fleet.local, fleet.most)
    worth = learning_curve.effective_samples(fleet.local, fleet.local + 0.6 * (possible - fleet.local), fleet.eta)
    target = float(learning_curve.error(worth, CURVE.alpha, CURVE.beta, CURVE.gamma).mean())
    banded = bool(fleet.links.banded.any())
    return replace(draft, target_error=np.ceil(target * 1e5) / 1e5, bandwidth_hz=ROOM * needed_hz if banded else None)


def _around(rng: np.random.Generator, count: int, sigma: np.ndarray | float) -> np.ndarray:
    """Log-normal factors (count,) with median 1, at most three sigma away."""
    return np.exp(sigma * np.clip(rng.standard_normal(count), -3.0, 3.0))


def _classes(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """Dirichlet label counts (I, C) that sum to `samples`."""
    shares = rng.standard_gamma(ALPHA, (len(samples), CLASSES)) + 1e-12
    return rng.multinomial(samples, shares / shares.sum(axis=1, keepdims=True)).astype(np.int32)


# ---- processors --------------------------------------------------------------------------------------------------


def _clocks(profile: Profile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A profile's clocks (K,) from SLOWEST up, seconds a sample there over those at the top, watts over idle.

    Watts over idle go with V**2 * f, scaled to what the profile says of the top clock.
    """
    cpu = profile.cpu
    freq, volts = np.array(cpu.opps_hz.value), np.array(cpu.voltage_v.value)
    floor = max(SLOWEST * freq[-1], cpu.true_floor_hz.value if cpu.true_floor_hz else 0.0)
    freq, volts = freq[freq >= floor], volts[freq >= floor]
    stall = cpu.stall_share.value
    load = volts**2 * freq / (volts[-1] ** 2 * freq[-1])
    return freq, stall + (1 - stall) * freq[-1] / freq, load * (profile.power.full_w.value - profile.power.idle_w.value)


Points = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def _laws(
    points: Points, board: np.ndarray, tau_s: np.ndarray, idle_w: np.ndarray, load: np.ndarray, *, stated: bool
) -> Laws:
    """tau = a + w/f exactly, P = P_s + kappa*f**3 fitted to the profile's watts."""
    if not stated:
        return Laws(*(np.full(len(board), np.nan) for _ in range(6)))
    rows = []
    for freq, tau, watts in points:
        slope = (tau[0] - tau[-1]) / (1 / freq[0] - 1 / freq[-1]) if len(freq) > 1 else 0.0
        (static_w, kappa), *_ = np.linalg.lstsq(np.stack([np.ones_like(freq), freq**3], axis=1), watts, rcond=None)
        rows.append((tau[-1] - slope / freq[-1], slope, static_w, kappa, freq[0], freq[-1]))
    fixed, cycles, static_w, kappa, low, high = np.array(rows).T[:, board]
    return Laws(fixed * tau_s, cycles * tau_s, idle_w + load * static_w, load * kappa, low, high)


def _opps(
    rng: np.random.Generator, points: Points, board: np.ndarray, tau_s: np.ndarray, idle_w: np.ndarray,
    load: np.ndarray, *, stated: bool,
) -> Opps:  # fmt: skip
    """POINTS of each board's clocks, evenly spread, as a meter with an error of one per cent sees them."""
    if not stated:
        return Opps(starts([0] * len(board)), *(np.zeros(0) for _ in range(3)))
    rows = []
    for freq, tau, watts in points:
        pick = np.linspace(0, len(freq) - 1, POINTS).round().astype(int)
        rows.append([freq[pick], tau[pick], watts[pick]])
    freq, tau, watts = np.array(rows).transpose(1, 0, 2)[:, board]  # each (I, POINTS)
    seconds = tau * tau_s[:, None]
    over_w = watts * load[:, None] * _around(rng, freq.size, 0.01).reshape(freq.shape)
    joules = seconds * (idle_w[:, None] + over_w)
    return Opps(starts([POINTS] * len(board)), freq.ravel(), seconds.ravel(), joules.ravel())


# ---- radios ------------------------------------------------------------------------------------------------------


def _radios(
    rng: np.random.Generator, radio: RadioChoice, profiles: list[Profile], board: np.ndarray, bits: np.ndarray,
    upload_s: float, overhead_w: np.ndarray,
) -> Radios:  # fmt: skip
    """Radios of one kind, or mixed; each can upload within upload_s, given enough of the medium."""
    count = len(board)
    kinds = {"levels": ("scheduled",), "mixed": ("scheduled", "fixed_power", "wired")}.get(radio, (radio,))
    kind = np.array([RADIO_KINDS.index(name) for name in kinds])[rng.integers(len(kinds), size=count)]
    gain = GAIN_HZ_PER_W * _around(rng, count, SHADOWING)
    gain = np.maximum(gain, 5.0 * bits * np.log(2.0) / (0.5 * TX_POWER_W * upload_s))  # q = 5 at half the power
    rate = 8.0 * np.array([p.link.rate_bytes_per_s.value for p in profiles])[board] * _around(rng, count, 0.3)
    if radio == "shared_link":
        rate *= ROOM * float((bits / rate).sum()) / upload_s
    is_scheduled, is_fixed = (kind == RADIO_KINDS.index(name) for name in ("scheduled", "fixed_power"))
    lined = ~(is_scheduled | is_fixed)
    return Radios(
        kind=kind.astype(np.int8),
        gain_over_noise_hz_per_w=np.where(lined, np.nan, gain),
        tx_power_max_w=np.where(is_scheduled, TX_POWER_W, np.nan),
        tx_power_w=np.where(is_fixed, 0.5 * TX_POWER_W, np.nan),
        amplifier_efficiency=np.where(lined, 1.0, rng.uniform(0.3, 0.45, count)),
        overhead_w=overhead_w,
        link_bits_per_s=np.where(lined, np.maximum(rate, 1.25 * bits / upload_s), np.nan),
    )


def _levels(count: int, *, stated: bool) -> Levels:
    """Four levels, each twice the one below."""
    levels = TX_POWER_W * np.array([0.125, 0.25, 0.5, 1.0])
    return Levels(starts([4 * stated] * count), np.tile(levels, count * stated))
