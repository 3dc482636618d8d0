"""What a board did before decides how a window is called."""

from __future__ import annotations

import pytest

from edge_client.agent.obedience import Job, Memory, Obedience, Verdict
from edge_client.protocol.messages import NetworkSpec, OppPoint
from edge_client.protocol.values import VerifiedBy

JOB = Job(NetworkSpec(name="vgg9", image_shape=(8, 8, 1), n_classes=3), 32)


def point(freq_hz: float, s_per_sample: float, verified_hz: float | None, *, starved: bool = False) -> OppPoint:
    return OppPoint(
        freq_hz=freq_hz, verified_hz=verified_hz, s_per_sample=s_per_sample, j_per_sample=None, samples=100,
        duration_s=5.0, uncertainty=None, starved=starved,
    )  # fmt: skip


def told(points: tuple[OppPoint, ...]) -> list[tuple[float | None, VerifiedBy | None, str | None]]:
    return [(point.verified_hz, point.verified_by, point.finding) for point in points]


def test_a_profile_names_a_floor_that_the_firmware_shows() -> None:
    points = [point(1e9, 0.02, 1.5e9), point(1.5e9, 0.02, 1.5e9), point(2.4e9, 0.015, 2.4e9)]
    assert told(Obedience().profiled(JOB, points, "firmware")) == [
        (1.5e9, "firmware", "floor"),
        (1.5e9, "firmware", None),
        (2.4e9, "firmware", None),
    ]


def test_known_work_overrules_a_driver_that_repeats_the_request() -> None:
    points = [point(0.5e9, 0.0201, 0.5e9), point(1e9, 0.02, 1e9), point(1.5e9, 0.0199, 1.5e9)]
    assert told(Obedience().profiled(JOB, points, "driver")) == [
        (1.5e9, "work", "not_applied"),
        (1.5e9, "work", "not_applied"),
        (1.5e9, "driver", None),
    ]


def test_starved_points_accuse_nobody() -> None:
    points = [point(0.5e9, 0.03, 0.5e9), point(1e9, 0.03, 1e9, starved=True), point(1.5e9, 0.013, 1.5e9)]
    assert {one.finding for one in Obedience().profiled(JOB, points, "driver")} == {None}


def profiled(by: VerifiedBy = "driver") -> Obedience:
    """0.5 GHz: 30 ms, 1.5 GHz: 12 ms a sample."""
    board = Obedience()
    board.profiled(JOB, [point(0.5e9, 0.030, 0.5e9), point(1.5e9, 0.012, 1.5e9)], by)
    return board


NOT_KNOWN = Verdict(None, None, None)


def test_work_that_takes_as_long_as_at_the_top_clock_ran_there_if_it_does_so_twice() -> None:
    board = profiled()
    assert board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0)) == NOT_KNOWN
    assert board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0)) == Verdict(1.5e9, "work", "not_applied")
    assert board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0)) == Verdict(1.5e9, "work", "not_applied")


def test_a_window_that_tells_nothing_takes_back_nothing() -> None:
    board = profiled()
    for window in ((500, 6.0), (500, 6.0), (0, 0.0), (50, 0.6)):
        board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, window)
    assert board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0)).finding == "not_applied"
    assert board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (200, 6.0)).finding is None  # it obeys again
    assert board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0)) == NOT_KNOWN


# 0.5 GHz takes 30 ms, 1.5 GHz 12 ms: 3 ms + 13.5 ms GHz / f. 20 ms speak of 0.79 GHz, 42 ms of 0.35 GHz.
SOUND, FAST, SLOW, SLOWER = (200, 6.0), (200, 4.0), (200, 8.4), (200, 9.6)


@pytest.mark.parametrize(
    ("windows", "told"),
    [
        ([SLOW, SOUND, SLOW], [NOT_KNOWN, Verdict(0.5e9, "driver", None), NOT_KNOWN]),  # never twice in a row
        ([SLOW, FAST], [NOT_KNOWN, NOT_KNOWN]),  # the second says something else
        ([SLOW, (20, 0.84), SLOW], [NOT_KNOWN, Verdict(0.5e9, "driver", None), "too_slow"]),  # short: tells nothing
        ([SLOW, (0, 0.0), SLOWER], [NOT_KNOWN, Verdict(0.5e9, "driver", None), "too_slow"]),  # nor does a starved one
    ],
    ids=["sound between", "another clock", "short between", "starved between"],
)
def test_one_slow_window_accuses_nobody(windows: list[tuple[int, float]], told: list[Verdict | str]) -> None:
    board = profiled()
    verdicts = [board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, window) for window in windows]
    pairs = zip(told, verdicts, strict=True)
    assert [verdict if isinstance(one, Verdict) else verdict.finding for one, verdict in pairs] == told


def test_a_window_that_was_not_believed_leaves_no_mark_on_verdicts_elsewhere() -> None:
    kept: list[Memory] = []
    board = Obedience(Memory({0.5e9: 0.5e9, 1.5e9: 1.5e9}, Memory().pace), kept.append)
    board.profiled(JOB, [point(0.5e9, 0.030, 0.5e9), point(1.5e9, 0.012, 1.5e9)], "driver")
    board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0))
    assert (kept[-1].seen_hz, kept[-1].doubted_hz) == ({0.5e9: 0.5e9, 1.5e9: 1.5e9}, {0.5e9: 1.5e9})
    board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, SOUND)
    assert kept[-1].doubted_hz == {}


def test_two_requests_at_one_clock_are_two_timings() -> None:
    """12 ms a sample at 0.5 and at 1 GHz: both ran at 1.5, and the second is called by what the first did."""
    board = profiled()
    assert board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0)) == NOT_KNOWN
    assert board.judge(1.0e9, 1.0e9, (1.0e9, "driver"), JOB, (500, 6.0)) == Verdict(1.5e9, "work", "not_applied")
    assert board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0)).finding == "not_applied"
    # and what is believed of two needs no second window at a third
    assert board.judge(0.75e9, 0.75e9, (0.75e9, "driver"), JOB, (500, 6.0)).finding == "not_applied"


def test_a_machine_that_is_slower_for_a_whole_task_is_no_board_that_lies() -> None:
    """Half as long again at both clocks, 45 and 18 ms: as at 0.32 and 0.9 GHz, which are two clocks."""
    board = profiled()
    assert board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (200, 9.0)) == NOT_KNOWN
    assert board.judge(1.5e9, 1.5e9, (1.5e9, "driver"), JOB, (500, 9.0)) == NOT_KNOWN


def test_what_the_profile_has_found_needs_no_second_window() -> None:
    """A cap at 1 GHz: 30, 16.5 and, at 1.5 GHz, 16.5 ms once more."""
    board = Obedience()
    points = [point(hz * 1e9, ms / 1e3, hz * 1e9) for hz, ms in ((0.5, 30.0), (0.75, 21.0), (1.0, 16.5), (1.5, 16.5))]
    assert [one.finding for one in board.profiled(JOB, points, "driver")] == [None, None, None, "cap"]
    verdict = board.judge(1.5e9, 1.5e9, (1.5e9, "driver"), JOB, (400, 6.6))
    assert (verdict.verified_by, verdict.finding) == ("work", "cap")
    assert verdict.verified_hz == pytest.approx(1e9)


def test_a_driver_that_shows_another_clock_needs_no_second_window() -> None:
    verdict = profiled().judge(0.5e9, 0.5e9, (1.2e9, "driver"), JOB, (500, 6.0))
    assert verdict == Verdict(1.5e9, "work", "not_applied")


def test_work_as_long_as_it_should_be_confirms_the_driver() -> None:
    assert profiled().judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (200, 6.2)) == Verdict(0.5e9, "driver", None)
    assert profiled().judge(0.5e9, 0.5e9, (None, "driver"), JOB, (200, 6.2)) == Verdict(0.5e9, "work", None)


def test_work_says_nothing_of_short_windows_other_jobs_or_beside_firmware() -> None:
    other = Job(JOB.network, 16)
    assert profiled().judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (100, 1.2)).finding is None
    assert profiled().judge(0.5e9, 0.5e9, (0.5e9, "driver"), other, (500, 6.0)).finding is None
    assert profiled("firmware").judge(0.5e9, 0.5e9, (0.5e9, "firmware"), JOB, (500, 6.0)).finding is None
    assert profiled().judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB).finding is None  # starved: nothing timed


def test_a_single_point_wakes_the_trainer_and_leaves_what_is_known() -> None:
    board = profiled()
    board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0))
    board.profiled(JOB, [point(1.5e9, 0.020, 1.5e9)], "driver")
    assert board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0)).finding == "not_applied"


def test_nothing_asked_nothing_judged() -> None:
    assert Obedience().judge(None, 1e9, (1e9, "driver")) == Verdict(1e9, "driver", None)
    assert Obedience().judge(None, None, (None, "driver")) == Verdict(None, None, None)
