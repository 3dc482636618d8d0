"""FLEET.toml: which boards, which broker, which data."""

from __future__ import annotations

from typing import Annotated

import msgspec

from edge_client.runtimes import Wanted
from tools.boards.faults import Faults
from tools.boards.radio import RadioConfig

Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class BoardConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One board: `profile` shipped or a TOML of your own, `data` an NPZ with its samples, `runtime` what its client
    trains with (left out: as `client_config` says, torch without one)."""

    id: Name
    profile: str
    data: str
    storage_samples: Annotated[int, msgspec.Meta(ge=0)] | None = None
    link_bytes_per_s: Positive | None = None
    client_config: str | None = None
    runtime: Wanted | None = None
    faults: Faults = Faults()
    radio: RadioConfig | None = None


class FleetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """FLEET.toml. Paths are relative to the file's folder; `broker` is host:port or mqtt://host:port."""

    broker: str
    fleet: Name
    board: tuple[BoardConfig, ...]
    seed: int = 0
    dir: str = "boards"
    usable_share: Annotated[float, msgspec.Meta(gt=0, le=0.95)] = 0.75

    def __post_init__(self) -> None:
        if not self.board:
            raise ValueError("board: is empty; give at least one [[board]]")
        ids = [board.id for board in self.board]
        if twice := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
            raise ValueError(f"board: id {twice[0]!r} stands twice; give each board its own")
        broker_address(self.broker)


def broker_address(text: str) -> tuple[str, int]:
    """Host and port of "host:port" or "mqtt://host:port"; ValueError says what would be right."""
    host, _, port = text.removeprefix("mqtt://").rstrip("/").rpartition(":")
    if "@" in text:  # said without the text: it holds a password
        raise ValueError("broker: has a user; virtual boards relay a broker without passwords, give mqtt://host:port")
    if "://" in host:
        raise ValueError(f"broker: {text!r} is not plain MQTT; virtual boards relay mqtt://host:port only")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"broker: {text!r} is no address; give host:port")
    return host.strip("[]"), int(port)
