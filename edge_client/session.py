"""The client's state machine: (state, event, now) -> (state, commands). Pure: it owns no socket, clock or process.

    waiting --ServerHello--> ready --ProfileRequest--> profiling --> ready
                             ready --Task--> fetching --> training --> sending --> settling --UpdateAck--> ready

Why pure: every trouble on the line (a task twice, an acknowledgement late, a server gone, a deadline in the middle of
an upload) is a sequence of events, and can be tried in microseconds. `agent/` executes the commands and reports back
with events that carry the number of the work they belong to, so that word of dropped work changes nothing.

A task is known by (run, round, device). The last finished one is kept: when the server sends the same Task again, its
update is sent again and nothing is trained twice. What is closed is closed once: one `TaskClosed` per task.
"""

from __future__ import annotations

from dataclasses import replace

from edge_client.costs import more_telling
from edge_client.events import (
    OTHERS,
    Barred,
    BlobReady,
    Close,
    Closed,
    Command,
    Connected,
    Disconnected,
    Drop,
    Event,
    Failed,
    Finished,
    Heard,
    Open,
    Outcome,
    Phase,
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
    Bye,
    Join,
    ProfileRequest,
    Refusal,
    ServerHello,
    Task,
    UpdateAck,
)
from edge_client.refusals import refused, unfit

_OUTCOME_OF_ACK: dict[str, Outcome] = {
    "accepted": "done",
    "duplicate": "done",
    "late": "late",
    "rejected": "rejected",
}

Step = tuple[State, list[Command]]


# ---- the machine -------------------------------------------------------------------------------------------------


def step(state: State, event: Event, now: float) -> Step:
    """One step at `now` (monotonic seconds)."""
    match event:
        case Heard(message, battery_j):
            return _heard(replace(state, heard_at=now, lease_lost=False), message, now, battery_j)
        case Connected():
            # An Update published into a dying connection may be lost; the server takes it twice without harm.
            return replace(state, online=True, lease_lost=False), _say_again(state)
        case Disconnected():
            return replace(state, online=False, heard_at=now if state.online else state.heard_at), []
        case Tick():
            return _tick(state, now)
        case Barred(reason):
            return _bar(replace(state, barred=reason))
        case Stop(reason):
            return _give_up(replace(state, run=None), reason, "waiting")
        case Closed(closed):
            if state.closing is None:
                return state, []
            task, update = state.closing
            return replace(state, closing=None, finished=Finished(task, update, closed)), [Publish(closed)]
        case _:
            return _worked(state, event) if event.work == state.work else (state, [])


def _heard(state: State, message: AnyMessage, now: float, battery_j: float | None) -> Step:
    match message:
        case ServerHello():
            return _hello(state, message)
        case ProfileRequest():
            return _profile(state, message)
        case Task():
            return _task(state, message, now, battery_j)
        case Abort() if _is_current(state, message) or _is_profile_of(state, message.run):
            return _give_up(state, message.reason or "aborted by the server", "ready")
        case UpdateAck() if _is_current(state, message) and state.phase in ("sending", "settling"):
            return _acknowledged(state, message)
        case Bye() if message.run == state.run:
            return _give_up(replace(state, run=None), f"the run is over: {message.reason}", "waiting")
        case _:
            return state, []


def _hello(state: State, hello: ServerHello) -> Step:
    """Join; a hello of another run ends what was under way for the old one."""
    state, commands = (state, []) if hello.run == state.run else _give_up(state, f"run {hello.run} began", "waiting")
    if problem := unfit(state.device, hello.network):
        refusal = Refusal(device=state.device.name, run=hello.run, round=None, reason=problem)
        return replace(state, run=None), [*commands, Publish(refusal)]
    phase: Phase = "ready" if state.phase == "waiting" else state.phase
    device = state.device
    join = Join(
        device=device.name,
        run=hello.run,
        label_counts=device.label_counts,
        storage_samples=device.storage_samples,
        capabilities=device.capabilities,
        client_version=device.client_version,
        calibration=device.calibration,
    )
    return replace(state, run=hello.run, phase=phase), [*commands, Publish(join)]


def _profile(state: State, request: ProfileRequest) -> Step:
    if state.profiled is not None and state.profiled[0] == request:
        return state, [Publish(state.profiled[1])]
    if state.phase == "profiling" and state.request == request:
        return state, []
    problem = state.barred or unfit(state.device, request.network)
    if request.run != state.run:
        problem = f"run {request.run} is not the one this device joined ({state.run})"
    elif state.phase not in ("ready", "profiling"):
        problem = f"the device is busy ({state.phase})"
    if problem:
        return state, [Publish(Refusal(device=state.device.name, run=request.run, round=None, reason=problem))]
    state, commands = _give_up(state, "a new profile was asked for", "profiling")
    state = replace(state, request=request)
    return state, [*commands, Profile(state.work, request)]


def _task(state: State, task: Task, now: float, battery_j: float | None) -> Step:
    if state.task == task:
        return state, _say_again(state)  # the server did not see our answer, or has been restarted
    if state.finished is not None and state.finished.task == task and state.task is None:
        return _answer_again(state, state.finished, now)
    if state.task is not None and state.task.run == task.run and task.round < state.task.round:
        return state, []  # left over in a queue: the server has moved on
    if problem := refused(state, task, battery_j):
        return state, [Publish(Refusal(device=state.device.name, run=task.run, round=task.round, reason=problem))]
    state, commands = _give_up(state, f"round {task.round} began", "fetching")
    lacking = frozenset({task.model.digest, OTHERS})
    state = replace(state, task=task, received_at=now, lacking=lacking)
    return state, [*commands, Open(state.work, task)]


def _answer_again(state: State, finished: Finished, now: float) -> Step:
    """The update of a finished task once more; only the word on it where there is no update."""
    if finished.update is None:
        return state, [Publish(finished.closed)]
    if state.phase != "ready":
        return state, _say_again(state)
    state = replace(state, phase="sending", again=finished, work=state.work + 1, received_at=now)
    return state, [Upload(state.work, finished.task, finished.update)]


def _acknowledged(state: State, ack: UpdateAck) -> Step:
    if state.task is None:  # the stored update was said again
        return _give_up(state, ack.reason, "ready")
    return _close(state, state.task, _OUTCOME_OF_ACK[ack.status], ack.reason, "ready")


def _worked(state: State, event: Profiled | BlobReady | Trained | Uploaded | Failed) -> Step:
    """Word from the work under way."""
    task = state.task
    match event:
        case Profiled(report=report) if state.phase == "profiling" and state.request is not None:
            profiled = (state.request, report)
            costs = more_telling(state.costs, profiled)
            ready = replace(state, phase="ready", request=None, profiled=profiled, costs=costs)
            return ready, [Publish(report)]
        case BlobReady(digest=digest) if state.phase == "fetching" and task is not None:
            lacking = state.lacking - {digest}
            if lacking:
                return replace(state, lacking=lacking), []
            return replace(state, lacking=lacking, phase="training"), [Train(state.work, task)]
        case Trained() if state.phase == "training" and task is not None:
            return replace(state, phase="sending"), [Upload(state.work, task)]
        case Uploaded(update=update) if state.phase == "sending":
            state = replace(state, phase="settling", update=None if state.again else update)
            return state, _say_again(state)
        case Failed(reason=reason) if state.phase == "profiling" and state.request is not None:
            refusal = Refusal(device=state.device.name, run=state.request.run, round=None, reason=reason)
            return replace(state, phase="ready", request=None), [Drop(), Publish(refusal)]
        case Failed(reason=reason) if state.again:
            return _give_up(state, reason, "ready")
        case Failed(reason=reason) if task is not None:
            return _close(state, task, "failed", reason, "ready")
        case _:
            return state, []


def _tick(state: State, now: float) -> Step:
    task = _current(state)
    if task is None:
        return state, []
    if now - state.received_at > task.deadline_s:
        if state.again:
            return _give_up(state, "deadline", "ready")
        return _close(state, task, "deadline", f"not done {task.deadline_s:g} s after the task came", "ready")
    # A server need not speak while devices train. As long as the broker is there it could, and the broker itself says
    # good-bye for a server that has died (its last will); so the lease counts only while the line is down.
    silent = not state.online and now - state.heard_at > task.lease_s
    if silent and not state.again and not state.lease_lost:
        return replace(state, lease_lost=True), [Release()]
    return state, []


def _bar(state: State) -> Step:
    """The owner's rules have changed their mind: work that needs the processor ends, an upload may still be sent."""
    if state.barred is None or state.phase not in ("profiling", "fetching", "training"):
        return state, []
    if state.task is not None:
        return _close(state, state.task, "failed", state.barred, "ready")
    asked, (state, commands) = state.request, _give_up(state, state.barred, "ready")
    if asked is not None and state.barred is not None:
        commands.append(Publish(Refusal(device=state.device.name, run=asked.run, round=None, reason=state.barred)))
    return state, commands


def _give_up(state: State, reason: str, phase: Phase) -> Step:
    """Drop whatever is under way: a task closes as aborted, a profile or a repeated update just ends."""
    if state.task is not None:
        return _close(state, state.task, "aborted", reason, phase)
    commands: list[Command] = [Drop()] if state.phase == "profiling" or state.again else []
    if state.again:
        commands.append(Publish(state.again.closed))
    return replace(state, phase=phase, work=state.work + 1, request=None, again=None), commands


def _close(state: State, task: Task, outcome: Outcome, reason: str, phase: Phase) -> Step:
    """The end of the task; the shell answers `Close` with `Closed` before it takes any other event."""
    closing = (task, state.update)
    state = replace(state, phase=phase, work=state.work + 1, task=None, update=None, closing=closing)
    return replace(state, lacking=frozenset(), lease_lost=False), [Drop(), Close(task, outcome, reason)]


def _say_again(state: State) -> list[Command]:
    """The update that waits for its acknowledgement, once more; the server takes it twice without harm."""
    update = state.again.update if state.again else state.update
    return [Publish(update)] if state.phase == "settling" and update is not None else []


def _current(state: State) -> Task | None:
    """The task that is under way, or whose update is on its way again."""
    return state.again.task if state.again else state.task


def _is_current(state: State, message: Abort | UpdateAck) -> bool:
    task = _current(state)
    return task is not None and (task.run, task.round) == (message.run, message.round)


def _is_profile_of(state: State, run: str) -> bool:
    return state.phase == "profiling" and run == state.run
