"""Makes the trainer that a worker was told to begin with: the one place where runtimes are imported."""

from __future__ import annotations

import os
from pathlib import Path

from edge_client.errors import MissingExtraError, TrainingError
from edge_client.protocol import graphs
from edge_client.protocol.graphs import Bundle
from edge_client.training import frames
from edge_client.training.engines import Engine, NumpyEngine
from edge_client.training.graph_trainer import GraphTrainer
from edge_client.training.numpy_trainer import NETWORKS, NumpyTrainer
from edge_client.training.trainer import Trainer


def bind(cpus: tuple[int, ...] | None) -> None:
    """Stay on these CPUs, with every thread that is started from now on; None: nothing changes."""
    if cpus is None:
        return
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        raise TrainingError(
            f"cpus {','.join(map(str, cpus))}: {error.strerror}; "
            f"this process may use {','.join(map(str, sorted(os.sched_getaffinity(0))))}"
        ) from error


def make_trainer(frame: frames.Begin) -> Trainer:
    """The runtime by its name.

    Raises TrainingError for graphs that do not fit, MissingExtraError for a runtime that cannot be imported.
    """
    if frame.runtime == "torch":
        return _torch(frame)
    if frame.runtime == "numpy" and frame.network.name in NETWORKS:
        return NumpyTrainer(frame.network)
    if frame.runtime not in graphs.RUNTIMES:
        raise TrainingError(f"no training runtime {frame.runtime!r}; known: torch, {', '.join(graphs.RUNTIMES)}")
    if frame.graphs is None:
        raise TrainingError(f"runtime {frame.runtime} trains by graphs, and there are none of {frame.network.name}")
    bundle = _read(Path(frame.graphs))
    if bundle.runtime != frame.runtime:
        raise TrainingError(f"the graphs in {frame.graphs} are for runtime {bundle.runtime}, not {frame.runtime}")
    return GraphTrainer(bundle, frame.network, make_engine(bundle, frame.threads))


def make_engine(bundle: Bundle, threads: int) -> Engine:
    """What does a bundle's graphs; raises MissingExtraError where its runtime cannot be imported or used."""
    if bundle.runtime == "numpy":
        return NumpyEngine(bundle)
    try:
        if bundle.runtime == "onnx":
            from edge_client.training.onnx_engine import OnnxEngine

            return OnnxEngine(bundle, threads)
        from edge_client.training.tflite_engine import TfliteEngine

        return TfliteEngine(bundle, threads)
    except ImportError as error:
        raise MissingExtraError(
            f"runtime {bundle.runtime} cannot be imported ({error}); "
            f"install it with: pip install 'fimi[{bundle.runtime}]'"
        ) from error


def _torch(frame: frames.Begin) -> Trainer:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            f"runtime torch cannot be imported ({error}); install it with: pip install 'fimi[torch]'"
        ) from error
    from edge_client.training.torch_trainer import TorchTrainer, has_bfloat16

    if frame.bfloat16 and not has_bfloat16():
        raise TrainingError("this processor has no instructions for bfloat16, emulated it is slower: leave it out")
    torch.set_num_threads(frame.threads)
    return TorchTrainer(frame.network, bfloat16=frame.bfloat16)


def _read(path: Path) -> Bundle:
    try:
        return graphs.unpack(path.read_bytes())
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}; it should hold the graphs of this training") from error
