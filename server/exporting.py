"""The command that turns a network's training into graphs for boards: fimi-server export-step."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from server.errors import ConfigError
from server.given import FROM_1, check_values


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """export-step."""
    step = commands.add_parser("export-step", help="turn a network's training into graphs that boards train with")
    step.add_argument("--model", required=True, metavar="NAME", help="network: vgg9, tiny or small")
    step.add_argument("--runtime", required=True, choices=("onnx", "tflite", "numpy"))
    step.add_argument("--image-shape", default="32,32,3", metavar="H,W,C", help="of the images (default: 32,32,3)")
    step.add_argument("--classes", type=int, default=10, help="default: 10")
    step.add_argument("--batch", type=int, help="of TFLite's graphs, which take one size alone (default: 32)")
    step.add_argument("--no-clip", action="store_true", help="without a bound on the gradient's norm")
    step.add_argument("--weight-decay", action="store_true", help="with weight decay")
    step.add_argument("--prox", action="store_true", help="with FedProx's pull towards the global model")
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the bundle and its parts")
    step.set_defaults(function=export_step_command)


def export_step_command(arguments: argparse.Namespace) -> None:
    """fimi-server export-step"""
    check_values(arguments, {"classes": (lambda n: n >= 2, "two or more"), "batch": FROM_1})
    from edge_client.protocol import graphs
    from edge_client.protocol.messages import NetworkSpec
    from server.export.bundle import make_bundle
    from server.export.step import Options
    from server.files import write_atomic
    from server.given import numbers

    shape = numbers(arguments.image_shape, "--image-shape")
    if len(shape) != 3 or min(shape) < 1:
        raise ConfigError(f"--image-shape: {arguments.image_shape!r}; three numbers, height, width and channels")
    if arguments.batch is not None and arguments.runtime != "tflite":
        raise ConfigError(f"--batch: graphs for {arguments.runtime} take batches of any size; leave it out")
    batch = (arguments.batch or 32) if arguments.runtime == "tflite" else None
    network = NetworkSpec(name=arguments.model, image_shape=(shape[0], shape[1], shape[2]), n_classes=arguments.classes)
    options = Options(clip=not arguments.no_clip, weight_decay=arguments.weight_decay, prox=arguments.prox)
    bundle = make_bundle(network, cast("graphs.Runtime", arguments.runtime), options, batch=batch)
    blob = graphs.pack(bundle)
    name = f"{arguments.model}-{arguments.runtime}"
    try:
        write_atomic(arguments.out / f"{name}.fimi", blob)
        for part, own in bundle.parts.items():
            write_atomic(arguments.out / f"{name}-{part}.{arguments.runtime}", own)
    except OSError as error:
        raise ConfigError(f"--out {arguments.out}: {error.strerror}; give a folder to write to") from error
    sizes = ", ".join(f"{part} {len(own) / 1e3:.0f} kB" for part, own in bundle.parts.items())
    print(f"{arguments.out / name}.fimi: {len(blob) / 1e3:.0f} kB, {graphs.digest(blob)[:16]} ({sizes})")
