"""Whose joules those of a last word are: a stranger's, which do not count, or the strategy's that owns its round.

A client that was at work for another server when it heard our hello closes that task with us. And a last word can come
long after its round: from a device that was out of reach, or in the next attempt at an interrupted run, when another
strategy is under way. It is filed with the strategy that spent the joules.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_client.protocol.messages import TaskClosed
from server.run_dir import RunDir


def wire_name(run: str, attempt: int) -> str:
    """The run's name in messages: what devices remember of an interrupted attempt must not answer for this one."""
    return run if attempt == 1 else f"{run}.{attempt}"


@dataclass(frozen=True)
class Earlier:
    """Earlier attempts at the same run: their names on the wire, and who joined them. Their last words still count."""

    runs: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()

    @classmethod
    def of(cls, run: str, events: Sequence[Mapping[str, Any]]) -> Earlier:
        """The attempts at `run` that the events of its directory tell of."""
        attempts = sum(event["event"] == "started" for event in events)
        return cls(
            runs=frozenset(wire_name(run, attempt + 1) for attempt in range(attempts)),
            devices=frozenset(event["device"] for event in events if event["event"] in ("joined", "rejoined")),
        )


def why_not_counted(closed: TaskClosed, run: str, joined: Container[str], earlier: Earlier) -> str:
    """Why the joules of a last word are none of this run's (`run` on the wire); "" for nothing."""
    if closed.run != run and closed.run not in earlier.runs:
        return "the task was of another run"
    if closed.device not in joined and closed.device not in earlier.devices:
        return "the device has not joined"
    return ""


def note_round(folder: RunDir, wire_round: int, strategy: str | None, number: int | None = None) -> None:
    """Put on record, before it is sent out, whose round it is: it may never get a record of its own."""
    folder.event("round", wire_round=wire_round, strategy=strategy, round=number)


def owners(folder: RunDir, strategies: Iterable[str]) -> dict[int, str | None]:
    """By wire round: its strategy; None for a trial round, whose joules belong to none."""
    noted = {event["wire_round"]: event["strategy"] for event in folder.events() if event["event"] == "round"}
    on_record = {record.wire_round: name for name in strategies for record in folder.rounds(name)}
    return noted | on_record


def once(words: Iterable[TaskClosed]) -> tuple[TaskClosed, ...]:
    """The first word of each device on each round of each run."""
    first: dict[tuple[str, str, int], TaskClosed] = {}
    for word in words:
        first.setdefault((word.device, word.run, word.round), word)
    return tuple(first.values())


def file_words(
    folder: RunDir, strategies: Iterable[str], words: Iterable[TaskClosed], current: str | None
) -> tuple[TaskClosed, ...]:
    """Keep the words on rounds of other strategies with those; return what is left for `current`, each once.

    A round that nobody owns counts for `current`, where there is one: the files are then older than these words.
    """
    words = once(words)
    owner_of = owners(folder, strategies) if words else {}
    here = []
    for word in words:
        owner = owner_of.get(word.round, current)
        if owner is None:
            why = "the round belongs to no strategy"
            folder.event("not-counted", device=word.device, run=word.run, round=word.round, reason=why)
        elif owner == current:
            here.append(word)
        else:
            folder.save_stray(owner, [word])
    return tuple(here)
