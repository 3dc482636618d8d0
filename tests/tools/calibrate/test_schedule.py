"""Order, resumption and bounded repetition of a sweep's windows."""

from __future__ import annotations

from collections import Counter

from tools.calibrate.rows import Row
from tools.calibrate.schedule import Cell, given_up, pick, planned, remaining, time_left_s

CELLS = planned((1e9, 2e9, 3e9), (1, 4), repeats=2, seed=7)


def row(cell: Cell, rejected: str | None = None) -> Row:
    return Row(0, cell.freq_hz, 1, 1.0, 1.0, cores=cell.cores, idle=cell.idle, repeat=cell.repeat, rejected=rejected)


def test_every_repeat_visits_every_cell_once_and_idle_windows_lie_between() -> None:
    training = [cell for cell in CELLS if not cell.idle]
    assert Counter(cell.repeat for cell in training) == {1: 6, 2: 6}
    assert len(set(training)) == 12
    assert [k for k, cell in enumerate(CELLS) if cell.idle] == [0, 6, 12]  # before the 1st, 6th and 11th of training
    assert [cell.repeat for cell in CELLS if cell.idle] == [1, 2, 3]


def test_the_seed_draws_the_order_and_each_repeat_has_its_own() -> None:
    assert planned((1e9, 2e9, 3e9), (1, 4), repeats=2, seed=7) == CELLS
    assert planned((1e9, 2e9, 3e9), (1, 4), repeats=2, seed=8) != CELLS
    first, second = ([(c.freq_hz, c.cores) for c in CELLS if c.repeat == n and not c.idle] for n in (1, 2))
    assert first != second


def test_what_is_there_is_not_measured_again() -> None:
    assert remaining(CELLS, [], 3) == CELLS
    assert remaining(CELLS, [row(cell) for cell in CELLS[:4]], 3) == CELLS[4:]


def test_a_rejected_window_comes_again_at_the_end_until_its_tries_are_used_up() -> None:
    bad = CELLS[1]
    rows = [row(CELLS[0]), row(bad, "starved")]
    assert remaining(CELLS, rows, 3) == (*CELLS[2:], bad)
    rows += [row(bad, "throttled"), row(bad, "throttled")]
    assert remaining(CELLS, rows, 3) == CELLS[2:]
    assert given_up(CELLS, rows) == (bad,)
    assert given_up(CELLS, [*rows, row(bad)]) == ()


def test_the_time_left_follows_the_windows_so_far() -> None:
    assert time_left_s(CELLS[:4], 60.0, 10.0, []) == 280.0
    assert time_left_s(CELLS[:4], 60.0, 10.0, [70.0, 80.0]) == 300.0


def test_clocks_are_picked_evenly_with_both_ends() -> None:
    assert pick((1.0, 2.0, 3.0, 4.0, 5.0), 3) == (1.0, 3.0, 5.0)
    assert pick((1.0, 2.0), 8) == (1.0, 2.0)
