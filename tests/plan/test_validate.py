"""Values that cannot be meant are refused by name."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from server.errors import ConfigError
from server.plan.problem import AnalyticCpu, Devices, LearningCurve, OppTable, Radio
from server.plan.validate import validate
from tests.plan.builders import device, problem, table

CURVE = AnalyticCpu(0.5, 5e8, 2.0, 1.0, 1e-27, 1e8, 2e9)
RADIO = Radio("scheduled", gain_over_noise_hz_per_w=1e7, tx_power_max_w=0.1)
FIXED = Radio("fixed_power", gain_over_noise_hz_per_w=1e7, tx_power_w=0.1)
LINK = Radio("shared_link", link_bits_per_s=2e6)
SOUND = problem(device("a"), device("b", cpu=CURVE, radio=RADIO), target=0.1, bandwidth_hz=1e6)


def refused(make, *parts, **fields) -> str:
    """The sentence with which the problem that is made so is refused, at once or when it is validated."""
    with pytest.raises(ConfigError) as error:
        validate(make(*parts, **fields))
    return str(error.value)


def beside(device_):
    """The sound problem with one more device."""
    return replace(SOUND, devices=Devices.of([*SOUND.devices, device_]))


def test_the_sound_problem_passes():
    validate(SOUND)
    validate(problem(device("a"), device("b", radio=LINK), energy_basis="board"))
    validate(replace(SOUND, synthetic_value=1.0, learning_curve=LearningCurve(1.0, 1.0, 0.0)))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"round_s": 0.0}, "round_s: 0.0 is not a finite number above 0"),
        ({"round_s": math.nan}, "round_s: nan is not a finite number above 0"),
        ({"round_s": math.inf}, "round_s: inf is not a finite number above 0"),
        ({"local_epochs": 0}, "local_epochs: 0 is not a whole number from 1 to 1000000"),
        ({"learning_curve": LearningCurve(0.0, 1.0, 0.0)}, "learning_curve.alpha: 0.0 is not"),
        ({"learning_curve": LearningCurve(1.0, -1.0, 0.0)}, "learning_curve.beta: -1.0 is not"),
        ({"learning_curve": LearningCurve(1.0, 1.0, 1.0)}, "learning_curve.gamma: 1.0 is not in [0, 1)"),
        ({"learning_curve": LearningCurve(1.0, 1.0, -0.1)}, "learning_curve.gamma: -0.1 is not in [0, 1)"),
        ({"synthetic_value": 0.0}, "synthetic_value: 0.0 is not in (0, 1]"),
        ({"synthetic_value": 1.1}, "synthetic_value: 1.1 is not in (0, 1]"),
        ({"target_error": 0.0}, "target_error: 0.0 is not a finite number above 0"),
        ({"bandwidth_hz": None}, "bandwidth_hz: missing; radios on a shared band need it"),
        ({"bandwidth_hz": -1.0}, "bandwidth_hz: -1.0 is not a finite number above 0"),
        ({"devices": Devices.of(())}, "devices: none; a plan needs at least one"),
        ({"energy_basis": "wall"}, "energy_basis: 'wall' is neither 'added' nor 'board'"),
        ({"local_epochs": 1.5}, "local_epochs: 1.5 is not a whole number from 1 to 1000000"),
    ],
)
def test_fields_of_the_problem(fields, sentence):
    assert refused(replace, SOUND, **fields).startswith(sentence)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"local_counts": np.array([1.0, 2.0])}, "x: local_counts: not a list of whole numbers, one a class"),
        ({"local_counts": np.array([[1, 2]])}, "x: local_counts: not a list of whole numbers, one a class"),
        ({"local_counts": np.array([1, 2, 3])}, "x: local_counts: 3 classes, others have 2"),
        ({"local_counts": np.array([1, -2])}, "x: local_counts: a count is below 0"),
        ({"storage_samples": -1}, "x: storage_samples: -1 is not a whole number from 0 to 2147483647"),
        ({"upload_bits": 0.0}, "x: upload_bits: 0.0 is not a finite number above 0"),
        ({"cpu": replace(CURVE, fixed_s_per_sample=-1.0)}, "x: cpu.fixed_s_per_sample: -1.0 is not a finite number, 0"),
        ({"cpu": replace(CURVE, power_idle_w=-1.0)}, "x: cpu.power_idle_w: -1.0 is not a finite number, 0 or more"),
        ({"cpu": replace(CURVE, cycles_per_sample=0.0)}, "x: cpu.cycles_per_sample: 0.0 is not"),
        ({"cpu": replace(CURVE, kappa_w_per_hz3=0.0)}, "x: cpu.kappa_w_per_hz3: 0.0 is not"),
        ({"cpu": replace(CURVE, freq_min_hz=0.0)}, "x: cpu.freq_min_hz: 0.0 is not"),
        ({"cpu": replace(CURVE, freq_max_hz=math.inf)}, "x: cpu.freq_max_hz: inf is not"),
        ({"cpu": replace(CURVE, power_static_w=math.nan)}, "x: cpu.power_static_w: nan is not a finite number"),
        ({"cpu": replace(CURVE, freq_min_hz=3e9)}, "x: cpu.freq_min_hz: above freq_max_hz"),
        (
            {"cpu": replace(CURVE, power_static_w=0.998)},
            "x: cpu: on the basis 'added' training at freq_min_hz draws -0",
        ),
        (
            {"cpu": OppTable(np.array([1e9]), np.array([1.0, 2.0]), np.array([1.0]), 0.0)},
            "x: opps: columns empty or of",
        ),
        ({"cpu": OppTable(np.zeros(0), np.zeros(0), np.zeros(0), 0.0)}, "x: opps: columns empty or of unequal length"),
        ({"cpu": table((1e9, 1.0, 1.0), idle_w=-1.0)}, "x: cpu.power_idle_w: -1.0 is not a finite number, 0 or more"),
        ({"cpu": table((2e9, 1.0, 3.0), (1e9, 2.0, 2.0))}, "x: opps.freq_hz: not in ascending order"),
        ({"cpu": table((1e9, 1.0, 3.0), (1e9, 2.0, 2.0))}, "x: opps.freq_hz: not in ascending order"),
        (
            {"cpu": table((1e9, 1.0, 3.0), (math.nan, 2.0, 2.0))},
            "x: opps.freq_hz: null, for a clock that is not known, beside other operating points; state every clock",
        ),
        ({"cpu": table((math.nan, 0.0, 3.0))}, "x: opps.s_per_sample: 0.0 is not a finite number above 0"),
        ({"cpu": table((0.0, 1.0, 3.0))}, "x: opps.freq_hz: 0.0 is not a finite number above 0"),
        ({"cpu": table((1e9, 0.0, 3.0))}, "x: opps.s_per_sample at 1000 MHz: 0.0 is not a finite number above 0"),
        ({"cpu": table((1e9, 1.0, math.nan))}, "x: opps.j_per_sample at 1000 MHz: nan is not a finite number above 0"),
        (
            {"cpu": table((1e9, 2.0, 3.0), idle_w=1.5)},
            "x: opps.j_per_sample at 1000 MHz: 3 J is not above the 3 J that idling takes in that time: measure again, "
            'or plan on energy_basis "board"',
        ),
        ({"radio": replace(RADIO, amplifier_efficiency=0.0)}, "x: radio.amplifier_efficiency: 0.0 is not in (0, 1]"),
        ({"radio": replace(RADIO, amplifier_efficiency=1.1)}, "x: radio.amplifier_efficiency: 1.1 is not in (0, 1]"),
        ({"radio": replace(RADIO, overhead_w=-0.1)}, "x: radio.overhead_w: -0.1 is not a finite number, 0 or more"),
        ({"radio": replace(RADIO, levels_w=())}, "x: radio.levels_w: empty; state the levels, or leave it out"),
        ({"radio": replace(RADIO, levels_w=(0.1, 0.05))}, "x: radio.levels_w: not in ascending order"),
        ({"radio": replace(RADIO, levels_w=(0.0, 0.05))}, "x: radio.levels_w: 0.0 is not a finite number above 0"),
        ({"radio": replace(RADIO, levels_w=(0.05, 0.2))}, "x: radio.levels_w: 0.2 is above tx_power_max_w 0.1"),
        ({"radio": replace(LINK, levels_w=(0.05,))}, "x: radio.levels_w: a radio of kind 'shared_link' has none;"),
        ({"radio": replace(RADIO, tx_power_max_w=math.nan)}, "x: radio.tx_power_max_w: nan is not a number"),
        ({"radio": replace(FIXED, tx_power_w=0.0)}, "x: radio.tx_power_w: 0.0 is not a finite number above 0"),
        ({"radio": replace(RADIO, kind="pigeon")}, "x: radio.kind: 'pigeon' is none of scheduled, fixed_power, shared"),
        (
            {"radio": replace(RADIO, tx_power_max_w=None)},
            "x: radio.tx_power_max_w: missing; a radio of kind 'scheduled'",
        ),
        ({"radio": replace(RADIO, gain_over_noise_hz_per_w=0.0)}, "x: radio.gain_over_noise_hz_per_w: 0.0 is not"),
        ({"radio": replace(FIXED, tx_power_w=None)}, "x: radio.tx_power_w: missing; a radio of kind 'fixed_power'"),
        ({"radio": replace(FIXED, gain_over_noise_hz_per_w=None)}, "x: radio.gain_over_noise_hz_per_w: missing"),
        ({"radio": Radio("wired")}, "x: radio.link_bits_per_s: missing; a radio of kind 'wired' needs it"),
        ({"radio": Radio("shared_link")}, "x: radio.link_bits_per_s: missing; a radio of kind 'shared_link' needs it"),
        ({"radio": replace(LINK, tx_power_w=-0.1)}, "x: radio.tx_power_w: -0.1 is not a finite number, 0 or more"),
        (
            {"radio": LINK},
            "devices: radios of kind 'shared_link' beside ['scheduled']: one problem has one shared medium",
        ),
        ({"id": "a"}, "devices: the id 'a' appears twice"),
    ],
)
def test_fields_of_a_device(fields, sentence):
    assert refused(beside, replace(device("x"), **fields)).startswith(sentence)


def test_without_classes():
    assert "local_counts: not a list" in refused(problem, device(local=()))


def test_a_whole_board_table_may_lie_near_idle():
    validate(problem(device(cpu=table((1e9, 2.0, 3.0), idle_w=1.5)), energy_basis="board"))


@pytest.mark.parametrize("size", [1e-300, 1e300])
@pytest.mark.parametrize("field", ["upload_bits", "bandwidth_hz", "round_s", "gain_over_noise_hz_per_w", "overhead_w"])
def test_sizes_beyond_all_units_are_refused_by_name(field, size):
    radio = Radio("scheduled", gain_over_noise_hz_per_w=1e8, tx_power_max_w=1.0, overhead_w=0.1)
    made = device(radio=replace(radio, **{field: size}) if hasattr(radio, field) else radio)
    if field == "upload_bits":
        made = replace(made, upload_bits=size)
    whole = problem(made, bandwidth_hz=1e6)
    whole = replace(whole, **{field: size}) if hasattr(whole, field) else whole
    with pytest.raises(ConfigError, match=rf"{field}: .* is not between 1e-45 and 1e\+30, in SI units"):
        validate(whole)


@pytest.mark.parametrize("name", ["", "a\nb"])
def test_an_id_can_be_printed(name):
    with pytest.raises(ConfigError, match="an id must have letters"):
        validate(problem(device(name)))
