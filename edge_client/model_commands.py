"""`fimi-client evaluate` and `fimi-client export`: what a board can do with the model that it was last sent."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_client.config import ClientConfig
from edge_client.errors import DataError, SetupError
from edge_client.options import Own
from edge_client.protocol import graphs, weights
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.graphs import Bundle
from edge_client.protocol.messages import NetworkSpec
from edge_client.runtimes import HERE, Wanted
from edge_client.training import data, frames
from edge_client.training.evaluation import evaluate
from edge_client.training.freezing import SUFFIX, frozen
from edge_client.training.graph_trainer import GraphTrainer
from edge_client.training.making import make_engine, make_trainer
from edge_client.training.model_file import held_network
from edge_client.training.trainer import Trainer

_FIRST = "the first task of a run brings it"


@dataclass(frozen=True)
class Held:
    """A model, and its graphs; None: PyTorch is what works here, with the network that the model was sent for."""

    weights: Mapping[str, np.ndarray]
    network: NetworkSpec
    bundle: Bundle | None


def evaluate_model(config: ClientConfig, own: Own) -> int:
    """The command: prints a sentence."""
    if not config.data:
        raise SetupError("data is missing; give --data or `data` in client.toml")
    print(evaluation_of(_held(config, own), Path(config.data), config.n_threads))
    return 0


def export_model(config: ClientConfig, own: Own) -> int:
    """The command: writes a file, prints a sentence."""
    assert own["out"]  # the parser asks for it
    print(export(_held(config, own), Path(own["out"])))
    return 0


def _held(config: ClientConfig, own: Own) -> Held:
    model, bundle = (Path(path) if (path := own[name]) else None for name in ("model", "graphs"))
    return find(config.state_path, model, bundle, config.runtime)


def evaluation_of(held: Held, data_path: Path, threads: int) -> str:
    """A sentence: how good the model is on this device's samples."""
    samples, network = data.load(data_path), held.network
    if samples.image_shape != tuple(network.image_shape) or samples.n_classes != network.n_classes:
        raise DataError(
            f"{data_path} has images {samples.image_shape} of {samples.n_classes} classes, the model is for "
            f"{tuple(network.image_shape)} and {network.n_classes}"
        )
    trainer: Trainer
    if held.bundle is None:
        trainer = make_trainer(frames.Begin(network=network, runtime="torch", threads=threads, data=str(data_path)))
    else:
        with _readable():
            trainer = GraphTrainer(held.bundle, network, make_engine(held.bundle, threads))
    trainer.load(held.weights)
    seen = evaluate(trainer, samples.images, samples.labels)
    by = "torch" if held.bundle is None else held.bundle.runtime
    return f"{network.name} by {by}: accuracy {seen.accuracy:.4f}, loss {seen.loss:.4f} on {seen.samples} samples"


def export(held: Held, out: Path) -> str:
    """Write the model in the runtime's own form; a sentence on what it takes and gives."""
    if held.bundle is None:
        raise SetupError(
            "PyTorch trains here, and no graphs of this model are kept; give some made by: fimi-server export-step "
            f"--model {held.network.name} --runtime onnx --out DIR, and then --graphs DIR/{held.network.name}-onnx.fimi"
        )
    suffix = SUFFIX.get(held.bundle.runtime)
    if suffix is not None and out.suffix != suffix:
        raise SetupError(f"--out {out}: a model for {held.bundle.runtime} ends with {suffix}")
    with _readable():
        model = frozen(held.bundle, held.weights)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(model)
    except OSError as error:
        raise SetupError(f"--out {out}: {error.strerror}; give a file in a folder to write to") from error
    network, batch = held.network, held.bundle.batch
    n = "N" if batch is None else str(batch)
    height, width, channels = network.image_shape
    return (
        f"{out}: {len(model) / 1e6:.1f} MB; images ({n}, {height}, {width}, {channels}) uint8 -> "
        f"logits ({n}, {network.n_classes}) float32"
    )


def find(state: Path, model: Path | None, bundle: Path | None, runtime: Wanted) -> Held:
    """The model, given or last sent, and graphs for a runtime that works here, given or the newest that fit it."""
    path = model or state / "model.safetensors"
    try:
        own = weights.unpack(path.read_bytes())  # whole: a client at work may have another one in its place any moment
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}; {_FIRST}, or give --model FILE.safetensors") from error
    except ProtocolError as error:
        raise SetupError(f"{path}: {error}; give --model FILE.safetensors") from error
    if bundle is not None:
        found = _fitting(bundle, own)
        return Held(own, found.network, found)
    working = HERE.choice(runtime)
    for file in sorted((state / "graphs").glob("*.fimi"), key=lambda file: file.stat().st_mtime, reverse=True):
        try:
            found = _fitting(file, own)
        except SetupError:
            continue  # of another run, or damaged: the client will ask for it again
        if found.runtime in working:
            return Held(own, found.network, found)
    if "torch" in working and (network := held_network(path)) is not None:
        return Held(own, network, None)
    raise SetupError(
        f"{state / 'graphs'} holds no graphs of this model for {' or '.join(working)}; {_FIRST}, or give "
        "--graphs FILE.fimi, made by: fimi-server export-step"
    )


def _fitting(path: Path, own: Mapping[str, np.ndarray]) -> Bundle:
    """Graphs that take these weights; raises SetupError."""
    try:
        bundle = graphs.unpack(path.read_bytes())
        graphs.check_weights({layout.name: layout for layout in bundle.weights}, own)
    except OSError as error:
        raise SetupError(f"--graphs {path}: {error.strerror}") from error
    except ProtocolError as error:
        raise SetupError(f"--graphs {path}: {error}") from error
    return bundle


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Graphs that are broken inside, as a sentence."""
    try:
        yield
    except (ProtocolError, struct.error, ValueError, IndexError) as error:
        raise SetupError(f"the graphs are damaged: {error}; have them made anew by: fimi-server export-step") from error
