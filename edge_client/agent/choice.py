"""Which of its runtimes a board trains with: the one that takes the least joules for a sample, tried on the board.

Kept in a file with all that it depends on: another network, batch size, version or board is tried anew.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from edge_client.errors import TrainingError
from edge_client.protocol.messages import RuntimeTrial
from edge_client.protocol.values import NetworkSpec
from edge_client.runtimes import Name

log = logging.getLogger(__name__)


CERTAIN = 0.25
"""Joules with a larger relative uncertainty decide nothing: a plug that tells watts once a second, in a few seconds."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must be the same for a choice to hold; `versions` by runtime."""

    board: str
    meter: str
    network: NetworkSpec
    batch_size: int
    threads: int
    bfloat16: bool
    memory_bytes: int | None
    cpus: tuple[int, ...] | None
    versions: dict[str, str]


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in the file."""

    terms: Terms
    runtime: Name
    trials: tuple[RuntimeTrial, ...]


def best(trials: Sequence[RuntimeTrial]) -> str:
    """Of those that trained the one with the least joules for a sample, or, where the meter told too little of one of
    them, the fastest. Raises TrainingError where none did."""
    seconds = {trial.runtime: trial.s_per_sample for trial in trials if trial.s_per_sample is not None}
    if not seconds:
        raise TrainingError("; ".join(f"{trial.runtime}: {trial.problem}" for trial in trials))
    joules = {
        trial.runtime: trial.j_per_sample
        for trial in trials
        if trial.runtime in seconds
        and trial.j_per_sample is not None
        and trial.j_per_sample > 0
        and (trial.uncertainty or 0.0) <= CERTAIN
    }
    cost = joules if joules.keys() == seconds.keys() else seconds
    return min(cost, key=lambda runtime: cost[runtime])


class Choice:
    """Of one client, kept in the file `path`. Candidates are given by preference, and never none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = self._read()

    def likely(self, candidates: Sequence[Name]) -> Name:
        """What to train with where nothing can be tried now: what was chosen last, if it is there."""
        kept = self._kept
        return candidates[0] if kept is None or kept.runtime not in candidates else kept.runtime

    async def settle(
        self, candidates: Sequence[Name], terms: Terms, attempt: Callable[[Name], Awaitable[RuntimeTrial]]
    ) -> Kept:
        """The choice under these terms, tried where it is not known. With one candidate there is nothing to try.

        Where one could not train, the others may be chosen from, but not for good: next time it is tried again.
        """
        if len(candidates) == 1:
            return Kept(terms=terms, runtime=candidates[0], trials=())
        kept = self._kept
        if kept is not None and kept.terms == terms and not any(trial.problem for trial in kept.trials):
            return kept
        trials = tuple([await attempt(name) for name in candidates])
        chosen = best(trials)
        kept = Kept(terms=terms, runtime=next(name for name in candidates if name == chosen), trials=trials)
        log.info("trains with %s: %s", chosen, ", ".join(map(told, trials)))
        self._kept = kept
        if not any(trial.problem for trial in trials):
            self._keep(kept)
        return kept

    def _read(self) -> Kept | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("%s: %s; runtimes are tried anew", self._path, error)
            return None

    def _keep(self, kept: Kept) -> None:
        fresh = self._path.with_suffix(".partial")
        try:
            fresh.write_bytes(msgspec.json.encode(kept))
            fresh.replace(self._path)
        except OSError as error:
            log.warning("the choice of a runtime could not be noted in %s: %s", self._path, error.strerror)


def told(trial: RuntimeTrial) -> str:
    """For people: "onnx 3.1 ms, 12 mJ a sample"."""
    if trial.s_per_sample is None:
        return f"{trial.runtime} does not train ({trial.problem})"
    joules = "" if trial.j_per_sample is None else f", {trial.j_per_sample * 1e3:.3g} mJ"
    return f"{trial.runtime} {trial.s_per_sample * 1e3:.3g} ms{joules} a sample"
