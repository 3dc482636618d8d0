"""Networks that are trained once and kept: the file says on what and how, and is used for nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from edge_client.protocol.messages import NetworkSpec
from server.errors import DataError
from server.files import write_atomic
from server.learning.training import Recipe, Weights, train_network


def write_kept(path: Path, weights: Weights, facts: Mapping[str, Any]) -> None:
    """Write weights with `facts` (JSON values) beside them; equal content gives equal bytes."""
    # one entry: safetensors writes several in an order of chance
    write_atomic(path, save(dict(sorted(weights.items())), metadata={"fimi": json.dumps(facts, sort_keys=True)}))


def read_kept(path: Path) -> tuple[Weights, dict[str, Any]] | None:
    """What `write_kept` wrote, as float32; None where there is no file, DataError where it is another kind of one."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="np") as file:
            facts = json.loads((file.metadata() or {})["fimi"])
            weights = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise DataError(f"{path} is no file of networks of ours: {error}; remove it to train anew") from error
    if odd := [name for name, own in weights.items() if not np.isfinite(own).all()]:
        raise DataError(f"{path}: {odd[0]} holds numbers that are not finite; remove it to train anew")
    return weights, facts


def trained_once(
    path: Path,
    network: NetworkSpec,
    images: np.ndarray,
    labels: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    facts: Mapping[str, Any],
) -> Weights:
    """The network at `path` if it is of these `facts`, else trained and written there.

    On one thread: on networks as small as these a second one waits more than it helps.
    """
    held = read_kept(path)
    if held is not None and held[1] == json.loads(json.dumps(facts)):
        return held[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        weights = train_network(network, images, labels, recipe, seed=seed)
    finally:
        torch.set_num_threads(threads)
    write_kept(path, weights, facts)
    return weights
