"""The session by hand: every trouble on the line is a sequence of events."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.events import (
    BlobReady,
    Close,
    Closed,
    Command,
    Connected,
    Device,
    Disconnected,
    Drop,
    Event,
    Failed,
    Heard,
    Open,
    Profile,
    Profiled,
    Publish,
    Release,
    State,
    Stop,
    Tick,
    Train,
    Trained,
    Upload,
    Uploaded,
)
from edge_client.protocol.messages import (
    Abort,
    AnyMessage,
    BlobRef,
    Bye,
    Capabilities,
    EnergyReading,
    Heartbeat,
    Join,
    NetworkSpec,
    ProfileReport,
    ProfileRequest,
    RadioOutcome,
    Refusal,
    Segment,
    ServerHello,
    Task,
    TaskClosed,
    Update,
    UpdateAck,
    UploadOutcome,
)
from edge_client.session import step

NETWORK = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=3)
CAPABILITIES = Capabilities(
    board="b",
    opps_hz=(1e9,),
    meter="m",
    meter_source="measured",
    boundary="board",
    tx_power="unsupported",
    runtimes=("numpy",),
    cores=4,
)
DEVICE = Device("dev", (4, 3, 3), (8, 8, 1), 5, CAPABILITIES, "1.0")
HELLO = ServerHello(server_id="s", run="r", network=NETWORK)
MODEL = BlobRef(digest="a" * 64, size_bytes=10, chunk_bytes=4)
SHARD = BlobRef(digest="b" * 64, size_bytes=10, chunk_bytes=4)
ENERGY = EnergyReading(
    energy_j=1.0,
    duration_s=1.0,
    idle_power_w=None,
    source="measured",
    boundary="board",
    meter="m",
    uncertainty=0.1,
    samples=10,
)
REQUEST = ProfileRequest(run="r", network=NETWORK, batch_size=4, freqs_hz=(1e9,), window_s=1, settle_s=0)
REPORT = ProfileReport(device="dev", run="r", idle=ENERGY, points=())


def task(round_: int = 0, **change: object) -> Task:
    values: dict[str, object] = {
        "run": "r",
        "round": round_,
        "network": NETWORK,
        "model": MODEL,
        "shard": SHARD,
        "local_epochs": 2,
        "local_samples": 10,
        "synth_samples": 5,
        "batch_size": 4,
        "learning_rate": 0.1,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "clip_norm": None,
        "seed": 1,
        "segments": (Segment(freq_hz=1e9, samples=10), Segment(freq_hz=None, samples=20)),
        "tx_power_w": None,
        "upload_bits_per_s": None,
        "chunk_bytes": 4,
        "deadline_s": 100.0,
        "lease_s": 20.0,
        **change,
    }
    return Task(**values)  # type: ignore[arg-type]


def update(round_: int = 0, loss: float = 1.0) -> Update:
    return Update(
        device="dev",
        run="r",
        round=round_,
        weights=MODEL,
        samples=30,
        train_loss=loss,
        segments=(),
        compute=ENERGY,
        upload=UploadOutcome(
            bits=8,
            duration_s=1.0,
            energy=ENERGY,
            radio=RadioOutcome(requested_w=None, accepted_w=None, capability="unsupported"),
        ),
    )


def closed(round_: int = 0) -> TaskClosed:
    return TaskClosed(
        device="dev",
        run="r",
        round=round_,
        outcome="done",
        reason="",
        energy=ENERGY,
        samples_trained=30,
        bytes_sent=1,
        bytes_received=1,
    )


def go(state: State, *events: Event | AnyMessage, now: float = 0.0) -> tuple[State, list[Command]]:
    """Take events in turn (messages as heard); the commands of the last one."""
    commands: list[Command] = []
    for event in events:
        if not isinstance(event, Event):
            event = Heard(event)
        state, commands = step(state, event, now)
    return state, commands


def refused(commands: list[Command]) -> str:
    """The reason of the only command, a refusal."""
    (command,) = commands
    assert isinstance(command, Publish)
    assert isinstance(command.message, Refusal)
    return command.message.reason


READY, _ = go(State(DEVICE), HELLO)
FETCHING, _ = go(READY, task())
TRAINING, _ = go(FETCHING, BlobReady(2, MODEL.digest), BlobReady(2, SHARD.digest))
SENDING, _ = go(TRAINING, Trained(2))
SETTLING, _ = go(SENDING, Uploaded(2, update()))
DONE, _ = go(SETTLING, UpdateAck(run="r", round=0, status="accepted"), Closed(closed()))
BUSY = {"fetching": FETCHING, "training": TRAINING, "sending": SENDING, "settling": SETTLING}


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


# ---- profile -----------------------------------------------------------------------------------------------------


def test_a_profile_is_measured_once() -> None:
    state, commands = go(READY, REQUEST)
    assert commands == [Profile(2, REQUEST)]
    assert state.phase == "profiling"
    assert go(state, REQUEST) == (state, [])
    state, commands = go(state, Profiled(2, REPORT))
    assert commands == [Publish(REPORT)]
    assert state.phase == "ready"
    state, commands = go(state, REQUEST)
    assert commands == [Publish(REPORT)]
    assert state.phase == "ready"


def test_another_profile_takes_the_place_of_the_first() -> None:
    longer = ProfileRequest(run="r", network=NETWORK, batch_size=4, freqs_hz=(1e9,), window_s=2, settle_s=0)
    state, _ = go(READY, REQUEST)
    state, commands = go(state, longer)
    assert commands == [Drop(), Profile(3, longer)]
    assert go(state, Profiled(2, REPORT)) == (state, [])
    state, _ = go(state, Profiled(3, REPORT))
    assert state.profiled == (longer, REPORT)
    assert go(state, REQUEST)[1] == [Profile(4, REQUEST)]


def test_a_profile_is_refused_by_strangers_and_the_busy() -> None:
    stranger = ProfileRequest(run="x", network=NETWORK, batch_size=4, freqs_hz=(1e9,), window_s=1, settle_s=0)
    assert refused(go(READY, stranger)[1]) == "run x is not the one this device joined (r)"
    for phase, state in BUSY.items():
        assert refused(go(state, REQUEST)[1]) == f"the device is busy ({phase})"


def test_a_profile_that_fails_is_refused_with_the_reason() -> None:
    state, _ = go(READY, REQUEST)
    state, commands = go(state, Failed(2, "no clock"))
    refusal = Refusal(device="dev", run="r", round=None, reason="no clock")
    assert commands == [Drop(), Publish(refusal)]
    assert (state.phase, state.request) == ("ready", None)


def test_an_abort_of_the_run_ends_a_profile() -> None:
    state, _ = go(READY, REQUEST)
    assert go(state, Abort(run="x", round=0, reason="")) == (state, [])
    state, commands = go(state, Abort(run="r", round=0, reason=""))
    assert commands == [Drop()]
    assert state.phase == "ready"
    assert go(state, Profiled(2, REPORT)) == (state, [])


def test_a_task_takes_the_place_of_a_profile() -> None:
    state, _ = go(READY, REQUEST)
    state, commands = go(state, task())
    assert commands == [Drop(), Open(3, task())]
    assert state.request is None


# ---- a round -----------------------------------------------------------------------------------------------------


def test_a_round_from_the_task_to_the_last_word() -> None:
    state, commands = go(READY, task(), now=7.0)
    assert commands == [Open(2, task())]
    assert (state.phase, state.received_at, state.heard_at) == ("fetching", 7.0, 7.0)
    state, commands = go(state, BlobReady(2, SHARD.digest))
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


def test_without_a_shard_the_model_alone_is_waited_for() -> None:
    alone = task(shard=None, synth_samples=0, segments=(Segment(freq_hz=None, samples=20),))
    state, _ = go(READY, alone)
    assert state.lacking == {MODEL.digest}
    assert go(state, BlobReady(2, MODEL.digest))[1] == [Train(2, alone)]


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


# ---- the same task again -----------------------------------------------------------------------------------------


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


# ---- interruptions -----------------------------------------------------------------------------------------------


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


# ---- whatever happens --------------------------------------------------------------------------------------------

_MESSAGES: list[AnyMessage] = [
    HELLO,
    ServerHello(server_id="s", run="r2", network=NETWORK),
    REQUEST,
    *(task(round_) for round_ in range(3)),
    task(1, run="r2"),
    task(2, synth_samples=99),
    *(Abort(run="r", round=round_, reason="") for round_ in range(3)),
    *(UpdateAck(run="r", round=round_, status="accepted") for round_ in range(3)),
    UpdateAck(run="r", round=1, status="late"),
    Bye(run="r", reason=""),
]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_every_task_that_is_opened_is_closed_once_and_work_never_overlaps(data: st.DataObject) -> None:
    """A shell that obeys, fed with anything in any order: energy windows nest properly, one piece of work at a time."""
    state, now = State(DEVICE), 0.0
    opened: Task | None = None
    running: Profile | Open | Train | Upload | None = None
    n_opened = n_closed = 0

    def obey(commands: list[Command]) -> None:
        nonlocal state, opened, running, n_opened, n_closed
        for command in commands:
            match command:
                case Drop():
                    running = None
                case Close():
                    assert running is None
                    assert command.task == opened
                    opened, n_closed = None, n_closed + 1
                    state, more = step(state, Closed(closed(command.task.round)), now)
                    obey(more)
                case Open():
                    assert opened is None
                    opened, running, n_opened = command.task, command, n_opened + 1
                case Train() | Upload(update=None):
                    assert opened == command.task
                    running = command
                case Profile() | Upload():
                    assert opened is None
                    running = command
                case Publish() | Release():
                    pass
            assert not hasattr(command, "work") or command.work == state.work

    for _ in range(data.draw(st.integers(1, 40))):
        now += data.draw(st.sampled_from([0.0, 1.0, 30.0, 101.0]))
        results: list[Event] = [Tick(), Connected(), Disconnected(), Stop("")]
        if running is not None:
            work = running.work
            results += [Failed(work, "x"), Trained(work), Uploaded(work, update()), Profiled(work, REPORT)] * 2
            results += [BlobReady(work, MODEL.digest), BlobReady(work, SHARD.digest)] * 4
        event = data.draw(st.one_of(st.sampled_from(results), st.sampled_from([Heard(m) for m in _MESSAGES])))
        if isinstance(event, Profiled) and isinstance(running, Profile):
            running = None  # measured: nothing is left to drop
        state, commands = step(state, event, now)
        obey(commands)
        assert (state.task is not None) == (opened is not None)
        assert (state.phase in BUSY) == (state.task is not None or state.again is not None)
        assert n_opened - n_closed == (opened is not None)
    state, commands = step(state, Stop("the end"), now)
    obey(commands)
    assert n_opened == n_closed
    assert running is None
