"""The session by hand: joining, a round, and tasks that are refused."""

from __future__ import annotations

import pytest

from edge_client.events import (
    OTHERS,
    BlobReady,
    Close,
    Closed,
    Drop,
    Failed,
    Open,
    Profiled,
    Publish,
    State,
    Train,
    Trained,
    Upload,
    Uploaded,
)
from edge_client.protocol.messages import (
    Heartbeat,
    Join,
    NetworkSpec,
    ProfileRequest,
    Refusal,
    Segment,
    ServerHello,
    UpdateAck,
)
from tests.edge_client.session_states import (
    BUSY,
    CAPABILITIES,
    DEVICE,
    DONE,
    FETCHING,
    HELLO,
    MODEL,
    NETWORK,
    READY,
    REPORT,
    SENDING,
    SETTLING,
    TRAINING,
    closed,
    go,
    refused,
    task,
    update,
)

# ---- joining -----------------------------------------------------------------------------------------------------


def test_a_hello_is_answered_with_a_join() -> None:
    state, commands = go(State(DEVICE), HELLO)
    join = Join(
        device="dev",
        run="r",
        label_counts=(4, 3, 3),
        storage_samples=5,
        capabilities=CAPABILITIES,
        client_version="1.0",
    )
    assert commands == [Publish(join)]
    assert (state.phase, state.run) == ("ready", "r")


def test_the_same_hello_again_joins_again_and_disturbs_nothing() -> None:
    for phase, before in BUSY.items():
        state, commands = go(before, HELLO)
        assert state == before
        assert state.phase == phase
        assert [type(c) for c in commands] == [Publish]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_shape": (9, 8, 1)}, "the network takes images 9x8x1, this device has 8x8x1"),
        ({"n_classes": 4}, "the network has 4 classes, this device's data 3"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_refused(change: dict[str, object], reason: str) -> None:
    values = {"name": "tiny", "image_shape": (8, 8, 1), "n_classes": 3} | change
    network = NetworkSpec(**values)  # type: ignore[arg-type]
    state, commands = go(State(DEVICE), ServerHello(server_id="s", run="r", network=network))
    assert refused(commands) == reason
    assert (state.phase, state.run) == ("waiting", None)
    assert refused(go(READY, task(network=network))[1]) == reason
    unfit = ProfileRequest(run="r", network=network, batch_size=4, freqs_hz=(1e9,), window_s=1, settle_s=0)
    assert refused(go(READY, unfit)[1]) == reason


def test_a_hello_of_another_run_ends_the_old_task() -> None:
    other = ServerHello(server_id="s", run="r2", network=NETWORK)
    state, commands = go(TRAINING, other)
    assert commands[:2] == [Drop(), Close(task(), "aborted", "run r2 began")]
    assert isinstance(commands[2], Publish)
    assert (state.run, state.phase, state.task) == ("r2", "ready", None)
    state, commands = go(state, Closed(closed()))
    assert commands == [Publish(closed())]
    assert state.finished is not None
    assert state.finished.task == task()


# ---- a round -----------------------------------------------------------------------------------------------------


def test_a_round_from_the_task_to_the_last_word() -> None:
    state, commands = go(READY, task(), now=7.0)
    assert commands == [Open(2, task())]
    assert (state.phase, state.received_at, state.heard_at) == ("fetching", 7.0, 7.0)
    state, commands = go(state, BlobReady(2, OTHERS))
    assert commands == []
    assert state.lacking == {MODEL.digest}
    state, commands = go(state, BlobReady(2, MODEL.digest))
    assert commands == [Train(2, task())]
    assert (state.phase, state.lacking) == ("training", frozenset())
    state, commands = go(state, Trained(2))
    assert commands == [Upload(2, task())]
    assert state.phase == "sending"
    state, commands = go(state, Uploaded(2, update()))
    assert commands == [Publish(update())]
    assert (state.phase, state.update) == ("settling", update())
    state, commands = go(state, UpdateAck(run="r", round=0, status="accepted", reason="thanks"))
    assert commands == [Drop(), Close(task(), "done", "thanks")]
    state, commands = go(state, Closed(closed()))
    assert commands == [Publish(closed())]
    assert (state.phase, state.task, state.update, state.closing) == ("ready", None, None, None)
    assert state.finished is not None
    assert (state.finished.task, state.finished.update, state.finished.closed) == (task(), update(), closed())


def test_without_a_shard_the_model_and_the_graphs_are_waited_for() -> None:
    alone = task(shard=None, synth_samples=0, segments=(Segment(freq_hz=None, samples=20),))
    state, _ = go(READY, alone)
    assert state.lacking == {MODEL.digest, OTHERS}
    assert go(state, BlobReady(2, OTHERS), BlobReady(2, MODEL.digest))[1] == [Train(2, alone)]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("accepted", "done"), ("duplicate", "done"), ("late", "late"), ("rejected", "rejected")],
)
def test_what_an_acknowledgement_means(status: str, outcome: str) -> None:
    for state in (SENDING, SETTLING):  # too late can be said before the update has arrived
        ack = UpdateAck(run="r", round=0, status=status)  # type: ignore[arg-type]
        after, commands = go(state, ack)
        assert commands == [Drop(), Close(task(), outcome, "")]  # type: ignore[arg-type]
        assert after.phase == "ready"
        assert after.work == state.work + 1


def test_acknowledgements_of_other_rounds_or_before_the_update_change_nothing() -> None:
    for state in (FETCHING, TRAINING, READY, DONE):
        assert go(state, UpdateAck(run="r", round=0, status="accepted")) == (state, [])
    for ack in (UpdateAck(run="r", round=1, status="late"), UpdateAck(run="x", round=0, status="late")):
        assert go(SETTLING, ack) == (SETTLING, [])


def test_word_of_dropped_work_changes_nothing() -> None:
    for state in (READY, DONE, *BUSY.values()):
        for event in (
            BlobReady(7, MODEL.digest),
            Trained(7),
            Uploaded(7, update()),
            Failed(7, "x"),
            Profiled(7, REPORT),
        ):
            assert go(state, event) == (state, [])


def test_word_that_does_not_fit_the_phase_changes_nothing() -> None:
    assert go(TRAINING, BlobReady(2, MODEL.digest)) == (TRAINING, [])
    assert go(FETCHING, Trained(2)) == (FETCHING, [])
    assert go(TRAINING, Uploaded(2, update())) == (TRAINING, [])
    assert go(SETTLING, Trained(2)) == (SETTLING, [])
    assert go(FETCHING, Profiled(2, REPORT)) == (FETCHING, [])
    assert go(READY, Failed(0, "x")) == (READY, [])
    assert go(READY, Closed(closed())) == (READY, [])
    heartbeat = Heartbeat(device="x", state="", round=None, samples_done=0, power_w=None, freq_hz=None)
    assert go(READY, heartbeat) == (READY, [])


@pytest.mark.parametrize("phase", BUSY)
def test_failure_closes_the_task(phase: str) -> None:
    state, commands = go(BUSY[phase], Failed(2, "the worker died"))
    assert commands == [Drop(), Close(task(), "failed", "the worker died")]
    assert (state.phase, state.task, state.closing) == ("ready", None, (task(), BUSY[phase].update))


# ---- refused tasks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"run": "x"}, "run x is not the one this device joined (r)"),
        ({"local_samples": 9}, "the task counts on 9 local samples, this device has 10"),
        ({"synth_samples": 6}, "6 synthetic samples exceed the room for 5"),
        ({"shard": None}, "5 synthetic samples and no shard do not agree"),
        ({"synth_samples": 0}, "0 synthetic samples and a shard do not agree"),
        ({"segments": (Segment(freq_hz=None, samples=29),)}, "the segments hold 29 samples, 2 epochs need 30"),
        ({"local_epochs": 1}, "the segments hold 30 samples, 1 epochs need 15"),
    ],
)
def test_a_task_that_does_not_add_up_is_refused(change: dict[str, object], reason: str) -> None:
    state, commands = go(READY, task(3, **change))
    assert refused(commands) == reason
    assert state == READY
    (command,) = commands
    assert isinstance(command, Publish)
    assert isinstance(command.message, Refusal)
    assert (command.message.round, command.message.run) == (3, change.get("run", "r"))
    # a task that cannot be done does not disturb the one under way
    assert go(TRAINING, task(3, **change))[0] == TRAINING
