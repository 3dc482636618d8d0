"""Messages, and sessions at each stage of a round, for tests of the session."""

from __future__ import annotations

from edge_client.events import (
    OTHERS,
    BlobReady,
    Closed,
    Command,
    Device,
    Event,
    Heard,
    Publish,
    State,
    Trained,
    Uploaded,
)
from edge_client.protocol.messages import (
    AnyMessage,
    BlobRef,
    Capabilities,
    EnergyReading,
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
TRAINING, _ = go(FETCHING, BlobReady(2, MODEL.digest), BlobReady(2, OTHERS))
SENDING, _ = go(TRAINING, Trained(2))
SETTLING, _ = go(SENDING, Uploaded(2, update()))
DONE, _ = go(SETTLING, UpdateAck(run="r", round=0, status="accepted"), Closed(closed()))
BUSY = {"fetching": FETCHING, "training": TRAINING, "sending": SENDING, "settling": SETTLING}
