"""A run directory: every arrow of the pipeline as a frozen file, written whole or not at all, so that any step can
start again from disk.

    origin.json                     where relative paths start, and what the command line said beside the run file
    run.json                        id, creation time, folder that relative paths start from, versions
    config.toml                     the run file as it was given
    data/<device>.npz               x, y, n_classes of virtual boards
    devices.json                    list of Enrolled: what devices are, and what was measured on them
    left-out.json                   with --drop-infeasible: devices that no plan could keep, and why
    outlay.json                     Choice: with plan.target_accuracy, what each amount of data was predicted to cost
    plan-<strategy>.json            StrategyPlan
    replans-<strategy>.jsonl        RevisedPlan: with plan.replan, those that took its place, from which round on
    shards/<strategy>/<device>.npz  x, y: the synthetic samples a device gets
    ahead.log                       what was sampled while devices trained; the samples are in ../samples (synth.store)
    learning.json, generator-card.json  copies of what the plans and the synthetic samples came from
    rounds-<strategy>.jsonl         RoundRecord, one a line, appended after each round
    model-<strategy>.safetensors    the global model after the last round on record
    final-<strategy>.json           FinalRecord: the evaluation on all test images
    stray-<strategy>.jsonl          TaskClosed of a round that was interrupted; the next round on record takes them up
    boards/, boards-2/ ...          what virtual boards were and measured, a folder for each time the run was started
    events.jsonl                    everything that happened, with Unix time
    report.json, report.html        see server/report
"""

from __future__ import annotations

import platform
import time
from collections.abc import Container, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge_client.protocol.messages import TaskClosed
from edge_client.protocol.weights import Weights, digest, pack, unpack
from server.errors import DataError
from server.files import write_atomic
from server.record_files import RecordFolder, to_json, whole_lines
from server.records import (
    CalibrationUse,
    Enrolled,
    FinalRecord,
    LinkMeasurement,
    LinkShare,
    Origin,
    OwnPace,
    PlannedWork,
    RevisedPlan,
    RoundRecord,
    RunInfo,
    StrategyPlan,
)

__all__ = [
    "CalibrationUse",
    "Enrolled",
    "FinalRecord",
    "LinkMeasurement",
    "LinkShare",
    "Origin",
    "OwnPace",
    "PlannedWork",
    "RevisedPlan",
    "RoundRecord",
    "RunDir",
    "RunInfo",
    "StrategyPlan",
    "versions",
]


class RunDir(RecordFolder):
    """The files of one run below `path`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._events_are_whole = False

    @classmethod
    def begin(cls, out: Path, name: str, config_toml: bytes, origin: Origin) -> RunDir:
        """A new directory with the run file as it was given, and what it does not say."""
        folder = cls.create(out, name)
        folder.save("origin.json", origin)
        write_atomic(folder.path / "config.toml", config_toml)
        return folder

    @classmethod
    def create(cls, out: Path, name: str, *, now: float | None = None) -> RunDir:
        """A new directory <out>/<name>-<UTC time>, numbered on where that exists."""
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
        out.mkdir(parents=True, exist_ok=True)
        for suffix in ("", *(f"-{i}" for i in range(2, 1000))):
            path = out / f"{name}-{stamp}{suffix}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return cls(path)
        raise DataError(f"{out} already has a thousand runs of this second")

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """An existing one; raises DataError where there is none."""
        if not (path / "config.toml").is_file():
            raise DataError(f"{path} is not a run directory: it has no config.toml")
        return cls(path)

    def remove_untouched(self) -> bool:
        """Remove a directory in which nothing has been done since it was begun; says whether it was such a one."""
        files = list(self.path.iterdir())
        if not {file.name for file in files} <= {"config.toml", "origin.json"}:
            return False
        for file in files:
            file.unlink()
        self.path.rmdir()
        return True

    # ---- typed files ---------------------------------------------------------------------------------------------

    def origin(self) -> Origin:
        """Of a directory that was begun before there was an origin.json: what can be known."""
        if self.has("origin.json"):
            return self.load("origin.json", Origin)
        return Origin(base_dir=self.load("run.json", RunInfo).base_dir if self.has("run.json") else str(self.path))

    def devices(self) -> tuple[Enrolled, ...]:
        return self.load("devices.json", tuple[Enrolled, ...])

    def plan(self, strategy: str) -> StrategyPlan:
        return self.load(f"plan-{strategy}.json", StrategyPlan)

    def save_plan(self, plan: StrategyPlan) -> None:
        self.save(f"plan-{plan.strategy}.json", plan)

    def revisions(self, strategy: str) -> tuple[RevisedPlan, ...]:
        """Plans that took the first one's place, in order; those of rounds that never came to a record left out."""
        begun = len(self.rounds(strategy)) + 1
        return tuple(one for one in self._lines(f"replans-{strategy}.jsonl", RevisedPlan) if one.round <= begun)

    def save_revision(self, strategy: str, revision: RevisedPlan) -> None:
        self._append(f"replans-{strategy}.jsonl", [revision])

    def current_plan(self, strategy: str) -> StrategyPlan:
        """The one that the next round goes by."""
        revisions = self.revisions(strategy)
        return revisions[-1].plan if revisions else self.plan(strategy)

    def final(self, strategy: str) -> FinalRecord:
        return self.load(f"final-{strategy}.json", FinalRecord)

    def shard_name(self, strategy: str, device: str) -> str:
        return f"shards/{strategy}/{device}.npz"

    def keep_shards(self, strategy: str, devices: Container[str]) -> None:
        """Remove the shards of all others: of a plan that was replaced."""
        for file in (self.path / "shards" / strategy).glob("*.npz"):
            if file.stem not in devices:
                file.unlink()

    # ---- growing files -------------------------------------------------------------------------------------------

    def rounds(self, strategy: str) -> tuple[RoundRecord, ...]:
        return self._lines(f"rounds-{strategy}.jsonl", RoundRecord)

    def event(self, kind: str, **fields: Any) -> None:
        """One line of events.jsonl. Not synced to disk: the records are what counts."""
        line = {"t": round(time.time(), 3), "event": kind, **fields}
        with (self.path / "events.jsonl").open("ab") as file:
            if not self._events_are_whole:  # a crash may have cut the last line of an earlier attempt short
                file.truncate(len(whole_lines(self.path / "events.jsonl")))
                self._events_are_whole = True
            file.write(to_json(line) + b"\n")

    def events(self) -> tuple[dict[str, Any], ...]:
        return self._lines("events.jsonl", dict)

    def save_stray(self, strategy: str, closed: Iterable[TaskClosed]) -> None:
        """Last words on a round that never came to a record."""
        self._append(f"stray-{strategy}.jsonl", closed)

    def take_stray(self, strategy: str) -> tuple[TaskClosed, ...]:
        """Those of `save_stray` that no record has taken up."""
        on_record = {(c.device, c.run, c.round) for record in self.rounds(strategy) for c in record.stray}
        stray = self._lines(f"stray-{strategy}.jsonl", TaskClosed)
        return tuple(c for c in stray if (c.device, c.run, c.round) not in on_record)

    # ---- the model: its file and the last record always agree ----------------------------------------------------

    def save_round(self, record: RoundRecord, weights: Weights) -> None:
        """Append the record and put the model in place; a crash in between is mended by `model`."""
        name = f"model-{record.strategy}.safetensors"
        blob = pack(weights)
        if digest(blob) != record.model_digest:
            raise ValueError(f"round {record.round} is on record with another model")
        write_atomic(self.path / f"{name}.next", blob)
        self._append(f"rounds-{record.strategy}.jsonl", [record])
        (self.path / f"{name}.next").replace(self.path / name)

    def model(self, strategy: str) -> Weights | None:
        """The global model after the last round on record, None before the first; raises DataError where it is lost."""
        records = self.rounds(strategy)
        if not records:
            return None
        path = self.path / f"model-{strategy}.safetensors"
        for candidate in (path, path.with_name(f"{path.name}.next")):
            blob = candidate.read_bytes() if candidate.exists() else b""
            if digest(blob) == records[-1].model_digest:
                return unpack(blob)
        raise DataError(f"{path} is not the model of round {records[-1].round}: it was changed or lost")


def versions() -> dict[str, str]:
    """Versions that can change a result."""
    found = {"python": platform.python_version()}
    for package in ("fimi", "torch", "diffusers", "numpy", "msgspec", "aiomqtt"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
