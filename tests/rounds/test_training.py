"""From plan to tasks, from outcome to record, and a strategy that cannot find its quorum."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import NetworkSpec, TaskClosed
from edge_client.protocol.weights import digest, pack
from models.networks import initial_weights
from server.config import BrokerConfig, DataConfig, FleetConfig, PlanConfig, RunConfig, TrainingConfig
from server.errors import FleetError
from server.plan.problem import DevicePlan, PlannedSegment, PlanRecord
from server.progress import Progress
from server.rounds import training
from server.rounds.aggregate import WeightedMean
from server.rounds.enrolment import link_of
from server.rounds.evaluate import Evaluation, evaluate, fixed_subset
from server.rounds.round_run import RoundJob, RoundOutcome
from server.rounds.samples import Shard
from server.rounds.state import DeadlinePassed, GraceOver, LastWord, UpdateArrived, open_round, step
from server.rounds.tasks import learning_rate, task_seed
from server.rounds.training import Course, describe_round, holds, make_job, train_strategy
from server.run_dir import Enrolled, LinkMeasurement, RunDir, StrategyPlan
from tests.rounds.fake_device import closed_of, join_of, profile_of, reading, update_of

NETWORK = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=2)
INITIAL = initial_weights("tiny", (8, 8, 1), 2, 0)


def device_plan(id_: str, synthetic: int) -> DevicePlan:
    return DevicePlan(
        id=id_,
        samples=4.0 + synthetic,
        compute_s=1.0,
        upload_s=0.5,
        bandwidth_hz=0.0,
        tx_power_w=None,
        compute_j=3.0,
        upload_j=0.5,
        executed_samples=4 + synthetic,
        segments=(PlannedSegment(1e9, 8 + 2 * synthetic),),
        executed_compute_s=1.0,
        executed_compute_j=3.0,
        synth_counts=(0, synthetic),
    )


PLAN = StrategyPlan(
    strategy="fimi",
    round_s=10.0,
    target_error=0.2,
    certified=True,
    plan=PlanRecord(
        "dual", "added", 7.0, 7.0, 0.0, 7.0, 0.0, 0.0, 0.0, 0.0, (device_plan("a", 2), device_plan("b", 0))
    ),
)
ENROLLED = tuple(
    Enrolled(
        join=join_of(id_, "r", (3, 1)),
        profile=profile_of(id_, "r", (1e9,)),
        link=LinkMeasurement(up_bits=8, up_bits_per_s=8.0, power_w=None),
    )
    for id_ in "ab"
)


def course(rounds: int = 2, first_wire_round: int = 7) -> Course:
    rng = np.random.default_rng(0)
    return Course(
        run="r",
        config=RunConfig(
            fleet=FleetConfig(devices=2),
            training=TrainingConfig(rounds=rounds, local_epochs=2),
            data=DataConfig(test_samples_per_round=5),
        ),
        network=NETWORK,
        initial=INITIAL,
        x_test=rng.integers(0, 255, (12, 8, 8, 1)).astype(np.uint8),
        y_test=np.arange(12) % 2,
        wire_rounds=itertools.count(first_wire_round),
    )


class ScriptedFleet:
    """Answers each round from a script: "both", "one" (b says nothing), or an exception to raise."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.jobs: list[RoundJob] = []
        self.left: tuple[TaskClosed, ...] = ()

    async def run_round(self, job: RoundJob) -> RoundOutcome:
        self.jobs.append(job)
        act = self.script.pop(0)
        if isinstance(act, BaseException):
            raise act
        mean = WeightedMean(job.weights)
        state = open_round(job.run, job.round, frozenset(job.tasks), job.quorum)
        for device in ("a", "b") if act == "both" else ("a",):
            update = update_of(job.tasks[device], device, blob_ref(b"u", 64))
            state, _ = step(state, UpdateArrived(update))
            state, _ = step(state, LastWord(closed_of(job.tasks[device], device)))
            mean.add({name: np.full_like(array, 0.5) for name, array in job.weights.items()}, 1)
        for event in (DeadlinePassed(), GraceOver()):
            state, _ = step(state, event)
        return RoundOutcome(state, mean, (), 2.0)

    def take_stray(self) -> tuple[TaskClosed, ...]:
        left, self.left = self.left, ()
        return left


SHARD = Shard(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1]))


async def train(fleet: ScriptedFleet, folder: RunDir, of: Course) -> None:
    await train_strategy(of, fleet, folder, "fimi", PLAN, ENROLLED, {"a": SHARD}, Progress())  # type: ignore[arg-type]


def test_tasks_are_the_plan() -> None:
    job = make_job(course(), 7, 1, INITIAL, PLAN, ENROLLED, {"a": SHARD})
    task = job.tasks["a"]
    assert (task.round, task.local_samples, task.synth_samples, task.local_epochs) == (7, 4, 2, 2)
    assert task.shard == blob_ref(SHARD.packed_list)
    assert sum(segment.samples for segment in task.segments) == 2 * (4 + 2)
    assert (task.deadline_s, task.lease_s) == (90.0, 60.0)  # 3 * 10 s + 60 s, and a minute
    assert (job.tasks["b"].shard, job.tasks["b"].synth_samples) == (None, 0)
    assert task.model.digest == digest(pack(INITIAL))
    assert (job.quorum, job.deadline_s) == (2, 95.0)


def test_one_setting_rules_the_chunks_both_ways() -> None:
    of = course()
    of = replace(of, config=msgspec.structs.replace(of.config, broker=BrokerConfig(chunk_bytes=2048)))
    task = make_job(of, 7, 1, INITIAL, PLAN, ENROLLED, {"a": SHARD}).tasks["a"]
    assert task.shard is not None
    assert (task.model.chunk_bytes, task.shard.chunk_bytes, task.chunk_bytes) == (2048, 2048, 2048)


def test_the_learning_rate_falls_by_its_factor_from_round_to_round() -> None:
    training = TrainingConfig(learning_rate=0.08, learning_rate_decay=0.5)
    assert [learning_rate(training, r) for r in (1, 2, 4)] == [0.08, 0.04, 0.01]
    of = course()
    of = replace(of, config=msgspec.structs.replace(of.config, training=training))
    job = make_job(of, 7, 3, INITIAL, PLAN, ENROLLED, {})  # wire round 7 is the strategy's third
    assert job.tasks["a"].learning_rate == 0.02


def test_seeds_differ_by_round_and_device_and_not_by_strategy() -> None:
    seeds = {task_seed(s, r, d) for s in (0, 1) for r in (1, 2) for d in "ab"}
    assert len(seeds) == 8
    assert task_seed(0, 1, "a") == task_seed(0, 1, "a")


async def test_two_rounds_on_record(tmp_path: Path) -> None:
    folder = RunDir.create(tmp_path, "r", now=0.0)
    fleet = ScriptedFleet("both", "both")
    await train(fleet, folder, course())
    first, second = folder.rounds("fimi")
    assert [(r.round, r.wire_round, r.status) for r in (first, second)] == [(1, 7, "complete"), (2, 8, "complete")]
    assert (first.test_samples, folder.final("fimi").test_samples) == (5, 12)
    assert first.verdicts == {"a": "accepted", "b": "accepted"}
    assert first.planned["a"].compute_j == 3.0
    model = folder.model("fimi")
    assert model is not None
    np.testing.assert_allclose(model["fc.bias"], INITIAL["fc.bias"] + 1.0)  # twice 0.5
    np.testing.assert_array_equal(fleet.jobs[1].weights["fc.bias"], INITIAL["fc.bias"] + 0.5)


async def test_a_failed_round_leaves_the_model_and_three_end_the_run(tmp_path: Path) -> None:
    folder = RunDir.create(tmp_path, "r", now=0.0)
    with pytest.raises(FleetError, match="3 rounds in a row found no quorum of 2"):
        await train(ScriptedFleet("both", "one", "one", "one"), folder, course(rounds=9))
    records = folder.rounds("fimi")
    assert [record.status for record in records] == ["complete", "failed", "failed", "failed"]
    assert len({record.model_digest for record in records}) == 1
    assert records[1].lost == ("b",)
    assert "NO QUORUM" in describe_round(records[1])


async def test_a_strategy_ends_once_it_holds_what_the_first_one_ended_with(tmp_path: Path) -> None:
    folder = RunDir.create(tmp_path, "r", now=0.0)
    of = course(rounds=9)
    of = replace(of, config=msgspec.structs.replace(of.config, training=TrainingConfig(rounds=9, stop_at="tfl")))
    await train(ScriptedFleet(*["both"] * 9), folder, of)
    assert len(folder.rounds("fimi")) == 9  # tfl has not run: nothing to hold
    tfl = msgspec.structs.replace(
        folder.rounds("fimi")[0], strategy="tfl", accuracy=0.0, model_digest=digest(pack(INITIAL))
    )
    again = RunDir.create(tmp_path, "s", now=0.0)
    again.save_round(tfl, INITIAL)
    await train(ScriptedFleet(*["both"] * 9), again, of)
    assert len(again.rounds("fimi")) == 2


async def test_a_training_ends_once_it_holds_its_target_accuracy(tmp_path: Path) -> None:
    folder = RunDir.create(tmp_path, "r", now=0.0)
    of = course(rounds=9)
    easy = PlanConfig(target_accuracy=1e-9, rounds="rounds.json")
    await train(ScriptedFleet(*["both"] * 9), folder, replace(of, config=msgspec.structs.replace(of.config, plan=easy)))
    reached = [record.accuracy > 0 for record in folder.rounds("fimi")]
    assert reached[-2:] == [True, True]
    assert len(reached) < 9


def test_holding_takes_two_rounds_in_a_row() -> None:
    assert not holds([0.9], 0.5)
    assert not holds([0.9, 0.4, 0.6], 0.5)
    assert holds([0.1, 0.5, 0.6], 0.5)
    assert not holds([0.9, 0.9], None)


async def test_what_is_finished_is_not_evaluated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunDir.create(tmp_path, "r", now=0.0)
    await train(ScriptedFleet("both"), folder, course(rounds=1))
    before = folder.final("fimi")
    monkeypatch.setattr("server.rounds.training.evaluate", None)  # whoever calls it, fails
    await train(ScriptedFleet(), folder, course(rounds=1))
    assert folder.final("fimi") == before


async def test_an_interrupted_round_is_taken_up_by_the_next_on_record(tmp_path: Path) -> None:
    folder = RunDir.create(tmp_path, "r", now=0.0)
    fleet = ScriptedFleet("both", KeyboardInterrupt())
    task = make_job(course(), 8, 2, INITIAL, PLAN, ENROLLED, {}).tasks["a"]
    fleet.left = (closed_of(task, "a", "aborted"),)
    with pytest.raises(KeyboardInterrupt):
        await train(fleet, folder, course())
    assert len(folder.rounds("fimi")) == 1
    assert len(folder.take_stray("fimi")) == 1
    fleet = ScriptedFleet("both")
    await train(fleet, folder, course(first_wire_round=9))
    second = folder.rounds("fimi")[1]
    assert [closed.outcome for closed in second.stray] == ["aborted"]
    assert folder.take_stray("fimi") == ()
    assert "24.0 J added (planned 7.0)" in describe_round(second)  # 8 J each of a, b and the aborted task


async def test_a_model_that_diverged_still_goes_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(*_: object) -> Evaluation:
        return Evaluation(accuracy=0.5, loss=float("nan"), samples=12, class_accuracy=(0.5, 0.5))

    monkeypatch.setattr(training, "evaluate", diverged)
    folder = RunDir.create(tmp_path, "r", now=0.0)
    await train(ScriptedFleet("both"), folder, course(rounds=1))
    (record,) = folder.rounds("fimi")
    assert (record.loss, folder.final("fimi").loss) == (None, None)
    assert "accuracy 0.5000, loss not finite, 2/2 updates" in describe_round(record)


def test_a_link_by_hand() -> None:
    task = make_job(course(), 7, 1, INITIAL, PLAN, ENROLLED, {}).tasks["b"]
    update = update_of(task, "b", blob_ref(b"12345678", 64))
    link = link_of(update)
    assert (link.up_bits, link.up_bits_per_s, link.power_w) == (64, 128.0, 2.0)
    brief = msgspec.structs.replace(update.upload, energy=msgspec.structs.replace(reading(2.0, 0.5), samples=4))
    assert link_of(msgspec.structs.replace(update, upload=brief)).power_w is None


def test_evaluation_by_hand() -> None:
    """A network of zero weights with biases (0, ln 3) says class 1 with 3/4: loss ln 4/3 there, ln 4 elsewhere."""
    weights = {name: np.zeros_like(array) for name, array in INITIAL.items()}
    weights["fc.bias"] = np.array([0.0, np.log(3.0)], np.float32)
    images = np.zeros((600, 8, 8, 1), np.uint8)
    labels = np.array([1, 1, 0] * 200)
    seen = evaluate(NETWORK, weights, images, labels)
    assert seen.accuracy == pytest.approx(2 / 3)
    assert seen.loss == pytest.approx((2 * np.log(4 / 3) + np.log(4)) / 3, rel=1e-5)
    assert (seen.samples, seen.class_accuracy) == (600, (0.0, 1.0))
    assert evaluate(NETWORK, weights, images[:1], labels[:1]).class_accuracy == (None, 1.0)


def test_the_subset_is_the_same_every_time() -> None:
    some = fixed_subset(100, 10, 3)
    assert len(set(some.tolist())) == 10
    np.testing.assert_array_equal(some, fixed_subset(100, 10, 3))
    np.testing.assert_array_equal(fixed_subset(5, 10, 3), np.arange(5))
