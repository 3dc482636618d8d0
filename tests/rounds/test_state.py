"""The round's machine: stories by hand, then any sequence of events at all."""

from __future__ import annotations

from dataclasses import replace as dc_replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import TaskClosed, Update
from server.rounds.state import (
    Accept,
    Acknowledge,
    Command,
    DeadlinePassed,
    Event,
    GraceOver,
    LastWord,
    Refused,
    RoundState,
    Stop,
    UpdateArrived,
    open_round,
    step,
)
from tests.rounds.fake_device import closed_of, update_of
from tests.rounds.test_live import task_of

TASK = task_of(5, blob_ref(b"model", 64), None, 4)
DEVICES = ("a", "b", "c")


def update(device: str, round_: int = 5, run: str = "r") -> Update:
    return msgspec.structs.replace(update_of(TASK, device, blob_ref(device.encode(), 64)), round=round_, run=run)


def closed(device: str, outcome: str = "done", round_: int = 5) -> TaskClosed:
    return msgspec.structs.replace(closed_of(TASK, device, outcome), round=round_)


def opened(quorum: int = 3) -> RoundState:
    return open_round("r", 5, frozenset(DEVICES), quorum)


def play(state: RoundState, *events: Event) -> tuple[RoundState, list[Command]]:
    commands: list[Command] = []
    for event in events:
        state, more = step(state, event)
        commands += more
    return state, commands


def verdicts(commands: list[Command]) -> list[tuple[str, str]]:
    return [(c.device, c.verdict) for c in commands if isinstance(c, Acknowledge)]


def test_all_come_and_all_say_their_last_word() -> None:
    state, commands = play(opened(), *(UpdateArrived(update(d)) for d in DEVICES))
    assert commands[:2] == [Accept(update("a")), Acknowledge("a", "r", 5, "accepted")]
    assert verdicts(commands) == [(d, "accepted") for d in DEVICES]
    assert (state.phase, state.complete, state.lost) == ("closing", True, DEVICES)
    assert not any(isinstance(c, Stop) for c in commands)
    state, commands = play(state, *(LastWord(closed(d)) for d in DEVICES))
    assert (state.phase, commands, state.lost) == ("closed", [], ())
    assert [c.device for c in state.closed] == list(DEVICES)


def test_the_quorum_stops_the_rest_and_their_joules_count() -> None:
    state, commands = play(opened(2), UpdateArrived(update("a")), LastWord(closed("a")), UpdateArrived(update("b")))
    assert commands[-1] == Stop(("c",), "the quorum is complete")
    assert state.phase == "closing"
    state, _ = play(state, LastWord(closed("b")), LastWord(closed("c", "aborted")))
    assert state.phase == "closed"
    assert [c.outcome for c in state.closed] == ["done", "done", "aborted"]


def test_a_late_update_is_discarded_but_its_joules_count() -> None:
    state, commands = play(
        opened(1), UpdateArrived(update("a")), UpdateArrived(update("b")), LastWord(closed("b", "late"))
    )
    assert verdicts(commands) == [("a", "accepted"), ("b", "late")]
    assert [u.device for u in state.updates] == ["a"]
    assert [c.device for c in state.closed] == ["b"]


def test_an_update_of_an_earlier_round_or_run_is_late_and_changes_nothing() -> None:
    state, commands = play(opened(), UpdateArrived(update("a", 4)), UpdateArrived(update("b", 5, "old")))
    assert [(c.device, c.run, c.round, c.verdict) for c in commands] == [("a", "r", 4, "late"), ("b", "old", 5, "late")]
    assert state == opened()


def test_a_stranger_is_rejected() -> None:
    state, commands = play(opened(), UpdateArrived(update("x")))
    assert verdicts(commands) == [("x", "rejected")]
    assert state == opened()


def test_the_same_update_twice_is_averaged_once_and_answered_twice() -> None:
    state, commands = play(opened(), UpdateArrived(update("a")), UpdateArrived(update("a")))
    assert verdicts(commands) == [("a", "accepted"), ("a", "duplicate")]
    assert sum(isinstance(c, Accept) for c in commands) == 1
    assert len(state.updates) == 1


def test_a_rejected_update_stays_rejected_when_it_comes_again() -> None:
    state, commands = play(opened(2), UpdateArrived(update("a"), "not finite"), UpdateArrived(update("a")))
    assert verdicts(commands) == [("a", "rejected"), ("a", "rejected")]
    assert commands[0] == Acknowledge("a", "r", 5, "rejected", "not finite")
    assert (state.phase, state.updates) == ("open", ())


def test_out_of_reach_ends_the_round_without_waiting_for_the_deadline() -> None:
    state, commands = play(opened(3), UpdateArrived(update("a")), Refused("b", "busy"))
    assert commands[-1] == Stop(("c",), "the quorum is out of reach")
    assert (state.phase, state.complete, state.out) == ("closing", False, {"b": "busy"})
    state, _ = play(state, LastWord(closed("a")), LastWord(closed("c", "aborted")))
    assert state.phase == "closed"  # nobody waits for a device that refused
    assert state.lost == ()


def test_a_task_that_failed_puts_its_device_out() -> None:
    state, _ = play(opened(2), LastWord(closed("a", "failed")))
    assert state.phase == "open"
    state, commands = play(state, LastWord(closed("b", "deadline")))
    assert (state.phase, commands) == ("closing", [Stop(("c",), "the quorum is out of reach")])


def test_a_quorum_of_all_closed_at_once_needs_no_waiting() -> None:
    state, commands = play(opened(1), LastWord(closed("b", "failed")), LastWord(closed("c", "failed")))
    state, commands = play(state, LastWord(closed("a", "failed")))
    assert (state.phase, commands) == ("closed", [])


def test_the_deadline_without_a_quorum_fails_the_round() -> None:
    state, commands = play(opened(2), UpdateArrived(update("a")), DeadlinePassed())
    assert commands[-1] == Stop(("b", "c"), "the deadline has passed")
    assert (state.phase, state.complete) == ("closing", False)
    state, commands = play(state, DeadlinePassed(), LastWord(closed("a")), GraceOver())
    assert (state.phase, commands, state.lost) == ("closed", [], ("b", "c"))


def test_grace_means_nothing_while_the_round_is_open() -> None:
    assert play(opened(), GraceOver()) == (opened(), [])


def test_refusals_that_change_nothing() -> None:
    state, _ = play(opened(2), UpdateArrived(update("a")))
    assert play(state, Refused("a", "too late"))[0] == state
    assert play(state, Refused("x", "who?"))[0] == state


def test_last_words_count_once_and_strays_are_kept_apart() -> None:
    earlier = closed("a", "aborted", 4)
    state, _ = play(
        opened(), LastWord(earlier), LastWord(earlier), LastWord(closed("b", "failed")), LastWord(closed("b", "failed"))
    )
    assert state.stray == (earlier,)
    assert [c.device for c in state.closed] == ["b"]
    state, _ = play(state, LastWord(closed("x")))
    assert [c.device for c in state.stray] == ["a", "x"]


@pytest.mark.parametrize("quorum", [0, 4])
def test_a_quorum_that_cannot_be(quorum: int) -> None:
    with pytest.raises(ValueError, match="among 3 devices"):
        opened(quorum)


names = st.sampled_from([*DEVICES, "x"])
rounds = st.sampled_from([4, 5])
events = st.one_of(
    st.builds(lambda d, r, f: UpdateArrived(update(d, r), f), names, rounds, st.sampled_from(["", "broken"])),
    st.builds(
        lambda d, r, o: LastWord(closed(d, o, r)), names, rounds, st.sampled_from(["done", "late", "failed", "aborted"])
    ),
    st.builds(Refused, names, st.just("no")),
    st.just(DeadlinePassed()),
    st.just(GraceOver()),
)
PHASES = ("open", "closing", "closed")


@given(st.lists(events, max_size=25), st.integers(1, 3))
def test_whatever_comes(sequence: list[Event], quorum: int) -> None:
    state = opened(quorum)
    accepted: list[str] = []
    for event in sequence:
        before = state
        state, commands = step(state, event)
        assert PHASES.index(state.phase) >= PHASES.index(before.phase)
        accepted += [c.update.device for c in commands if isinstance(c, Accept)]
        # every update is answered, exactly once
        answers = [c for c in commands if isinstance(c, Acknowledge)]
        assert len(answers) == isinstance(event, UpdateArrived)
        # an acceptance is averaged in the same breath, and only while the round is open
        averaged = [c.update.device for c in commands if isinstance(c, Accept)]
        assert averaged == [a.device for a in answers if a.verdict == "accepted"]
        if averaged:
            assert before.phase == "open"
        for command in commands:
            if isinstance(command, Stop):
                assert (before.phase, state.phase) == ("open", "closing")
                assert not set(command.devices) & (set(state.verdicts) | {c.device for c in state.closed})
    assert len(accepted) == len(set(accepted)) <= quorum
    assert sorted(accepted) == sorted(u.device for u in state.updates)
    assert state.complete == (len(accepted) >= quorum)
    keys = [(c.device, c.round) for c in (*state.closed, *state.stray)]
    assert len(keys) == len(set(keys))
    if state.phase == "open":
        assert not state.complete
    final, _ = play(state, DeadlinePassed(), GraceOver())
    assert final.phase == "closed"


def test_a_state_is_a_value() -> None:
    state = opened()
    play(state, UpdateArrived(update("a")))
    assert state == opened()
    assert dc_replace(state, round=6) != state
