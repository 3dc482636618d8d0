"""client.toml: what this client is, as a strict struct. Flags of the command line go before it.

Units stand in the names. A field left out takes the value that its comment says.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edge_client.conditions import Hours, Rules
from edge_client.errors import SetupError
from edge_client.hardware.meters import Wanted
from edge_client.hardware.plug import PlugSettings
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.joining import Address, parse_url, tls_context
from edge_client.protocol.topics import check_level
from edge_client.runtimes import Wanted as WantedRuntime
from firmware_profiles.calibrated import load_calibration
from firmware_profiles.strict import ConfigError, convert, read_toml

Count = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]


_LAST_CPU = 4095
"""Linux knows no more."""


class PlugConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A smart plug that the board is fed through."""

    kind: Literal["tasmota", "shelly"]  # what it speaks; shelly: of the second generation and later
    broker: str  # mqtt://[user:password@]host[:port] or mqtts://...; where the plug publishes
    topic: Annotated[str, Meta(min_length=1)]  # Tasmota's Topic, Shelly's MQTT prefix

    def __post_init__(self) -> None:
        if set("#+\0") & set(self.topic):  # a library's ValueError in the thread that polls, else
            raise ValueError(f"topic: {self.topic!r} has a wildcard; give the plug's own, without # and +")


class RssiConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the access point is asked for this board's signal."""

    command: Annotated[str, Meta(min_length=1)]  # whose last printed number is the signal in dBm; no shell
    settle_s: Positive = 3.0  # before each of its readings

    def __post_init__(self) -> None:
        try:
            words = shlex.split(self.command)
        except ValueError:
            words = []
        if not words:
            raise ValueError(f"command: {self.command!r} is no command line; give words, with quotes that are closed")


class LimitsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the board may work; each rule can be left out."""

    max_temperature_c: Annotated[float, Meta(gt=0, le=120)] | None = None  # of the processor
    min_battery_percent: Annotated[float, Meta(ge=0, le=100)] | None = None  # while nothing feeds the board
    only_when_charging: bool = False  # a board without a battery always is
    hours: str | None = None  # of the local day, as 22:00-06:30

    @property
    def rules(self) -> Rules:
        """As the client keeps them; raises ValueError."""
        percent = self.min_battery_percent
        return Rules(
            self.max_temperature_c,
            None if percent is None else percent / 100,
            self.only_when_charging,
            None if self.hours is None else Hours.parse(self.hours),
        )

    def __post_init__(self) -> None:
        _ = self.rules


AGENT_BYTES = 60 * 10**6
"""What the agent holds beside the trainer: interpreter, arrays and messages, an update in the making."""


LEAST_BYTES = 130 * 10**6
"""Of a memory_limit: less than this a client with the smallest network and runtime holds."""


class ClientConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file; every field can be left out there, and `broker`, `fleet`, `id` and `data` then stand on the line."""

    broker: str | None = None  # mqtt://[user:password@]host[:port] or mqtts://...
    fleet: str | None = None  # the fleet's name in all topics
    id: str | None = None  # this device's name in all topics
    data: str | None = None  # npz of this device's samples: x, y, n_classes
    root: str = "/"  # where sys/, proc/ and bin/ of the board are
    state_dir: str | None = None  # settings to restore and the cached shard; left out: run/fimi below root
    storage_samples: Count = 1000  # synthetic samples this device has room for
    runtime: WantedRuntime = (
        "auto"  # what trains: onnx, tflite, torch, numpy; auto: of those installed the one that takes the
    )
    # least joules for a sample, tried when a server first asks for a profile
    bfloat16: bool = False  # products in bfloat16, torch alone; only where the processor has instructions for it
    memory_limit: AtLeastOne | None = None  # megabytes for client and trainer together; batches are split to fit
    threads: AtLeastOne | None = None  # of the training runtime; left out: one for each of `cpus`, 1 without them
    cpus: str | None = None  # that the trainer stays on, as 0-3 or 0,2; their clocks alone are set; left out: all
    helper: Annotated[str, Meta(min_length=1)] = "auto"  # its socket, none, or auto: used where it is there
    interface: str | None = None  # Wi-Fi interface; left out: the one of the default route, else wlan0
    meter: str = "auto"  # plug, hwmon, hwmon:NAME, ina3221, jtop, pmic, rapl, modelled, none; auto: the best there is
    meter_period_s: Annotated[float, Meta(ge=0.01)] = 0.1  # between two polls of the meter
    meter_profile: str | None = None  # board profile of the model, name or path; left out: the shipped one that fits
    calibration: str | None = None  # PROFILE.toml that `fimi-calibrate fit` made of this very board
    plug: PlugConfig | None = None  # [plug]
    rssi: RssiConfig | None = None  # [rssi], for `fimi-client radio-check`
    limits: LimitsConfig = LimitsConfig()  # [limits]
    heartbeat_s: Annotated[float, Meta(ge=0.1)] = 5.0
    max_packet_bytes: Annotated[int, Meta(ge=4096)] = 128 * 1024  # largest message the broker takes
    ca_file: str | None = None  # PEM: authority of an mqtts broker's certificate; left out: the system's ones
    cert_file: str | None = None  # this client's certificate, for mutual TLS
    key_file: str | None = None  # and its key
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        if self.cpus is not None:
            parse_cpus(self.cpus)
        if self.memory_limit is not None and self.memory_limit * 10**6 < LEAST_BYTES:
            least = LEAST_BYTES // 10**6
            raise ValueError(f"memory_limit: {self.memory_limit} MB is less than a trainer takes; give {least} or more")
        if self.meter == "plug" and self.plug is None:
            raise ValueError("meter: is plug, but which one is not said; add [plug] with kind, broker and topic")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file: needs key_file, and key_file needs cert_file; give both or none")

    @property
    def cpu_list(self) -> tuple[int, ...] | None:
        """The CPUs of `cpus`, ascending."""
        return None if self.cpus is None else parse_cpus(self.cpus)

    @property
    def n_threads(self) -> int:
        """Threads of the training runtime."""
        return self.threads or len(self.cpu_list or (0,))

    @property
    def trainer_bytes(self) -> int | None:
        """What `memory_limit` leaves the training process, the agent's own share taken off."""
        return None if self.memory_limit is None else self.memory_limit * 10**6 - AGENT_BYTES

    @property
    def state_path(self) -> Path:
        return Path(self.state_dir) if self.state_dir else Path(self.root) / "run" / "fimi"


def parse_cpus(text: str) -> tuple[int, ...]:
    """CPUs of a list as the kernel writes it ("0-3,6"), ascending; raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise ValueError(f"cpus: {text!r} is no list of CPUs; give one as 0-3 or 0,2,5")
        if int(last or first) > _LAST_CPU:
            raise ValueError(f"cpus: {text!r} is no list of CPUs; they are numbered from 0 to {_LAST_CPU} at most")
        found.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))


def try_cpus(cpus: tuple[int, ...] | None) -> None:
    """Raise SetupError where the trainer could not stay on these CPUs."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, before if cpus is None else cpus)
    except OSError as error:
        told, mine = (",".join(map(str, sorted(some))) for some in (cpus or (), before))
        raise SetupError(f"cpus: none of {told} is here to train on ({error.strerror}); give some of {mine}") from error
    finally:
        os.sched_setaffinity(0, before)


def parse_broker(url: str) -> Address:
    """See `parse_url`; raises SetupError, which never shows a password."""
    _, at, place = url.rpartition("@")
    shown = f"...@{place}" if at else url
    escapes = "; in a password write / ? # @ as %2F %3F %23 %40" if at else ""
    wrong = f"--broker {shown} is no broker; give mqtt://host:port or mqtts://host:port{escapes}"
    try:
        return parse_url(url)
    except ValueError:
        raise SetupError(wrong) from None


def merge(config: ClientConfig, flags: dict[str, object]) -> ClientConfig:
    """The file's settings with the flags that were given (not None) over them; raises SetupError."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return convert({**msgspec.to_builtins(config), **given}, ClientConfig, "command line")
    except ConfigError as error:
        raise SetupError(str(error)) from error


def load_place(path: Path) -> ClientConfig:
    """Of a client.toml that is wrong, only where the board and its settings are, as far as that can be read."""
    try:
        held = read_toml(path)
    except ConfigError:
        held = {}
    return merge(ClientConfig(), {key: held[key] for key in ("root", "state_dir") if isinstance(held.get(key), str)})


def check_complete(config: ClientConfig) -> None:
    """Raise SetupError unless everything that has no default is there and names can stand in topics."""
    for name in ("broker", "fleet", "id", "data"):
        if not getattr(config, name):
            raise SetupError(f"{name} is missing; give --{name} or `{name}` in client.toml")
    try:
        check_level(config.fleet or "", "--fleet")
        check_level(config.id or "", "--id")
    except ProtocolError as error:
        raise SetupError(str(error)) from error
    broker = parse_broker(config.broker or "")
    for name in ("ca_file", "cert_file"):
        if getattr(config, name) and not broker.tls:
            raise SetupError(f"{name} is given, but {broker} is a broker without TLS; give --broker mqtts://host:port")


def wanted_meter(config: ClientConfig) -> Wanted:
    """How the board is to be measured; raises SetupError, or ConfigError where `calibration` is none."""
    plug = None
    if config.plug is not None:
        try:
            broker = parse_broker(config.plug.broker)
            tls = tls_context(config.ca_file, config.cert_file, config.key_file) if broker.tls else None
        except (SetupError, ValueError) as error:
            raise SetupError(f"[plug]: {error}") from error
        plug = PlugSettings(config.plug.kind, broker, config.plug.topic, tls)
    calibration = load_calibration(Path(config.calibration)) if config.calibration else None
    try:
        return Wanted(config.meter, plug, config.meter_profile, calibration)
    except ValueError as error:
        raise SetupError(str(error)) from error
