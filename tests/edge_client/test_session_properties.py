"""The session fed with anything in any order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.events import (
    OTHERS,
    BlobReady,
    Close,
    Closed,
    Command,
    Connected,
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
from edge_client.protocol.messages import Abort, AnyMessage, Bye, ServerHello, Task, UpdateAck
from edge_client.session import step
from tests.edge_client.session_states import (
    BUSY,
    DEVICE,
    HELLO,
    MODEL,
    NETWORK,
    REPORT,
    REQUEST,
    closed,
    task,
    update,
)

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
            results += [BlobReady(work, MODEL.digest), BlobReady(work, OTHERS)] * 4
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
