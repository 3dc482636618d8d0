"""What an install with an extra must do: run by `make ci-full` with the Python of an environment of its own.

    python - EXTRA [GRAPHS] < tests/extra_install.py

Like base_install.py no test for pytest. `base` is the wheel alone. GRAPHS: of the network `tiny`, for runtimes
that train by graphs (`fimi-server export-step`).
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(sys.executable).parent
_TFLITE = ("tflite_runtime.interpreter",) if sys.version_info < (3, 12) else ("ai_edge_litert.interpreter",)
_SERVER = (
    "torch", "diffusers", "accelerate", "cvxpy", "clarabel", "scipy", "PIL", "matplotlib", "rich", "onnx",
    "flatbuffers", "ai_edge_litert.interpreter", "transformers", "ray",
)  # fmt: skip

MODULES: dict[str, tuple[str, ...]] = {
    "base": ("numpy", "psutil", "paho.mqtt.client", "aiomqtt", "msgspec", "safetensors.numpy"),
    "torch": ("torch",),
    "onnx": ("onnxruntime",),
    "tflite": _TFLITE,
    "litert": ("ai_edge_litert.interpreter",),
    "jetson": ("jtop",),
    "server": _SERVER,
}
"""What the extra is there for, by its name."""

RUNTIMES = {"base": "numpy", "torch": "torch", "onnx": "onnx", "tflite": "tflite", "litert": "tflite"}
"""The training runtime that it brings, as client.toml calls it."""

SHAPE, CLASSES = (12, 12, 1), 4
"""Of the graphs."""


def check(what: str, passed: bool, seen: str = "") -> None:
    """One line a check; the first that fails ends the script."""
    print(f"{'ok' if passed else 'FAILED'}: {what}", flush=True)
    if not passed:
        sys.exit(seen or 1)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A console command of the wheel, its output kept."""
    return subprocess.run([SCRIPTS / command[0], *command[1:]], capture_output=True, text=True, timeout=300)


def imports(names: tuple[str, ...]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            check(f"import {name}", False, f"{type(error).__name__}: {error}")
        check(f"import {name}", True)


def doctor_finds(runtime: str) -> None:
    said = run("fimi-client", "doctor", "--json")
    check("fimi-client doctor", said.returncode == 0, said.stderr)
    found = {one["name"]: one for one in json.loads(said.stdout)["checks"]}.get(f"runtime {runtime}")
    good = found is not None and found["status"] == "ok"
    check(f"the doctor finds the runtime {runtime}", good, str(found))


def trains(runtime: str, graphs: str | None) -> None:
    """Ten steps on one batch: the loss must fall."""
    import numpy as np

    from edge_client.protocol.messages import NetworkSpec
    from edge_client.training.frames import Begin
    from edge_client.training.making import make_trainer
    from edge_client.training.trainer import Hyper

    network = NetworkSpec(name="tiny", image_shape=SHAPE, n_classes=CLASSES)
    trainer = make_trainer(Begin(network=network, runtime=runtime, threads=1, data="", graphs=graphs))
    labels = np.arange(8) % CLASSES
    images = np.random.default_rng(0).integers(0, 160, (8, *SHAPE)).astype(np.uint8)
    images += (24 * labels).astype(np.uint8)[:, None, None, None]
    hyper = Hyper(learning_rate=0.05, momentum=0.9, weight_decay=0.0, clip_norm=None)
    losses = [trainer.train_batch(images, labels, hyper) for _ in range(10)]
    check(f"the runtime {runtime} trains: loss {losses[0]:.3f} to {losses[-1]:.3f}", losses[-1] < 0.95 * losses[0])


def server_answers() -> None:
    """It gets as far as the run file, so nothing that it needs is missing."""
    said = run("fimi-server", "run", "none.toml")
    check("fimi-server misses its run file only", said.returncode == 2 and "none.toml" in said.stderr, said.stderr)


def main(extra: str, graphs: str | None = None) -> None:
    version = run("fimi-client", "--version")
    check("fimi-client --version", version.returncode == 0, version.stderr)
    imports(MODULES[extra])
    if extra in RUNTIMES:
        doctor_finds(RUNTIMES[extra])
        trains(RUNTIMES[extra], graphs)
    if extra == "server":
        server_answers()


if __name__ == "__main__":
    main(*sys.argv[1:])
