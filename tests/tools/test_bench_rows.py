"""The bench's rows on windows worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from firmware_profiles.loader import load_profile
from tools.bench_rows import Row, rows_of, table
from tools.boards.law import BoardLaw, nominal_law
from tools.boards.ledger import FIELDS, Truth


@pytest.fixture
def law() -> BoardLaw:
    """Half a core at 2 GHz; a fifth of a sample's time does not depend on the clock: 1.8 times as long at 1 GHz."""
    nominal = nominal_law(load_profile("raspberry-pi-4b"), 0.5)
    return replace(nominal, opps_hz=(1e9, 2e9), voltage_v=(0.8, 1.0), stall_share=0.2, true_floor_hz=0.0)


@pytest.fixture
def truth() -> Truth:
    """3 W and half a core all the time, a tenth of it lost."""
    t = np.array([0.0, 20.0])
    rates = dict.fromkeys(FIELDS, 0.0) | {"true_j": 3.0, "cpu_s": 0.5, "starved_s": 0.1}
    return Truth(unit={}, t=t, columns={name: rate * t for name, rate in rates.items()})


def window(start: float, freq_hz: float, samples: int, energy_j: float, *, starved: bool | None = False) -> dict:
    """Of four seconds."""
    line: dict[str, Any] = {"kind": "profile", "start": start, "end": start + 4.0, "energy": {"energy_j": energy_j}}
    return line | {"freq_hz": freq_hz, "samples": samples, "starved": starved}


def test_a_board_at_two_clocks(law: BoardLaw, truth: Truth) -> None:
    journal = [
        {"kind": "idle", "start": 0.0, "end": 1.0},
        window(0.0, 2e9, 40, 12.3),  # 0.1 s a sample, 12 J truly
        window(4.0, 1e9, 20, 12.0, starved=None),  # 0.2 s a sample
        window(8.0, 1e9, 1, 99.0, starved=True),
    ]
    low, top = rows_of("b", law, journal, truth)
    assert (low.freq_mhz, low.windows, low.starved, low.seconds, low.samples_per_s) == (1000.0, 2, 1, 4.0, 5.0)
    assert (low.tau_ratio, low.law_ratio) == (pytest.approx(2.0), pytest.approx(1.8))
    assert low.speed_off == pytest.approx(2.0 / 1.8 - 1.0)
    assert (low.client_j, low.ledger_j, low.worst_energy_off) == (12.0, pytest.approx(12.0), pytest.approx(0.0))
    assert low.cpu_ms_per_sample == pytest.approx(100.0)  # 2 CPU-seconds for 20 samples
    assert low.share_off == pytest.approx(0.5 / (0.5 / 1.8) - 1.0)
    assert low.lost_share == pytest.approx(0.1)
    assert not low.ok  # 11 % slower than the law
    assert (top.tau_ratio, top.law_ratio, top.worst_energy_off) == (1.0, 1.0, pytest.approx(0.025))
    assert top.ok
    assert table([low, top]).splitlines()[2].split()[:6] == ["b", "2000", "1", "0", "4", "10.00"]


def test_where_all_is_starved_nothing_is_judged(law: BoardLaw, truth: Truth) -> None:
    [row] = rows_of("b", law, [window(0.0, 2e9, 40, 99.0, starved=True)], truth)
    assert isinstance(row, Row)
    assert math.isnan(row.samples_per_s)
    assert math.isnan(row.worst_energy_off)
    assert row.ok
