"""What a board did before decides how a window is called."""

from __future__ import annotations

from edge_client.agent.obedience import Job, Obedience, Verdict
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


def test_work_that_takes_as_long_as_at_the_top_clock_ran_there() -> None:
    verdict = profiled().judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0))
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
    board.profiled(JOB, [point(1.5e9, 0.020, 1.5e9)], "driver")
    assert board.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0)).finding == "not_applied"


def test_nothing_asked_nothing_judged() -> None:
    assert Obedience().judge(None, 1e9, (1e9, "driver")) == Verdict(1e9, "driver", None)
    assert Obedience().judge(None, None, (None, "driver")) == Verdict(None, None, None)
