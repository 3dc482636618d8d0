"""What a model file in `state_dir` is of: noted beside it, for `fimi-client evaluate` where no graphs say it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge_client.protocol.messages import NetworkSpec
from edge_client.training.store import write_whole

_NAME = "model.json"


def keep_network(model: Path, network: NetworkSpec) -> None:
    """Note beside a model what it is of; raises StorageError."""
    write_whole(model.with_name(_NAME), msgspec.json.encode(network))


def held_network(model: Path) -> NetworkSpec | None:
    """What was noted beside a model; None where nothing that can be read was."""
    try:
        return msgspec.json.decode(model.with_name(_NAME).read_bytes(), type=NetworkSpec)
    except (OSError, msgspec.MsgspecError):
        return None
