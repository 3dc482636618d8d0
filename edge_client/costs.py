"""What a task will take of this device's joules, by what its own profile measured. Pure.

The profile's joules a sample are those of the whole board while it trains; for the upload there is the idle floor over
the seconds that the last one took. Sending itself, and the wait for model and acknowledgement, come on top: the sum is
less than the task will take, so that a battery which does not hold it does not hold the task. What was not measured is
not guessed.
"""

from __future__ import annotations

from edge_client.protocol.messages import OppPoint, ProfileReport, ProfileRequest, Task

SAME_CLOCK = 0.01
"""A clock so near to a measured one, relatively, is that one."""


def expected_j(
    task: Task, profile: tuple[ProfileRequest, ProfileReport] | None, upload_s: float | None
) -> float | None:
    """Joules that a task takes at the least; None where a segment's are not known.

    `profile` of other work (network, batch size) tells nothing. `upload_s`: of the last upload, None before the first.
    """
    if profile is None or not task.segments:
        return None
    request, report = profile
    if (request.network, request.batch_size) != (task.network, task.batch_size):
        return None
    total_j = 0.0
    for segment in task.segments:
        joules = _sample_j(report.points, segment.freq_hz)
        if joules is None:
            return None
        total_j += segment.samples * joules
    idle_w = report.idle.idle_power_w
    return total_j + (idle_w * upload_s if idle_w is not None and upload_s is not None else 0.0)


def more_telling(
    before: tuple[ProfileRequest, ProfileReport] | None, now: tuple[ProfileRequest, ProfileReport]
) -> tuple[ProfileRequest, ProfileReport]:
    """The profile to reckon with: the new one, unless it is a single window that wakes the trainer (same work, fewer
    clocks)."""
    if before is None or len(now[1].points) != 1:
        return now
    same = (before[0].network, before[0].batch_size) == (now[0].network, now[0].batch_size)
    return before if same and len(before[1].points) > 1 else now


def _sample_j(points: tuple[OppPoint, ...], freq_hz: float | None) -> float | None:
    """Joules a sample of a request for this clock (None: for none): as when it was asked for, else as when it ran."""
    if freq_hz is None:
        return points[0].j_per_sample if len(points) == 1 else None
    for told_hz in ([point.freq_hz for point in points], [point.verified_hz for point in points]):
        for point, hz in zip(points, told_hz, strict=True):
            if hz is not None and abs(hz - freq_hz) <= SAME_CLOCK * freq_hz:
                return point.j_per_sample
    return None
