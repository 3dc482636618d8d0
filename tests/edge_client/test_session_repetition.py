"""The session by hand: the same task again, and rounds out of order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_client.events import Close, Closed, Connected, Drop, Failed, Open, Publish, Stop, Tick, Upload, Uploaded
from edge_client.protocol.messages import Abort, BlobRef, UpdateAck
from tests.edge_client.session_states import BUSY, DONE, READY, SETTLING, TRAINING, closed, go, task, update


@pytest.mark.parametrize("phase", ["fetching", "training", "sending"])
def test_the_task_under_way_again_changes_nothing(phase: str) -> None:
    assert go(BUSY[phase], task()) == (BUSY[phase], [])


def test_the_task_again_while_the_update_waits_sends_the_update_again() -> None:
    assert go(SETTLING, task()) == (SETTLING, [Publish(update())])


def test_a_finished_task_again_sends_the_stored_update_and_trains_nothing() -> None:
    state, commands = go(DONE, task(), now=50.0)
    assert commands == [Upload(state.work, task(), update())]
    assert (state.phase, state.again, state.received_at, state.work) == ("sending", DONE.finished, 50.0, DONE.work + 1)
    assert go(state, task(), now=50.0) == (replace(state, heard_at=50.0), [])
    assert go(state, Connected()) == (state, [])
    state, commands = go(state, Uploaded(state.work, update(loss=9.0)))
    assert commands == [Publish(update())]  # the stored one
    assert (state.phase, state.update) == ("settling", None)
    assert go(state, task(), now=50.0) == (replace(state, heard_at=50.0), [Publish(update())])
    assert go(state, Connected()) == (state, [Publish(update())])
    state, commands = go(state, UpdateAck(run="r", round=0, status="duplicate"))
    assert commands == [Drop(), Publish(closed())]
    assert (state.phase, state.again) == ("ready", None)
    assert state.finished == DONE.finished


def test_a_repeated_update_can_be_overtaken() -> None:
    again, _ = go(DONE, task())
    state, commands = go(again, task(1))
    assert commands == [Drop(), Publish(closed()), Open(again.work + 1, task(1))]
    assert (state.phase, state.again) == ("fetching", None)
    state, commands = go(again, Abort(run="r", round=0, reason="enough"))
    assert commands == [Drop(), Publish(closed())]
    assert (state.phase, state.again) == ("ready", None)
    state, commands = go(again, Failed(again.work, "no answer"))
    assert commands == [Drop(), Publish(closed())]
    state, commands = go(again, Tick(), now=100.0)
    assert commands == []
    state, commands = go(again, Tick(), now=100.1)
    assert commands == [Drop(), Publish(closed())]
    assert state.phase == "ready"
    state, commands = go(again, Stop("bye"))
    assert commands == [Drop(), Publish(closed())]


def test_a_finished_task_without_an_update_answers_with_its_last_word() -> None:
    state, _ = go(TRAINING, Abort(run="r", round=0, reason="quorum"))
    state, _ = go(state, Closed(closed()))
    assert go(state, task()) == (state, [Publish(closed())])


def test_the_same_round_with_another_model_is_another_task() -> None:
    other = task(model=BlobRef(digest="c" * 64, size_bytes=10, chunk_bytes=4))
    state, commands = go(DONE, other)
    assert commands == [Open(DONE.work + 1, other)]
    assert state.phase == "fetching"


def test_a_newer_round_ends_the_older_and_an_older_is_left_over() -> None:
    state, _ = go(READY, task(5))
    assert go(state, task(4)) == (state, [])
    later, commands = go(state, task(6))
    assert commands == [Drop(), Close(task(5), "aborted", "round 6 began"), Open(3, task(6))]
    assert later.task == task(6)
    later, commands = go(later, Closed(closed(5)))
    assert commands == [Publish(closed(5))]
    assert later.task == task(6)
    assert later.finished is not None
    assert later.finished.task == task(5)
    # finished, and sent again while a newer one is under way: the newer one goes on
    assert go(later, task(5)) == (later, [])
