"""Sweep and fit against hidden laws: the gates, for every shipped profile and several units of each."""

from __future__ import annotations

import pytest

from firmware_profiles.loader import shipped
from tools import bench_calibrate
from tools.bench_calibrate import Misses, Score, Twin, score, swept
from tools.calibrate.schedule import Cell


@pytest.mark.parametrize("profile", shipped())
@pytest.mark.parametrize("clocks", [5, 8])
def test_held_out_clocks_and_another_network_are_foretold(profile: str, clocks: int) -> None:
    for one in score(profile, range(8), clocks):
        assert one.clocks > 0
        assert one.energy_mape <= 0.06, one
        assert one.energy_worst <= 0.12, one
        assert one.time_mape <= 0.05, one


def test_a_twin_hides_what_the_fit_must_find() -> None:
    """Its seconds follow its own stalled share; its meter reads `gain` of the truth."""
    twin = Twin.drawn("raspberry-pi-4b", 1)
    row, true_j = twin.window(Cell(twin.opps_hz[0], 1, 1))
    tau_s = twin.sample_s * (twin.law.stall_share + (1 - twin.law.stall_share) * 2.5)
    assert row.duration_s / row.samples == pytest.approx(tau_s, rel=0.02)
    assert row.energy_j / true_j == pytest.approx(twin.gain, rel=0.01)
    law = swept(twin, 8, 1).law
    assert law.fixed_s_per_sample == pytest.approx(twin.sample_s * twin.law.stall_share, rel=0.1)


def test_a_missed_gate_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = Score("a", "x", 1, 0.06, 0.12, 0.05, 0), Score("a", "y", 1, 0.01, 0.13, 0.01, 1)
    monkeypatch.setattr(bench_calibrate, "score", lambda *_: (good, good, bad))
    assert bench_calibrate.main(["--seeds", "1"]) == 1
    assert capsys.readouterr().out.count("misses the gate") == len(shipped())
    assert Misses((1.0,), (2.0,)) + Misses((3.0,), ()) == Misses((1.0, 3.0), (2.0,))
