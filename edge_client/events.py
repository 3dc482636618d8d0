"""What the session is told (events), what it tells the shell to do (commands), and what it remembers (state)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_client.protocol.messages import (
    AnyMessage,
    Calibration,
    Capabilities,
    ProfileReport,
    ProfileRequest,
    Task,
    TaskClosed,
    Update,
)

OTHERS = "others"
"""In place of a digest: the graphs that train and all samples of the shard."""

Phase = Literal["waiting", "ready", "profiling", "fetching", "training", "sending", "settling"]
Outcome = Literal["done", "late", "rejected", "aborted", "deadline", "failed"]


# ---- values ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """What the session must know of its device: name, own samples by class, image shape (H, W, C), room, abilities,
    and the board's calibration where there is one."""

    name: str
    label_counts: tuple[int, ...]
    image_shape: tuple[int, int, int]
    storage_samples: int
    capabilities: Capabilities
    client_version: str
    calibration: Calibration | None = None

    @property
    def local_samples(self) -> int:
        return sum(self.label_counts)


@dataclass(frozen=True)
class Finished:
    """The last task that came to an end: its update (None where it got none) and the last word on it."""

    task: Task
    update: Update | None
    closed: TaskClosed


@dataclass(frozen=True)
class State:
    """Where the session stands. `work` numbers tasks and profiles; `again` is what is on its way again.

    `lacking` is what is still to come, the model's digest and `OTHERS`; `closing` is the task whose joules are just
    being counted. `heard_at` is the last word, or the break of the line; `online` whether there is a line (no task
    comes before the first is made). `barred` says why the owner's rules forbid work now. `profiled` is what was
    measured last, to say it again; `costs` the last profile that tells what a sample takes at each clock.
    """

    device: Device
    phase: Phase = "waiting"
    run: str | None = None
    work: int = 0
    task: Task | None = None
    received_at: float = 0.0
    heard_at: float = 0.0
    online: bool = True
    lease_lost: bool = False
    lacking: frozenset[str] = frozenset()
    update: Update | None = None
    closing: tuple[Task, Update | None] | None = None
    again: Finished | None = None
    request: ProfileRequest | None = None
    profiled: tuple[ProfileRequest, ProfileReport] | None = None
    costs: tuple[ProfileRequest, ProfileReport] | None = None
    finished: Finished | None = None
    barred: str | None = None


# ---- events ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Connected:
    """The broker answered, at the start or after an interruption."""


@dataclass(frozen=True)
class Disconnected:
    """The connection to the broker broke; it is tried again."""


@dataclass(frozen=True)
class Heard:
    """A message of the server, other than chunks and their progress; with a task, the joules left in a battery that
    feeds the board alone (None: more comes from outside, or nothing tells)."""

    message: AnyMessage
    battery_j: float | None = None


@dataclass(frozen=True)
class Profiled:
    work: int
    report: ProfileReport


@dataclass(frozen=True)
class BlobReady:
    """The model is here, its digest verified; or, as `OTHERS`, all else that the task needs on this device."""

    work: int
    digest: str


@dataclass(frozen=True)
class Trained:
    work: int


@dataclass(frozen=True)
class Uploaded:
    """The server has the weights; `update` is what to say about them."""

    work: int
    update: Update


@dataclass(frozen=True)
class Failed:
    """Work came to nothing: the worker died, the data do not fit, the sensor broke."""

    work: int
    reason: str


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True)
class Barred:
    """The owner's rules forbid work from now on, and why; None: they allow it again."""

    reason: str | None


@dataclass(frozen=True)
class Stop:
    """The client is asked to end."""

    reason: str


@dataclass(frozen=True)
class Closed:
    """The answer to `Close`: the joules are counted."""

    closed: TaskClosed


Event = (
    Connected
    | Disconnected
    | Heard
    | Profiled
    | BlobReady
    | Trained
    | Uploaded
    | Failed
    | Tick
    | Stop
    | Closed
    | Barred
)


# ---- commands ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Publish:
    """Send this to the server; kept until the broker has it."""

    message: AnyMessage


@dataclass(frozen=True)
class Profile:
    """Measure; answer `Profiled` or `Failed`."""

    work: int
    request: ProfileRequest


@dataclass(frozen=True)
class Open:
    """Begin a task's energy window and collect the model and all else; answer `BlobReady` for both."""

    work: int
    task: Task


@dataclass(frozen=True)
class Train:
    """Apply the plan and train; answer `Trained` or `Failed`."""

    work: int
    task: Task


@dataclass(frozen=True)
class Upload:
    """Send the weights in chunks; answer `Uploaded` or `Failed`. With `update`: that one's weights once more."""

    work: int
    task: Task
    update: Update | None = None


@dataclass(frozen=True)
class Drop:
    """End all work at once and restore the board's settings."""


@dataclass(frozen=True)
class Release:
    """The lease ran out, for nobody can tell this device to stop: restore the settings now, go on working."""


@dataclass(frozen=True)
class Close:
    """End the task's energy window; answer `Closed`."""

    task: Task
    outcome: Outcome
    reason: str


Command = Publish | Profile | Open | Train | Upload | Drop | Release | Close
