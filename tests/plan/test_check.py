"""The check catches what is wrong with a plan, one thing at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.plan import solve as solve_module
from server.plan.check import violations
from server.plan.problem import AnalyticCpu, Devices, Plan, PlannedSegment, Problem, Radio, Shares
from server.plan.solve import solve
from tests.plan.builders import KINDS, device, problem, random_problem, table

SINGLE = table((1e9, 1.0, 1.0))
CURVE = AnalyticCpu(0.0, 1e9, 2.0, 0.0, 1e-27, 5e8, 2e9)
RADIO = Radio("scheduled", gain_over_noise_hz_per_w=1e7, tx_power_max_w=0.1, amplifier_efficiency=0.5)
FIXED = Radio("fixed_power", gain_over_noise_hz_per_w=1e7, tx_power_w=0.1)
LINK = Radio("shared_link", link_bits_per_s=2e6)

# a: table, wired, time sharing; b: one clock, scheduled, the whole band in 2 s; target 1/20 each
ASKED = problem(
    device("a", storage=10),
    device("b", cpu=SINGLE, radio=RADIO, bits=2e6, storage=10),
    round_s=31.0,
    target=1 / 20,
    bandwidth_hz=1e6,
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return solve(ASKED)


def changed(plan: Plan, index: int, **fields) -> Plan:
    devices = list(plan.devices)
    devices[index] = replace(devices[index], **fields)
    return replace(plan, devices=Shares.of(devices))


def assert_caught(asked: Problem, plan: Plan, sentence: str) -> None:
    assert any(sentence in found for found in violations(asked, plan)), violations(asked, plan)


def test_the_sound_plan_passes(plan):
    assert violations(ASKED, plan) == []
    assert plan.devices[0].samples == pytest.approx(20)


@pytest.mark.parametrize(
    ("index", "fields", "sentence"),
    [
        (0, {"samples": float("nan")}, "a: a number is negative or not finite"),
        (0, {"upload_j": -1.0}, "a: a number is negative or not finite"),
        (0, {"samples": 9.0}, "a: samples 9.0 is not between 10 and 20"),
        (0, {"samples": 20.1}, "a: samples 20.1 is not between 10 and 20"),
        (0, {"executed_samples": 21}, "a: executed_samples 21 is not between 10 and 20"),
        (0, {"executed_samples": 9}, "a: executed_samples 9 is not between 10 and 20"),
        (0, {"compute_s": 30.1}, "a: compute_s and upload_s exceed round_s"),
        (0, {"executed_compute_s": 30.1}, "a: executed_compute_s and upload_s exceed round_s"),
        (0, {"compute_s": 19.0}, "a: compute_s 19.0 asks for a clock the device does not have"),
        (1, {"compute_s": 20.1}, "b: compute_s 20.1 asks for a clock the device does not have"),
        (0, {"compute_j": 49.0}, "a: compute_j 49.0 should be 50.0"),
        (0, {"compute_s": 29.0}, "a: compute_j 50"),
        (0, {"upload_s": 0.0}, "a: upload_s is not above 0"),
        (0, {"upload_s": 0.9}, "a: upload_s is less than the link takes"),
        (0, {"upload_j": 0.4}, "a: upload_j 0.4 should be 0.5"),
        (1, {"upload_s": 1.9}, "W, more than 0.1 W"),
        (1, {"bandwidth_hz": 0.0}, "b: bandwidth_hz 0.0 is not in (0, 1000000.0]"),
        (1, {"bandwidth_hz": 1.1e6}, "b: bandwidth_hz 1100000.0 is not in (0, 1000000.0]"),
        (1, {"tx_power_w": None}, "b: tx_power_w nan should be"),
        (1, {"tx_power_w": 0.05}, "b: tx_power_w 0.05 should be"),
        (0, {"segments": (PlannedSegment(1e9, 19),)}, "a: segments train 19 samples, not executed_samples * local"),
        (0, {"segments": (PlannedSegment(1e9, 5),) * 4}, "a: more than two segments"),
        (0, {"segments": (PlannedSegment(7e8, 20),)}, "a: 700000000.0 Hz is no clock of the device"),
        (
            0,
            {"segments": (PlannedSegment(None, 20),)},
            "a: a segment's freq_hz is null, and the device's clocks are known",
        ),
        (0, {"executed_compute_s": 29.0}, "a: executed_compute_s 29.0 should be 30"),
        (0, {"executed_compute_j": 49.0}, "a: executed_compute_j 49.0 should be 50"),
        (0, {"synth_counts": (11, -1)}, "a: a number of synth_counts is negative"),
        (0, {"segments": (PlannedSegment(1e9, 20), PlannedSegment(5e8, 0))}, "a: a segment without samples"),
        (0, {"executed_compute_s": float("nan")}, "a: executed_compute_s nan should be 30"),
        (0, {"synth_counts": (0, 9)}, "a: synth_counts do not sum to the synthetic samples"),
        (0, {"samples": 19.0}, "the mean error of samples"),
        (0, {"executed_samples": 19}, "the mean error of executed_samples"),
    ],
)
def test_a_changed_device_is_caught(plan, index, fields, sentence):
    assert_caught(ASKED, changed(plan, index, **fields), sentence)


NAMELESS = problem(device("a", cpu=table((float("nan"), 1.0, 3.0))), round_s=31.0)


def test_a_clock_that_is_not_known_is_null_in_plan_and_check():
    """10 samples of 1 s and 3 J at the only operating point, whose clock nobody could tell."""
    plan = solve(NAMELESS)
    assert plan.devices[0].segments == (PlannedSegment(None, 10),)
    assert plan.devices[0].executed_compute_j == pytest.approx(30.0)
    assert violations(NAMELESS, plan) == []
    assert_caught(
        NAMELESS,
        changed(plan, 0, segments=(PlannedSegment(1e9, 10),)),
        "a: 1000000000.0 Hz is no clock of the device",
    )
    halves = (PlannedSegment(None, 4), PlannedSegment(None, 6))
    assert_caught(NAMELESS, changed(plan, 0, segments=halves), "a: two segments on one clock")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"energy_j": 1.0}, "energy_j 1.0 should be 70.79"),
        ({"executed_energy_j": 1.0}, "executed_energy_j 1.0 should be 70.79"),
        ({"relative_gap": 0.5}, "relative_gap 0.5 should be"),
        ({"executed_gap": 0.5}, "executed_gap 0.5 should be"),
        ({"relative_gap": -0.5}, "a plan cannot be below its lower bound"),
        ({"price_error_j": -1.0}, "a price is negative: the lower bound is none"),
        ({"price_bandwidth_j_per_hz": -1.0}, "a price is negative: the lower bound is none"),
        ({"relative_gap": float("nan")}, "relative_gap nan should be"),
        ({"price_error_j": float("nan")}, "a price is negative: the lower bound is none"),
        ({"energy_basis": "board"}, "energy_basis 'board' is not the problem's, 'added'"),
        ({"devices": Shares.of(())}, "the plan's devices are not the problem's"),
    ],
)
def test_a_changed_total_is_caught(plan, fields, sentence):
    assert_caught(ASKED, replace(plan, **fields), sentence)


def test_a_dear_plan_that_says_so_passes(plan):
    dear = replace(plan, lower_bound_j=0.5 * plan.energy_j, relative_gap=0.5, executed_gap=0.5)
    assert violations(ASKED, dear) == []


def test_bands_are_added_up():
    twins = problem(*(device(n, cpu=SINGLE, radio=RADIO, bits=2e6) for n in "ab"), bandwidth_hz=1e6)
    plan = solve(twins)
    assert_caught(twins, changed(plan, 0, bandwidth_hz=7e5), "Hz, more than bandwidth_hz 1000000.0")


def test_links_are_added_up():
    twins = problem(*(device(n, cpu=SINGLE, radio=LINK, bits=2e6) for n in "ab"))
    plan = solve(twins)
    assert_caught(twins, changed(plan, 0, upload_s=1.001), "of the shared link")


def test_curves_and_fixed_powers_are_checked():
    asked = problem(device(cpu=CURVE, radio=FIXED, bits=2e6), bandwidth_hz=1e6, energy_basis="board")
    plan = solve(asked)
    assert violations(asked, plan) == []
    assert_caught(asked, changed(plan, 0, segments=(PlannedSegment(2.1e9, 10),)), "is no clock of the device")
    assert_caught(asked, changed(plan, 0, segments=(PlannedSegment(4e8, 10),)), "is no clock of the device")
    assert_caught(asked, changed(plan, 0, compute_s=4.9), "asks for a clock the device does not have")
    assert_caught(asked, changed(plan, 0, compute_s=20.1), "asks for a clock the device does not have")
    assert_caught(asked, changed(plan, 0, upload_s=1.9), "W, more than 0.1 W")
    assert_caught(asked, changed(plan, 0, upload_j=0.1), "upload_j 0.1 should be 0.19999")


@pytest.mark.parametrize(
    ("basis", "compute_j", "upload_j", "wrong_j"), [("added", 17.5, 0.5, 25.0), ("board", 25.0, 1.0, 17.5)]
)
def test_a_table_counts_idling_on_the_board_s_basis_alone(basis, compute_j, upload_j, wrong_j):
    """15 s for ten samples: five of 1 s and 3 J, five of 2 s and 2 J, idling at half a watt: 25 J, less 7.5 J."""
    cpu = table((5e8, 2.0, 2.0), (1e9, 1.0, 3.0), idle_w=0.5)
    asked = problem(device(cpu=cpu), round_s=16.0, energy_basis=basis)
    plan = solve(asked)
    share = plan.devices[0]
    assert violations(asked, plan) == []
    assert (share.compute_j, share.executed_compute_j, share.upload_j) == pytest.approx(
        (compute_j, compute_j, upload_j)
    )
    assert_caught(asked, changed(plan, 0, compute_j=wrong_j), f"a: compute_j {wrong_j} should be {compute_j}")
    assert_caught(
        asked, changed(plan, 0, executed_compute_j=wrong_j), f"a: executed_compute_j {wrong_j} should be {compute_j}"
    )


def test_a_radio_sends_with_one_of_its_levels():
    """The optimum of a radio that could be set to any power, told as if it had levels: 0.1 W are needed for 2 s."""
    free = replace(RADIO, tx_power_max_w=0.3)
    asked = problem(device("b", cpu=SINGLE, radio=free, bits=2e6), device("c"), round_s=12.0, bandwidth_hz=1e6)
    plan = solve(asked)
    assert plan.devices[0].tx_power_w == pytest.approx(0.1)

    def told(*levels: float, watts: float = 0.1) -> list[str]:
        stepped = Devices.of([replace(asked.devices[0], radio=replace(free, levels_w=levels)), asked.devices[1]])
        joules = watts / 0.5 * 2.0
        share = {"tx_power_w": watts, "upload_j": joules}
        new = changed(plan, 0, **share)
        total = float((new.devices.compute_j + new.devices.upload_j).sum())
        new = replace(new, energy_j=total, executed_energy_j=total, lower_bound_j=total)
        return violations(replace(asked, devices=stepped), replace(new, relative_gap=0.0, executed_gap=0.0))

    exact = plan.devices[0].tx_power_w
    assert told(0.05, exact, watts=exact) == []
    assert told(0.05, 0.2, watts=0.2) == []  # more than is needed is no fault but in joules, which say so
    assert "more than 0.05 W" in told(0.05, 0.2, watts=exact)[0]
    assert any("b: tx_power_w 0.1 should be 0.15" in what for what in told(0.15, 0.3, watts=0.1))


def test_nothing_trained_takes_no_time():
    asked = problem(device("a", local=(0, 0)), device("b"), target=0.5)
    plan = solve(problem(device("a"), device("b"), target=0.5))
    none = changed(plan, 0, samples=0.0, compute_s=0.0, compute_j=0.0)
    found = violations(asked, none)
    assert not any("compute_s" in sentence for sentence in found if "executed" not in sentence)
    assert_caught(asked, changed(none, 0, compute_s=1.0), "a: compute_s 1.0 asks for a clock")


def test_the_solver_never_returns_a_broken_plan(monkeypatch):
    monkeypatch.setattr(solve_module, "violations", lambda *_: ["a: something"])
    with pytest.raises(RuntimeError, match=r"broke its own constraints \(please report this\): a: something"):
        solve(problem(device()))


def test_classes_of_another_number_are_caught(plan):
    fewer = [replace(share, synth_counts=(sum(share.synth_counts),)) for share in plan.devices]
    assert_caught(ASKED, replace(plan, devices=Shares.of(fewer)), "synth_counts have 1 classes, local_counts 2")


def test_many_devices_with_the_same_fault_are_counted():
    many = problem(*(device(f"d{i}") for i in range(30)))
    plan = solve(many)
    late = [replace(share, upload_s=0.9) for share in plan.devices]
    found = [what for what in violations(many, replace(plan, devices=Shares.of(late))) if "link takes" in what]
    assert found[0] == "d0: upload_s is less than the link takes"
    assert len(found) == 10
    assert_caught(many, replace(plan, devices=Shares.of(late)), "the same kind of thing with 20 more devices")


# ---- plans broken on purpose, of every kind of fleet -------------------------------------------------------------

NUMBERS = ("compute_j", "upload_j", "executed_compute_s", "executed_compute_j", "executed_samples")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 100),
    kind=st.sampled_from(KINDS),
    name=st.sampled_from(NUMBERS),
    row=st.integers(0, 4),
    factor=st.sampled_from([0.0, 0.5, 1 - 1e-6, 1 + 1e-6, 2.0, -1.0]),
)
def test_no_number_of_a_device_can_be_changed_unseen(seed, kind, name, row, factor):
    asked = random_problem(seed, 5, kind, "mixed", 0.5)
    plan = solve(asked, batch_size=32)
    told = getattr(plan.devices[row], name)
    value = told + (1 if factor > 1 else -1) if name == "executed_samples" else factor * told
    assert violations(asked, plan) == []
    assert violations(asked, changed(plan, row, **{name: value}))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 100),
    kind=st.sampled_from(KINDS),
    name=st.sampled_from(["samples", "compute_s", "upload_s", "bandwidth_hz"]),
    row=st.integers(0, 4),
    factor=st.sampled_from([0.9, 1.1]),
)
def test_a_perturbed_optimum_breaks_something_or_costs_something(seed, kind, name, row, factor):
    """More of one thing alone may be legal, but then the joules no longer are what they were said to be."""
    asked = random_problem(seed, 5, kind, "mixed", 0.5)
    plan = solve(asked, batch_size=32)
    broken = changed(plan, row, **{name: factor * getattr(plan.devices[row], name)})
    idling = name in ("compute_s", "upload_s") and factor > 1  # where there is time, and nothing draws power meanwhile
    free = getattr(plan.devices[row], name) == 0 or idling
    assert free or violations(asked, broken)


def test_an_upload_that_fills_the_round_shows_in_the_gap():
    """s forced to T - t: 79 s more at half a watt. Told honestly, the gap is there to see; else it is caught."""
    asked = problem(device(), round_s=100.0)
    plan = solve(asked)
    slow = changed(plan, 0, upload_s=80.0, upload_j=40.0)
    slow = replace(slow, energy_j=60.0, executed_energy_j=60.0, relative_gap=0.0, executed_gap=0.0)
    assert_caught(asked, slow, "relative_gap 0.0 should be 0.658")
    honest = replace(slow, relative_gap=1 - 20.5 / 60.0, executed_gap=1 - 20.5 / 60.0)
    assert violations(asked, honest) == []


def test_a_search_that_looked_at_half_of_the_domain_shows_in_the_gap():
    """Half of the storage: what is optimal there costs more, and the bound of the whole problem says so."""
    cheap, dear = device("a", cpu=SINGLE), device("b", cpu=table((1e9, 1.0, 4.0)))
    asked = problem(cheap, dear, target=3 / 80)
    whole, half = solve(asked), solve(problem(replace(cheap, storage_samples=20), dear, target=3 / 80))
    assert half.energy_j > whole.energy_j
    assert half.lower_bound_j > whole.energy_j  # a bound of half a domain is none of the whole
    claimed = replace(half, lower_bound_j=whole.lower_bound_j)
    assert_caught(asked, claimed, "relative_gap")


def test_what_a_wire_has_none_of_is_refused():
    asked = problem(device("a"), device("b"))
    plan = solve(asked)
    assert_caught(asked, changed(plan, 0, bandwidth_hz=1.0), "a: bandwidth_hz is not 0, and the radio takes no band")
    assert_caught(asked, changed(plan, 1, tx_power_w=1.0), "b: tx_power_w 1.0 should be nan")


def test_a_clock_that_changes_to_itself_is_refused():
    asked = problem(device("a"))
    plan = solve(asked)
    (segment,) = plan.devices[0].segments
    halves = (replace(segment, samples=3), replace(segment, samples=segment.samples - 3))
    assert_caught(asked, changed(plan, 0, segments=halves), "a: two segments on one clock")
