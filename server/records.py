"""What a run directory holds, as frozen values; run_dir.py writes and reads them."""

from __future__ import annotations

from typing import Literal

import msgspec

from edge_client.protocol.messages import Join, NetworkSpec, ProfileReport, TaskClosed, Update
from server.plan.problem import PlanRecord


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A value that is kept on disk."""


class LinkMeasurement(Record, frozen=True, kw_only=True):
    """A device's way to the server, measured by one upload of real size.

    `up_bits` is what the codec sent; `power_w` the watts above idle while sending, None where they were not measured.
    """

    up_bits: int
    up_bits_per_s: float
    power_w: float | None


class LinkShare(Record, frozen=True, kw_only=True):
    """What an upload holds of a link that others use too: the bits a second that it is paced to, and the part of the
    link's time that these are."""

    bits_per_s: float
    part: float


class ForetoldPoint(Record, frozen=True, kw_only=True):
    """What a sample costs at a clock that was not measured: seconds, and whole-board joules."""

    freq_hz: float
    s_per_sample: float
    j_per_sample: float


class CalibrationUse(Record, frozen=True, kw_only=True):
    """What came of a device's calibration: the clocks that it stands for (none where it was not used), and a sentence
    without its subject that says so."""

    why: str
    points: tuple[ForetoldPoint, ...] = ()


class Enrolled(Record, frozen=True, kw_only=True):
    """A device of the run: its offer, its measured profile and link. All joules at the meter's boundary.

    `calibration` is None where the device offered none, or the run does not plan it.
    """

    join: Join
    profile: ProfileReport
    link: LinkMeasurement
    calibration: CalibrationUse | None = None

    @property
    def id(self) -> str:
        return self.join.device


class OwnPace(Record, frozen=True, kw_only=True):
    """What is asked of a device whose joules are not known: its own samples, at whatever clock its board runs. Seconds
    of training and upload in a round are as they were measured at enrolment; on a shared link, as its part of it
    allows."""

    id: str
    samples: int
    compute_s: float
    upload_s: float
    link: LinkShare | None = None


class StrategyPlan(Record, frozen=True, kw_only=True):
    """What one strategy asks of the devices. `certified`: `plan` is the exact planner's answer to this very problem,
    so its bound and gap hold; else (fill, tfl-top) it is derived and they are not meaningful.

    `unplanned` are devices beside `plan`, whose joules are those of its own devices alone; nothing is certified then.
    `link` has the uploads that are paced, by device: those on a link that others use too. It is empty where every
    device has a link of its own, and where nobody plans the uploads (fill, tfl-top).
    """

    strategy: str
    round_s: float
    target_error: float | None
    plan: PlanRecord
    certified: bool
    unplanned: tuple[OwnPace, ...] = ()
    link: dict[str, LinkShare] = {}


class PlannedWork(Record, frozen=True, kw_only=True):
    """The plan's prediction of one device's round, at the plan's energy basis; joules are None where none are known.

    `link` is None where the upload was not paced.
    """

    compute_j: float | None
    upload_j: float | None
    compute_s: float
    upload_s: float
    samples: int
    link: LinkShare | None = None


class SamplesSent(Record, frozen=True, kw_only=True):
    """What a device's synthetic samples took in a round: samples and bytes (their list counted, and what was sent
    again) that were sent, and those that were spared because the device had them. Spared ones are counted when the set
    of a device changes, not in every round; their bytes are judged by some of them."""

    device: str
    sent: int = 0
    spared: int = 0
    bytes_sent: int = 0
    bytes_spared: int = 0


class RoundRecord(Record, frozen=True, kw_only=True):
    """One round of one strategy.

    `round` counts from 1 within the strategy, `wire_round` is the number in the messages. `accuracy` and `loss` are the
    global model's after the round on `test_samples` images; `loss` is None where it was not finite.
    `verdicts` tells what became of each device's update: accepted, late, duplicate, rejected, or none (nothing came).
    `closed` is the last word of each device on its task (joules of aborted and late work included), `stray` what came
    of earlier rounds after they were on record, `lost` the devices that said no last word; `samples` what became of the
    synthetic ones.
    """

    strategy: str
    round: int
    wire_round: int
    status: Literal["complete", "failed"]
    started_at: float
    duration_s: float
    accuracy: float
    loss: float | None
    test_samples: int
    verdicts: dict[str, str]
    updates: tuple[Update, ...]
    closed: tuple[TaskClosed, ...]
    stray: tuple[TaskClosed, ...]
    lost: tuple[str, ...]
    planned: dict[str, PlannedWork]
    model_digest: str
    samples: tuple[SamplesSent, ...] = ()


class RevisedPlan(Record, frozen=True, kw_only=True):
    """A plan that took the place of the one before, from `round` of its strategy on, and why."""

    round: int
    reason: str
    plan: StrategyPlan


class FinalRecord(Record, frozen=True, kw_only=True):
    """The global model after the last round on all test images; `class_accuracy` has one value a class."""

    strategy: str
    accuracy: float
    loss: float | None
    test_samples: int
    class_accuracy: tuple[float | None, ...]
    seconds: float


class RunInfo(Record, frozen=True, kw_only=True):
    """run.json. `base_dir` is where relative paths of config.toml start."""

    id: str
    created: str
    base_dir: str
    network: NetworkSpec
    class_names: tuple[str, ...]
    versions: dict[str, str]


class Origin(Record, frozen=True, kw_only=True):
    """origin.json, there from the first moment on. `base_dir` is where relative paths of config.toml start.

    `fresh`: synthetic samples are drawn anew as with synth.fresh = true, because a command said --fresh.
    """

    base_dir: str
    fresh: bool = False
