"""RUN.toml: what a run is, as frozen structs. Unknown fields and impossible values are refused with their path.

Units stand in the names: seconds, samples, bits. Paths are relative to the folder of the file (`out`: to where the
command runs). `None` (a field left out) means: let the run find it, in the way that the field's comment says.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from edge_client.protocol.chunks import CHUNK_BYTES, LEAST_CHUNK_BYTES
from edge_client.protocol.messages import Name
from server.errors import ConfigError
from server.synth.settings import Solver

Strategy = Literal["tfl", "fill", "fimi", "tfl-top"]
Count = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(gt=0, le=1)]
ChunkBytes = Annotated[int, Meta(ge=LEAST_CHUNK_BYTES, le=1 << 20)]  # 16 of them may be under way to each device


LONGEST_NAME = 40
"""Of a run. Its id, name and time and number, goes with every message, where 64 characters are the limit."""


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of RUN.toml."""


class DataConfig(Section, frozen=True, kw_only=True):
    """[data]: the data set, its cut into a public and a private part, and who gets what of the private part."""

    source: str = "fashion-mnist"  # or "fashion-mnist-full", "cifar10", "gtsrb:FOLDER", a folder of images, an .npz
    image_size: Annotated[int, Meta(ge=8, le=1024)] | None = None  # pixels: what a folder's images are brought to
    public_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.5  # of the training images: the server's, trains generators
    split_seed: Count = 0  # of the cut; the shipped generator belongs to 0
    partition: Literal["iid", "dirichlet", "shards", "groups"] = "dirichlet"  # of the private part over devices
    alpha: Positive = 0.4  # of "dirichlet": small means that devices see few classes
    classes_per_device: AtLeastOne = 2  # of "shards"
    local_samples: AtLeastOne | None = 250  # mean number of images a device; left out: the whole private part
    test_samples_per_round: AtLeastOne = 2000  # images in the evaluation after each round; all of them at the end


class NetworkConfig(Section, frozen=True, kw_only=True):
    """[network]: what is trained."""

    name: Literal["vgg9", "tiny"] = "vgg9"


class TrainingConfig(Section, frozen=True, kw_only=True):
    """[training]: local SGD, the same for every strategy."""

    rounds: AtLeastOne = 10
    local_epochs: AtLeastOne = 1
    batch_size: AtLeastOne = 16  # samples
    learning_rate: Positive = 0.02
    learning_rate_decay: Share = 1.0  # factor from one round to the next: round r has learning_rate * decay^(r-1)
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 0.0
    prox: NonNegative = 0.0  # FedProx: pull of a device's weights towards the global model's; 0: plain averaging
    evaluate_on_devices: bool = False  # each device says how good the global model is on its own samples, at its joules
    clip_norm: Positive | None = None  # largest L2 norm of a batch's gradient; left out: not clipped
    stop_at: Strategy | None = None  # strategies after this one end once they hold the accuracy that it ended with


class PlanConfig(Section, frozen=True, kw_only=True):
    """[plan]: what the planner is asked."""

    energy_basis: Literal["added", "board"] = "added"  # joules over idle, or of the whole board while it works
    accuracy_model: Literal["pooled", "device_mean"] = "pooled"  # whose data the learning curve is asked about
    target_error: Annotated[float, Meta(gt=0, lt=1)] | None = None  # error allowed; left out: see fill_factor
    fill_factor: Annotated[float, Meta(gt=1)] = 2.0  # target_error left out: the error with so many times the data
    target_accuracy: Annotated[float, Meta(gt=0, lt=1)] | None = None  # to reach for the least joules
    rounds: str | None = None  # rounds.json of `fimi-server fit-rounds`, which target_accuracy needs
    round_s: Positive | None = None  # compute and upload in seconds; left out: round_slack times the least that goes
    round_slack: Annotated[float, Meta(ge=1)] = 1.5
    learning: str | None = None  # learning.json of `fimi-server fit-learning`; left out: the data set's shipped one
    storage_samples: Count | None = None  # synthetic samples a device may hold; left out: what the device offers
    replan: bool = False  # correct devices by what each round measures, and plan again where that saves 1 % or more


class SynthConfig(Section, frozen=True, kw_only=True):
    """[synth]: where synthetic samples come from."""

    generator: str | None = None  # checkpoint of `fimi-server train-generator`, folder of a diffusers pipeline, or
    # "hub:OWNER/NAME[@REVISION]"; left out: the data set's shipped checkpoint
    template: str | None = None  # of text-to-image pipelines: the prompt, "{class}" where the class's name goes
    prompts: dict[str, str | tuple[str, ...]] = {}  # by class name, in place of the template; of several, in turn
    negative_prompt: str | None = None  # what images are to keep clear of; needs guidance above 1
    labels: dict[str, int | str | tuple[int | str, ...]] = {}  # of class-conditional pipelines: theirs, by class name
    pool: str | None = None  # ready samples; left out: the data set's shipped pool where there is one
    steps: AtLeastOne | None = None  # of the sampler; left out: 20 (100 at most), of a pipeline what its kind wants
    solver: Solver | None = None  # of a checkpoint; left out: dpm++
    guidance: NonNegative | None = None  # classifier-free, 1: none; left out: 1.25, of a pipeline what its kind wants
    select: Annotated[float, Meta(ge=0, le=1)] = 0.0  # least probability its judges give a sample's class; 0: all pass
    fresh: bool = False  # samples of the run's seed alone, no two devices share one; whatever the pool holds
    store: str | None = None  # folder that keeps what runs make, for the runs after; left out: `samples` in `out`
    black_below: Annotated[int, Meta(ge=0, le=255)] | None = None  # pixels under it are made 0; left out: as the pool
    background: bool = True  # make what later strategies will want while devices train


class BrokerConfig(Section, frozen=True, kw_only=True):
    """[broker]: the embedded Mosquitto, or one of yours. `broker = "..."` is short for its url alone."""

    url: str = "embedded"  # or mqtt://[user:password@]host[:port], mqtts://...
    ca_file: str | None = None  # PEM: authority of an mqtts broker's certificate; left out: the system's ones
    port: Annotated[int, Meta(ge=0, le=65535)] = 0  # of the embedded one; 0: a free one
    listen: str = "127.0.0.1"  # address of the embedded one
    chunk_bytes: ChunkBytes = CHUNK_BYTES  # of model, shards and updates; a device may cut its update's smaller
    open_to_network: bool = False  # needed, with a `listen` beyond this machine: anyone there may then join


class FleetConfig(Section, frozen=True, kw_only=True):
    """[fleet]: who takes part."""

    name: Name = "demo"  # the level below fimi/1/ in all topics
    devices: AtLeastOne | None = None  # to wait for; left out: as many as there are [[boards]]
    quorum: AtLeastOne | Share | None = None  # updates that complete a round, a number or a share; left out: all
    enrol_timeout_s: Positive = 120.0
    shared_link_bits_per_s: Positive | None = None  # of one link that all uploads share; left out: each has its own
    round_deadline_s: Positive | None = None  # from receipt of the task; left out: 3 times round_s and 60 s


class BoardConfig(Section, frozen=True, kw_only=True):
    """[[boards]]: a virtual board that the server starts for the run; without any, it waits for devices."""

    id: Name
    profile: str  # of firmware_profiles: "jetson-nano", "raspberry-pi-4b", "raspberry-pi-5"
    storage_samples: Count = 400  # synthetic samples it has room for
    runtime: Literal["auto", "onnx", "tflite", "torch", "numpy"] = "torch"  # what its client trains with
    faults: dict[str, bool | float] = {}  # what is wrong with it on purpose, see tools/README.md
    radio: dict[str, bool | float | str] = {}  # a radio that follows Shannon's law, see tools/README.md


class ProfileConfig(Section, frozen=True, kw_only=True):
    """[profile]: how devices are measured at enrolment, with the real training step."""

    freqs: Annotated[int, Meta(ge=3)] = 3  # operating points, evenly spread from `slowest` to the highest
    slowest: Share = 0.4  # of the highest clock: slower ones take minutes to measure, and a round would take as long
    window_s: Positive = 4.0  # of each measurement
    settle_s: NonNegative = 1.0  # before each


class RunConfig(Section, frozen=True, kw_only=True):
    """The whole file."""

    name: Name = "run"  # beginning of the run directory's name
    seed: Count = 0  # of first weights, partition, batches and synthetic samples
    strategy: Strategy | tuple[Strategy, ...] = ("tfl", "fill", "fimi")
    out: str = "runs"  # folder of run directories
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    plan: PlanConfig = PlanConfig()
    synth: SynthConfig = SynthConfig()
    broker: BrokerConfig = BrokerConfig()
    fleet: FleetConfig = FleetConfig()
    profile: ProfileConfig = ProfileConfig()
    boards: tuple[BoardConfig, ...] = ()

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """In the order they are run."""
        return (self.strategy,) if isinstance(self.strategy, str) else self.strategy

    @property
    def n_devices(self) -> int:
        """Devices that take part."""
        return self.fleet.devices if self.fleet.devices is not None else len(self.boards)

    @property
    def quorum(self) -> int:
        """Updates that complete a round; a share is rounded up."""
        quorum = self.fleet.quorum
        if quorum is None:
            return self.n_devices
        return quorum if isinstance(quorum, int) else math.ceil(quorum * self.n_devices - 1e-9)


def load_config(path: Path) -> RunConfig:
    """Read and check RUN.toml; raises ConfigError with file, field, what was wrong and what would be right."""
    from firmware_profiles import strict

    try:
        data = strict.read_toml(path)
        if isinstance(data.get("broker"), str):  # short for a table of nothing else
            data["broker"] = {"url": data["broker"]}
        config = strict.convert(data, RunConfig, str(path))
    except strict.ConfigError as error:
        raise ConfigError(str(error)) from error
    check_config(config, str(path))
    return config


def check_config(config: RunConfig, file: str) -> None:
    """What no single field shows: raises ConfigError."""

    def refuse(field: str, wrong: str, right: str) -> None:
        raise ConfigError(f"{file}: {field}: {wrong}; {right}")

    if not config.strategies:
        refuse("strategy", "is empty", 'name one or more of "tfl", "fill", "fimi", "tfl-top"')
    if len(set(config.strategies)) < len(config.strategies):
        refuse("strategy", "names a strategy twice", "name each once")
    if config.training.stop_at not in (None, config.strategies[0]):
        refuse(
            "training.stop_at",
            f'is "{config.training.stop_at}"',
            f'name the strategy that runs first, "{config.strategies[0]}", or leave it out',
        )
    if len(config.name) > LONGEST_NAME:
        refuse(
            "name", f"has {len(config.name)} characters", f"at most {LONGEST_NAME}: the run's id adds the time to it"
        )
    ids = [board.id for board in config.boards]
    for name in ids:
        if ids.count(name) > 1:
            refuse("boards[].id", f'"{name}" stands for {ids.count(name)} boards', "every board needs its own name")
    if config.n_devices < 1:
        refuse("fleet.devices", "is missing", "give the number of devices to wait for, or [[boards]] to start")
    if ids and config.n_devices != len(ids):
        refuse("fleet.devices", f"is {config.n_devices}", f"there are {len(ids)} [[boards]]; leave it out")
    if config.quorum > config.n_devices:
        refuse("fleet.quorum", f"is {config.quorum}", f"at most the number of devices, {config.n_devices}")
    if config.broker.url != "embedded" and config.broker.port:
        refuse("broker.port", f"is {config.broker.port}", "the port of your own broker stands in broker.url")
    if config.broker.ca_file is not None and not config.broker.url.startswith("mqtts://"):
        refuse("broker.ca_file", "is given for a broker without TLS", "give broker.url mqtts://..., or leave it out")
    if config.synth.template is not None and "{class}" not in config.synth.template:
        refuse(
            "synth.template",
            f'"{config.synth.template}" has no place for the class',
            'write {class} where its name goes, as in "a photo of a {class}"',
        )
    if not is_loopback(config.broker.listen) and not config.broker.open_to_network:
        refuse(
            "broker.listen",
            f'"{config.broker.listen}" opens a broker without passwords to the network',
            "set broker.open_to_network = true if you mean it, or listen on 127.0.0.1",
        )


def is_loopback(address: str) -> bool:
    return address in ("localhost", "::1") or address.startswith("127.")
