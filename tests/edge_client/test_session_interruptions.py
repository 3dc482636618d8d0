"""The session by hand: every trouble on the line is a sequence of events."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_client.events import Close, Connected, Disconnected, Drop, Publish, Release, State, Stop, Tick
from edge_client.protocol.messages import Abort, Bye
from tests.edge_client.session_states import (
    BUSY,
    DEVICE,
    DONE,
    FETCHING,
    HELLO,
    READY,
    SENDING,
    SETTLING,
    TRAINING,
    go,
    refused,
    task,
    update,
)


@pytest.mark.parametrize("phase", BUSY)
def test_an_abort_closes_the_task(phase: str) -> None:
    state, commands = go(BUSY[phase], Abort(run="r", round=0, reason="the quorum is complete"))
    assert commands == [Drop(), Close(task(), "aborted", "the quorum is complete")]
    assert state.phase == "ready"
    for other in (Abort(run="r", round=1, reason=""), Abort(run="x", round=0, reason="")):
        assert go(BUSY[phase], other) == (BUSY[phase], [])


def test_an_abort_without_a_reason_still_has_one() -> None:
    _, commands = go(TRAINING, Abort(run="r", round=0, reason=""))
    assert commands[1] == Close(task(), "aborted", "aborted by the server")
    assert go(READY, Abort(run="r", round=0, reason="")) == (READY, [])


@pytest.mark.parametrize("phase", BUSY)
def test_the_deadline_counts_from_receipt(phase: str) -> None:
    state = replace(BUSY[phase], received_at=10.0, heard_at=105.0)
    assert go(state, Tick(), now=110.0) == (state, [])
    after, commands = go(state, Tick(), now=110.1)
    assert commands == [Drop(), Close(task(), "deadline", "not done 100 s after the task came")]
    assert after.phase == "ready"


def test_the_lease_runs_out_once_and_is_renewed_by_any_word() -> None:
    state, _ = go(TRAINING, Disconnected())
    state, commands = go(state, Tick(), now=20.0)
    assert commands == []
    state, commands = go(state, Tick(), now=20.1)
    assert commands == [Release()]
    assert go(state, Tick(), now=30.0) == (state, [])
    state, _ = go(state, HELLO, now=40.0)
    assert not state.lease_lost
    assert go(state, Tick(), now=60.0) == (state, [])
    assert go(state, Tick(), now=60.1)[1] == [Release()]


def test_the_lease_counts_only_while_the_line_is_down() -> None:
    state, _ = go(TRAINING, Connected(), now=1.0)
    assert go(state, Tick(), now=90.0) == (state, [])  # the server has nothing to say, but could
    state, commands = go(state, Disconnected(), now=50.0)
    assert commands == []
    assert go(state, Tick(), now=70.0) == (state, [])
    assert go(state, Disconnected(), now=65.0) == (state, [])  # it is counted from the break
    state, commands = go(state, Tick(), now=70.1)
    assert commands == [Release()]
    state, _ = go(state, Connected(), now=80.0)
    assert not state.lease_lost
    assert go(state, Tick(), now=99.0) == (state, [])


def test_time_passes_for_the_idle_without_consequence() -> None:
    for state in (State(DEVICE), READY, DONE):
        assert go(state, Tick(), now=1e6) == (state, [])


def test_a_new_connection_repeats_the_update_that_waits() -> None:
    assert go(SETTLING, Connected()) == (SETTLING, [Publish(update())])
    for state in (READY, FETCHING, TRAINING, SENDING, DONE):
        assert go(state, Connected()) == (state, [])


def test_the_end_of_the_run_sends_the_device_back_to_waiting() -> None:
    state, commands = go(TRAINING, Bye(run="r", reason="done"))
    assert commands == [Drop(), Close(task(), "aborted", "the run is over: done")]
    assert (state.phase, state.run) == ("waiting", None)
    assert go(TRAINING, Bye(run="x", reason="")) == (TRAINING, [])
    state, commands = go(READY, Bye(run="r", reason=""))
    assert (state.phase, state.run, commands) == ("waiting", None, [])
    assert refused(go(state, task())[1]) == "run r is not the one this device joined (None)"
    assert go(state, HELLO)[0].phase == "ready"


def test_stopping_closes_what_is_open() -> None:
    state, commands = go(SETTLING, Stop("SIGTERM"))
    assert commands == [Drop(), Close(task(), "aborted", "SIGTERM")]
    assert state.phase == "waiting"
    state, commands = go(READY, Stop("SIGTERM"))
    assert (state.phase, state.run, commands) == ("waiting", None, [])
