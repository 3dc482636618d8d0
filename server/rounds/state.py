"""One round as a pure state machine: (state, event) -> (state, commands). No clock, no network.

    open ---- quorum complete, or out of reach, or deadline ----> closing ---- all have said their last word,
                                                                               or grace is over ----> closed

While open, updates are accepted. On closing, every device that still works is told to stop. Until closed, last words
(`TaskClosed`) are collected: the joules of aborted, late and rejected work count as any others. Everything is
idempotent by (run, round, device): an update that comes twice is averaged once and acknowledged twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from edge_client.protocol.messages import TaskClosed, Update

Verdict = Literal["accepted", "late", "duplicate", "rejected"]
Phase = Literal["open", "closing", "closed"]


# ---- events ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UpdateArrived:
    """An update with all its chunks; `fault` is what is wrong with it, "" for nothing."""

    update: Update
    fault: str = ""


@dataclass(frozen=True)
class LastWord:
    """A device has closed its task."""

    closed: TaskClosed


@dataclass(frozen=True)
class Refused:
    """A device cannot do its task."""

    device: str
    reason: str


@dataclass(frozen=True)
class DeadlinePassed:
    """No more updates are waited for."""

    reason: str = "the deadline has passed"


@dataclass(frozen=True)
class GraceOver:
    """No more last words are waited for."""


Event = UpdateArrived | LastWord | Refused | DeadlinePassed | GraceOver


# ---- commands ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accept:
    """Average this update in. It always comes before the `Acknowledge` of the same device."""

    update: Update


@dataclass(frozen=True)
class Acknowledge:
    device: str
    run: str
    round: int
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True)
class Stop:
    """Tell these devices to drop their task."""

    devices: tuple[str, ...]
    reason: str


Command = Accept | Acknowledge | Stop


# ---- the machine -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RoundState:
    """A round of `devices`, complete with `quorum` accepted updates.

    `verdicts` holds the first verdict on each device's update; `out` the devices that refused their task, and why;
    `closed` each device's last word; `stray` last words on other rounds.
    """

    run: str
    round: int
    devices: frozenset[str]
    quorum: int
    phase: Phase = "open"
    updates: tuple[Update, ...] = ()
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    out: dict[str, str] = field(default_factory=dict)
    closed: tuple[TaskClosed, ...] = ()
    stray: tuple[TaskClosed, ...] = ()

    @property
    def complete(self) -> bool:
        """Enough updates are in: the model moves. Else it stays, and the round has failed."""
        return len(self.updates) >= self.quorum

    @property
    def silent(self) -> frozenset[str]:
        """Devices whose last word is missing."""
        return self.devices - {closed.device for closed in self.closed} - frozenset(self.out)

    @property
    def lost(self) -> tuple[str, ...]:
        """After the round: devices that never said what the task cost them."""
        return tuple(sorted(self.silent))


def open_round(run: str, round_: int, devices: frozenset[str], quorum: int) -> RoundState:
    """A round that has just been sent out; raises ValueError for a quorum that cannot be."""
    if not 1 <= quorum <= len(devices):
        raise ValueError(f"a quorum of {quorum} among {len(devices)} devices cannot be")
    return RoundState(run=run, round=round_, devices=devices, quorum=quorum)


def step(state: RoundState, event: Event) -> tuple[RoundState, tuple[Command, ...]]:
    """What an event changes and what is to be done about it."""
    match event:
        case UpdateArrived():
            return _update_arrived(state, event)
        case LastWord():
            return _last_word(state, event.closed)
        case Refused():
            if event.device not in state.devices or event.device in state.verdicts:
                return state, ()
            return _proceed(replace(state, out={**state.out, event.device: event.reason}))
        case DeadlinePassed():
            return _close(state, event.reason) if state.phase == "open" else (state, ())
        case GraceOver():
            return (replace(state, phase="closed") if state.phase == "closing" else state), ()


def _update_arrived(state: RoundState, event: UpdateArrived) -> tuple[RoundState, tuple[Command, ...]]:
    update = event.update
    device = update.device

    def acknowledge(verdict: Verdict, reason: str) -> Acknowledge:
        return Acknowledge(device, update.run, update.round, verdict, reason)

    if (update.run, update.round) != (state.run, state.round):
        return state, (acknowledge("late", f"round {state.round} is under way"),)
    if device not in state.devices:
        return state, (acknowledge("rejected", "this device has no task in this round"),)
    if device in state.verdicts:
        first = state.verdicts[device]
        # A repetition after a lost acknowledgement: the verdict stands, the update is not averaged again.
        return state, (acknowledge("duplicate" if first == "accepted" else first, "already answered"),)
    verdict, reason = _judge(state, event.fault)
    state = replace(state, verdicts={**state.verdicts, device: verdict})
    if verdict == "accepted":
        state = replace(state, updates=(*state.updates, update))
    state, more = _proceed(state)
    first_of_all = (Accept(update),) if verdict == "accepted" else ()
    return state, (*first_of_all, acknowledge(verdict, reason), *more)


def _judge(state: RoundState, fault: str) -> tuple[Verdict, str]:
    if state.phase != "open":
        return "late", "the round is over"
    return ("rejected", fault) if fault else ("accepted", "")


def _last_word(state: RoundState, closed: TaskClosed) -> tuple[RoundState, tuple[Command, ...]]:
    key = (closed.device, closed.run, closed.round)
    if key in {(c.device, c.run, c.round) for c in (*state.closed, *state.stray)}:
        return state, ()
    if closed.device not in state.devices or key[1:] != (state.run, state.round):
        return replace(state, stray=(*state.stray, closed)), ()
    return _proceed(replace(state, closed=(*state.closed, closed)))


def _proceed(state: RoundState) -> tuple[RoundState, tuple[Command, ...]]:
    """Whether the round goes on after a change."""
    if state.phase == "open":
        gone = frozenset(state.out) | frozenset(state.verdicts) | {closed.device for closed in state.closed}
        if state.complete:
            return _close(state, "the quorum is complete")
        if len(state.updates) + len(state.devices - gone) < state.quorum:
            return _close(state, "the quorum is out of reach")
        return state, ()
    if state.phase == "closing" and not state.silent:
        return replace(state, phase="closed"), ()
    return state, ()


def _close(state: RoundState, reason: str) -> tuple[RoundState, tuple[Command, ...]]:
    at_work = state.silent - frozenset(state.verdicts)
    state = replace(state, phase="closing" if state.silent else "closed")
    return state, ((Stop(tuple(sorted(at_work)), reason),) if at_work else ())
