"""One strategy, round after round: tasks out, updates in, the model moved, evaluated and put on record."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import NetworkSpec, TaskClosed
from edge_client.protocol.weights import Weights, digest, pack
from server.config import RunConfig, Strategy
from server.errors import FleetError
from server.progress import Progress
from server.rounds.evaluate import Evaluation, evaluate, fixed_subset
from server.rounds.last_words import file_words, note_round, once
from server.rounds.live import LiveFleet
from server.rounds.round_run import RoundJob, RoundOutcome
from server.rounds.samples import Shard
from server.rounds.tasks import RoundFrame, make_task, own_share, planned_share
from server.run_dir import Enrolled, FinalRecord, RoundRecord, RunDir, StrategyPlan
from server.strategies import planned_work

FAILED_IN_A_ROW = 3
"""Rounds without a quorum, one after another, that end a run."""

SERVER_PATIENCE_S = 5.0
"""The server waits so much longer than the devices' deadline, which counts from receipt."""


HOLD_ROUNDS = 2
"""So many rounds in a row at an accuracy count as holding it: a single one may be luck."""


@dataclass(frozen=True)
class Course:
    """What stays the same from the first round of a run to the last. Test images (N, H, W, C) uint8, labels (N,)."""

    run: str
    config: RunConfig
    network: NetworkSpec
    initial: Weights
    x_test: np.ndarray
    y_test: np.ndarray
    wire_rounds: Iterator[int]


Revise = Callable[[StrategyPlan, tuple[RoundRecord, ...]], Awaitable[tuple[StrategyPlan, Mapping[str, Shard]] | None]]
"""revise(plan, rounds on record) -> a plan with its shards that takes the place of the present one, or None."""


async def train_strategy(
    course: Course,
    fleet: LiveFleet,
    folder: RunDir,
    strategy: Strategy,
    plan: StrategyPlan,
    enrolled: tuple[Enrolled, ...],
    shards: Mapping[str, Shard],
    progress: Progress,
    revise: Revise | None = None,
) -> None:
    """Run the rounds that are not on record yet, then evaluate on all test images.

    `revise` is asked after each round; without it the plan stays as it is.
    """
    done = folder.rounds(strategy)
    on_record = len(done)
    weights = folder.model(strategy) or course.initial
    some = fixed_subset(len(course.y_test), course.config.data.test_samples_per_round, course.config.seed)
    goal = stop_accuracy(folder, strategy, course.config)
    own_words = partial(file_words, folder, course.config.strategies, current=strategy)
    for number in range(len(done) + 1, course.config.training.rounds + 1):
        if holds([record.accuracy for record in done], goal):
            progress.say(f"{strategy}: held {goal:.4f} for {HOLD_ROUNDS} rounds, done")
            break
        if revise is not None and done and done[-1].status == "complete":
            plan, shards = await revise(plan, done) or (plan, shards)
        progress.title(f"{strategy}: round {number} of {course.config.training.rounds}")
        started_at = time.time()
        job = make_job(course, next(course.wire_rounds), number, weights, plan, enrolled, shards)
        note_round(folder, job.round, strategy, number)
        spent: tuple[TaskClosed, ...] = ()
        try:
            outcome = await fleet.run_round(job)
            stray = own_words(outcome.stray)
            spent = (*outcome.state.closed, *stray)
            if outcome.state.complete:
                weights = outcome.mean.moved(weights)
            seen = await asyncio.to_thread(evaluate, course.network, weights, course.x_test[some], course.y_test[some])
            stray = once((*stray, *folder.take_stray(strategy)))
            record = make_record(strategy, number, job, outcome, plan, weights, seen, started_at, stray)
            folder.save_round(record, weights)
        except BaseException:  # also Ctrl-C: the joules of the unfinished round are kept
            folder.save_stray(strategy, (*spent, *own_words(fleet.take_stray())))
            raise
        progress.say(describe_round(record))
        done = (*done, record)
        if len(done) >= FAILED_IN_A_ROW and all(r.status == "failed" for r in done[-FAILED_IN_A_ROW:]):
            raise FleetError(
                f"{FAILED_IN_A_ROW} rounds in a row found no quorum of {course.config.quorum}; see {folder.path}"
            )
    folder.save_stray(strategy, own_words(fleet.take_stray()))
    if len(done) == on_record and folder.has(f"final-{strategy}.json"):
        return  # all of it was done before the run was interrupted
    seen = await asyncio.to_thread(evaluate, course.network, weights, course.x_test, course.y_test)
    final = FinalRecord(
        strategy=strategy,
        accuracy=seen.accuracy,
        loss=finite(seen.loss),
        test_samples=seen.samples,
        class_accuracy=seen.class_accuracy,
        seconds=sum(record.duration_s for record in done),
    )
    folder.save(f"final-{strategy}.json", final)
    progress.say(f"{strategy}: {final.accuracy:.4f} on all {final.test_samples} test images")


def stop_accuracy(folder: RunDir, strategy: Strategy, config: RunConfig) -> float | None:
    """The accuracy at which this strategy may end: plan.target_accuracy, or if that is lower the last of the strategy
    that training.stop_at names; None where there is neither."""
    goals = [] if config.plan.target_accuracy is None else [config.plan.target_accuracy]
    stop_at = config.training.stop_at
    if stop_at is not None and stop_at != strategy and (rounds := folder.rounds(stop_at)):
        goals.append(rounds[-1].accuracy)
    return min(goals, default=None)


def holds(accuracies: Sequence[float], goal: float | None) -> bool:
    """Whether the last HOLD_ROUNDS rounds all reached the goal; never without one."""
    last = accuracies[-HOLD_ROUNDS:]
    return goal is not None and len(last) == HOLD_ROUNDS and min(last) >= goal


def make_job(
    course: Course,
    wire_round: int,
    number: int,
    weights: Weights,
    plan: StrategyPlan,
    enrolled: tuple[Enrolled, ...],
    shards: Mapping[str, Shard],
) -> RoundJob:
    """Tasks and blobs of one round."""
    model, chunk_bytes = pack(weights), course.config.broker.chunk_bytes
    frame = RoundFrame(
        run=course.run,
        round=number,
        wire_round=wire_round,
        network=course.network,
        model=blob_ref(model, chunk_bytes),
        seed=course.config.seed,
        deadline_s=course.config.fleet.round_deadline_s or 3.0 * plan.round_s + 60.0,
    )
    local = {device.id: sum(device.join.label_counts) for device in enrolled}
    refs = {device: blob_ref(shard.packed_list, chunk_bytes) for device, shard in shards.items()}
    settable = {device.id for device in enrolled if device.join.capabilities.opps_hz}
    link = plan.link.get
    shares = [planned_share(one, settable=one.id in settable, link=link(one.id)) for one in plan.plan.devices]
    shares += [own_share(own, course.config.training.local_epochs, link(own.id)) for own in plan.unplanned]
    tasks = {
        share.id: make_task(frame, course.config.training, share, local[share.id], refs.get(share.id))
        for share in shares
    }
    return RoundJob(
        run=course.run,
        round=wire_round,
        tasks=tasks,
        weights=weights,
        model=model,
        shards=shards,
        quorum=min(course.config.quorum, len(tasks)),
        deadline_s=frame.deadline_s + SERVER_PATIENCE_S,
    )


def make_record(
    strategy: str,
    number: int,
    job: RoundJob,
    outcome: RoundOutcome,
    plan: StrategyPlan,
    weights: Weights,
    seen: Evaluation,
    started_at: float,
    stray: tuple[TaskClosed, ...],
) -> RoundRecord:
    """The round as it goes on record, with the last words on earlier rounds that it takes up."""
    state = outcome.state
    return RoundRecord(
        strategy=strategy,
        round=number,
        wire_round=job.round,
        status="complete" if state.complete else "failed",
        started_at=started_at,
        duration_s=outcome.duration_s,
        accuracy=seen.accuracy,
        loss=finite(seen.loss),
        test_samples=seen.samples,
        verdicts={device: state.verdicts.get(device, "none") for device in sorted(job.tasks)},
        updates=state.updates,
        closed=state.closed,
        stray=stray,
        lost=state.lost,
        planned={one.id: planned_work(one, plan.link.get(one.id)) for one in plan.plan.devices}
        | {own.id: planned_work(own, plan.link.get(own.id)) for own in plan.unplanned},
        model_digest=digest(pack(weights)),
        samples=outcome.samples,
    )


def finite(loss: float) -> float | None:
    """A loss as it goes on record, None where it is nan or infinite: JSON has neither."""
    return loss if math.isfinite(loss) else None


def describe_round(record: RoundRecord) -> str:
    """One line for people."""
    spent: dict[str, list[float | None]] = {device: [] for device in record.verdicts}
    for word in (*record.closed, *record.stray):
        spent.setdefault(word.device, []).append(word.energy.added_j)
    planned = {device: [work.compute_j, work.upload_j] for device, work in record.planned.items()}
    accepted = sum(verdict == "accepted" for verdict in record.verdicts.values())
    loss = "not finite" if record.loss is None else f"{record.loss:.3f}"
    tail = "" if record.status == "complete" else "  NO QUORUM: the model stays"
    return (
        f"{record.strategy} round {record.round}: accuracy {record.accuracy:.4f}, loss {loss}, "
        f"{accepted}/{len(record.verdicts)} updates, {record.duration_s:.1f} s, "
        f"{joules_of(spent, ' J added')} (planned {joules_of(planned)}){tail}"
    )


def total_j(parts: Sequence[float | None]) -> float | None:
    """The sum of a device's joules; None where there are none, or any is not known."""
    known = [joules for joules in parts if joules is not None]
    return sum(known) if known and len(known) == len(parts) else None


def joules_of(by_device: Mapping[str, Sequence[float | None]], unit: str = "") -> str:
    """The joules of all devices that are known whole; where they are not all, of how many they are."""
    sums = [total_j(parts) for parts in by_device.values()]
    known = [joules for joules in sums if joules is not None]
    if not known:
        return "joules not known" if unit else "without joules"
    which = "" if len(known) == len(by_device) else f" on {len(known)} of {len(by_device)} devices"
    return f"{sum(known):.1f}{unit}{which}"
