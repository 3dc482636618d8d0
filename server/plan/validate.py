"""Refuses a problem whose values make no sense, naming the device, the field and what would be right.

Only values are looked at here; whether a sensible problem has a plan is for `feasible`. Of several wrong values the
first device's is named, and of a device's the first that is looked at.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np

from server.errors import ConfigError
from server.plan.columnar import names, row_of
from server.plan.columns import Devices, Laws, Spreads
from server.plan.devices import RADIO_KINDS
from server.plan.problem import Problem

_POSITIVE = "a finite number above 0"
_NOT_NEGATIVE = "a finite number, 0 or more"
_OUTLANDISH = "is not between 1e-45 and 1e+30, in SI units"
_MOST_EPOCHS = 1_000_000
_SIZES = (1e-45, 1e30)  # of any positive number: wide beyond all units, and what is calculated with it stays finite
_MOST_BETA, _MOST_SPREAD = 100.0, 3.0

_NEEDED = {
    "scheduled": ("gain_over_noise_hz_per_w",),
    "fixed_power": ("gain_over_noise_hz_per_w", "tx_power_w"),
    "shared_link": ("link_bits_per_s",),
    "wired": ("link_bits_per_s",),
}


def validate(problem: Problem) -> None:
    """Raises `ConfigError` at the first value of the problem that cannot be meant."""
    _positive("round_s", problem.round_s)
    epochs = problem.local_epochs
    whole = isinstance(epochs, int | np.integer) and 1 <= epochs <= _MOST_EPOCHS
    _require(whole, f"local_epochs: {epochs} is not a whole number from 1 to {_MOST_EPOCHS}")
    curve = problem.learning_curve
    _positive("learning_curve.alpha", curve.alpha)
    _positive("learning_curve.beta", curve.beta)
    _require(curve.beta <= _MOST_BETA, f"learning_curve.beta: {curve.beta} is above {_MOST_BETA}")
    _require(0 <= curve.gamma < 1, f"learning_curve.gamma: {curve.gamma} is not in [0, 1)")
    _require(0 < problem.synthetic_value <= 1, f"synthetic_value: {problem.synthetic_value} is not in (0, 1]")
    basis = problem.energy_basis
    _require(basis in ("added", "board"), f"energy_basis: {basis!r} is neither 'added' nor 'board'")
    if problem.target_error is not None:
        _positive("target_error", problem.target_error)
    _devices(problem)
    _medium(problem)


def _devices(problem: Problem) -> None:
    devices = problem.devices
    _require(len(devices) > 0, "devices: none; a plan needs at least one")
    twice = len(set(devices.ids)) < len(devices)
    _require(not twice, f"devices: the id {_commonest(devices.ids)!r} appears twice" if twice else "")
    first = _FirstWrong(devices.ids)
    first.among(devices.local_counts.min(axis=1) < 0, "local_counts: a count is below 0")
    storage = devices.storage_samples
    first.among(storage < 0, lambda i: f"storage_samples: {storage[i]} is below 0")
    first.unless_positive("upload_bits", devices.upload_bits)
    _laws(first, problem)
    _tables(first, problem)
    _radios(first, devices)
    for name in names(Spreads):
        _spread(first, f"spread.{name}", getattr(devices.spreads, name))
    nameless = np.array([not (id_ and id_.isprintable()) for id_ in devices.ids])
    first.among(nameless, "an id must have letters, and only printable ones")
    first.refuse()


def _spread(first: _FirstWrong, path: str, values: np.ndarray) -> None:
    wrong = ~((values >= 0) & (values <= _MOST_SPREAD))
    first.among(wrong, lambda i: f"{path}: {values[i]} is not in [0, {_MOST_SPREAD}]")


def _outlandish(values: np.ndarray) -> np.ndarray:
    """Where a positive number is beyond all sizes."""
    return (values < _SIZES[0]) | (values > _SIZES[1])


class _FirstWrong:
    """Keeps the sentence on the first device for which anything is wrong."""

    def __init__(self, ids: tuple[str, ...]):
        self.ids, self.index, self.sentence = ids, len(ids), ""

    def among(self, wrong: np.ndarray, sentence: str | Callable[[int], str], rows: np.ndarray | None = None) -> None:
        """`wrong` is of the devices (I,), or of values (N,) that belong to the devices `rows` (N,), ascending; the
        sentence is the same for all or made from the place of the wrong value."""
        place = int(wrong.argmax()) if len(wrong) else 0
        if not len(wrong) or not wrong[place]:
            return
        index = place if rows is None else int(rows[place])
        if index < self.index:
            what = sentence if isinstance(sentence, str) else sentence(place)
            self.index, self.sentence = index, f"{self.ids[index]}: {what}"

    def unless_positive(self, path: str, values: np.ndarray, asked: np.ndarray | bool = True) -> None:
        """Of devices (I,) for which it is asked."""
        self.among(asked & ~(np.isfinite(values) & (values > 0)), lambda i: f"{path}: {values[i]} is not {_POSITIVE}")
        self.among(asked & _outlandish(values), lambda i: f"{path}: {values[i]} {_OUTLANDISH}")

    def if_negative(self, path: str, values: np.ndarray, asked: np.ndarray | bool = True) -> None:
        wrong = asked & ~(np.isfinite(values) & (values >= 0))
        self.among(wrong, lambda i: f"{path}: {values[i]} is not {_NOT_NEGATIVE}")
        self.among(asked & (values != 0) & _outlandish(values), lambda i: f"{path}: {values[i]} {_OUTLANDISH}")

    def refuse(self) -> None:
        _require(not self.sentence, self.sentence)


def _laws(first: _FirstWrong, problem: Problem) -> None:
    devices, laws, basis = problem.devices, problem.devices.laws, problem.energy_basis
    asked = ~devices.tabled
    first.if_negative("cpu.power_idle_w", devices.power_idle_w)
    first.if_negative("cpu.fixed_s_per_sample", laws.fixed_s_per_sample, asked)
    for name in names(Laws):
        if name not in ("fixed_s_per_sample", "power_static_w"):
            first.unless_positive(f"cpu.{name}", getattr(laws, name), asked)
    static_w = laws.power_static_w
    first.among(asked & ~np.isfinite(static_w), lambda i: f"cpu.power_static_w: {static_w[i]} is not a finite number")
    huge = asked & (np.abs(static_w) > _SIZES[1])
    first.among(huge, lambda i: f"cpu.power_static_w: {static_w[i]} {_OUTLANDISH}")
    with np.errstate(all="ignore"):  # what is not finite has been named above
        first.among(asked & (laws.freq_min_hz > laws.freq_max_hz), "cpu.freq_min_hz: above freq_max_hz")
        least_w = static_w + laws.kappa_w_per_hz3 * laws.freq_min_hz**3
        if basis == "added":
            least_w = least_w - devices.power_idle_w
    first.among(
        asked & ~(least_w > 0),
        lambda i: (
            f"cpu: on the basis {basis!r} training at freq_min_hz draws {least_w[i]:.4g} W, which is not above 0: fit "
            "power_static_w and power_idle_w again"
        ),
    )


def _tables(first: _FirstWrong, problem: Problem) -> None:
    devices, opps = problem.devices, problem.devices.opps
    rows, freq = row_of(opps.start), opps.freq_hz

    def at(k: int) -> str:
        return "" if not freq[k] > 0 else f" at {freq[k] / 1e6:.5g} MHz"

    nameless = np.isnan(freq)
    several = np.diff(opps.start)[rows] > 1
    first.among(
        nameless & several,
        "opps.freq_hz: null, for a clock that is not known, beside other operating points; state every clock, or the "
        "one point that the board has",
        rows,
    )
    disorder = np.zeros(len(freq), dtype=bool)
    disorder[1:] = (rows[1:] == rows[:-1]) & (freq[1:] <= freq[:-1])
    first.among(disorder, "opps.freq_hz: not in ascending order", rows)
    for name in ("freq_hz", "s_per_sample", "j_per_sample"):
        values = getattr(opps, name)

        def sentence(k: int, name: str = name, values: np.ndarray = values) -> str:
            return f"opps.{name}{at(k) if name != 'freq_hz' else ''}: {values[k]} is not {_POSITIVE}"

        wrong = ~(np.isfinite(values) & (values > 0))
        first.among(wrong & ~nameless if name == "freq_hz" else wrong, sentence, rows)
    if problem.energy_basis == "added":
        with np.errstate(all="ignore"):
            idle_j = devices.power_idle_w[rows] * opps.s_per_sample
        first.among(
            ~(opps.j_per_sample > idle_j),
            lambda k: (
                f"opps.j_per_sample{at(k)}: {opps.j_per_sample[k]:.4g} J is not above the {idle_j[k]:.4g} J that "
                'idling takes in that time: measure again, or plan on energy_basis "board"'
            ),
            rows,
        )


def _radios(first: _FirstWrong, devices: Devices) -> None:
    radios, levels = devices.radios, devices.levels
    efficiency = radios.amplifier_efficiency
    first.among(
        ~((efficiency > 0) & (efficiency <= 1)),
        lambda i: f"radio.amplifier_efficiency: {efficiency[i]} is not in (0, 1]",
    )
    first.if_negative("radio.overhead_w", radios.overhead_w)
    levelled = np.diff(levels.start) > 0
    for kind, fields in _NEEDED.items():
        for name in fields:
            _missing(first, name, radios.of_kind(kind), getattr(radios, name), kind)
    _missing(first, "tx_power_max_w", radios.of_kind("scheduled") & ~levelled, radios.tx_power_max_w, "scheduled")
    for name in ("gain_over_noise_hz_per_w", "tx_power_max_w", "link_bits_per_s"):
        values = getattr(radios, name)
        first.unless_positive(f"radio.{name}", values, ~np.isnan(values))
    first.if_negative("radio.tx_power_w", radios.tx_power_w, ~np.isnan(radios.tx_power_w))
    fixed = radios.of_kind("fixed_power")
    first.unless_positive("radio.tx_power_w", radios.tx_power_w, fixed & ~np.isnan(radios.tx_power_w))
    _levels(first, devices, levelled)


def _missing(first: _FirstWrong, name: str, asked: np.ndarray, values: np.ndarray, kind: str) -> None:
    first.among(asked & np.isnan(values), f"radio.{name}: missing; a radio of kind {kind!r} needs it")


def _levels(first: _FirstWrong, devices: Devices, levelled: np.ndarray) -> None:
    radios, start, watts = devices.radios, devices.levels.start, devices.levels.watts
    first.among(
        levelled & ~radios.of_kind("scheduled"),
        lambda i: f"radio.levels_w: a radio of kind {RADIO_KINDS[radios.kind[i]]!r} has none; only 'scheduled' may",
    )
    rows = row_of(start)
    wrong = ~(np.isfinite(watts) & (watts > 0))
    first.among(wrong, lambda k: f"radio.levels_w: {watts[k]} is not {_POSITIVE}", rows)
    disorder = np.zeros(len(watts), dtype=bool)
    disorder[1:] = (rows[1:] == rows[:-1]) & (watts[1:] <= watts[:-1])
    first.among(disorder, "radio.levels_w: not in ascending order", rows)
    limit_w = radios.tx_power_max_w[rows]
    first.among(watts > limit_w, lambda k: f"radio.levels_w: {watts[k]} is above tx_power_max_w {limit_w[k]}", rows)


def _medium(problem: Problem) -> None:
    radios = problem.devices.radios
    kinds = [kind for kind in ("fixed_power", "scheduled") if radios.of_kind(kind).any()]
    if kinds:
        _require(problem.bandwidth_hz is not None, "bandwidth_hz: missing; radios on a shared band need it")
        _require(
            not radios.of_kind("shared_link").any(),
            f"devices: radios of kind 'shared_link' beside {kinds}: one problem has one shared medium",
        )
    if problem.bandwidth_hz is not None:
        _positive("bandwidth_hz", problem.bandwidth_hz)


def _commonest(ids: tuple[str, ...]) -> str:
    return Counter(ids).most_common(1)[0][0]


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ConfigError(sentence)


def _positive(path: str, value: float) -> None:
    _require(math.isfinite(value) and value > 0, f"{path}: {value} is not {_POSITIVE}")
    _require(_SIZES[0] <= value <= _SIZES[1], f"{path}: {value} {_OUTLANDISH}")
