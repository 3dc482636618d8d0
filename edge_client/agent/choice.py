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


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must be the same for a choice to hold; `versions` by runtime."""

    board: str
    network: NetworkSpec
    batch_size: int
    threads: int
    bfloat16: bool
    cpus: tuple[int, ...] | None
    versions: dict[str, str]


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in the file."""

    terms: Terms
    runtime: Name
    trials: tuple[RuntimeTrial, ...]


def best(trials: Sequence[RuntimeTrial]) -> str:
    """Of those that trained the one with the least joules for a sample, or, where the meter told nothing of one of
    them, the fastest. Raises TrainingError where none did."""
    trained = [trial for trial in trials if trial.s_per_sample is not None]
    if not trained:
        raise TrainingError("; ".join(f"{trial.runtime}: {trial.problem}" for trial in trials))
    joules = {trial.runtime: trial.j_per_sample for trial in trained if trial.j_per_sample is not None}
    seconds = {trial.runtime: trial.s_per_sample for trial in trained if trial.s_per_sample is not None}
    cost = joules if len(joules) == len(trained) else seconds
    return min(cost, key=lambda runtime: cost[runtime])


class Choice:
    """Of one client; `candidates` by preference, not empty."""

    def __init__(self, path: Path, candidates: tuple[Name, ...]) -> None:
        self.candidates = candidates
        self._path = path
        self._kept = self._read()

    def known(self, terms: Terms | None) -> Kept | None:
        """What was chosen under these terms (None: whatever they were)."""
        kept = self._kept
        holds = kept is not None and kept.runtime in self.candidates and terms in (None, kept.terms)
        return kept if holds else None

    def likely(self, terms: Terms | None) -> Name:
        """What to train with where nothing can be tried now."""
        kept = self.known(terms) or self.known(None)
        return self.candidates[0] if kept is None else kept.runtime

    async def settle(self, terms: Terms, attempt: Callable[[Name], Awaitable[RuntimeTrial]]) -> Kept:
        """The choice under these terms, tried where it is not known. With one candidate there is nothing to try."""
        if len(self.candidates) == 1:
            return Kept(terms=terms, runtime=self.candidates[0], trials=())
        if (kept := self.known(terms)) is not None:
            return kept
        trials = tuple([await attempt(name) for name in self.candidates])
        chosen = best(trials)
        self._kept = Kept(terms=terms, runtime=next(n for n in self.candidates if n == chosen), trials=trials)
        log.info("trains with %s: %s", chosen, ", ".join(map(told, trials)))
        self._keep(self._kept)
        return self._kept

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
