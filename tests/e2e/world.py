"""A small world for end-to-end tests: images of four classes, a pool, a learning curve, a run file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.synth.stores import write_pool

SIDE = 12
N_CLASSES = 4
BOARDS = {"nano-1": "jetson-nano", "pi4-1": "raspberry-pi-4b", "pi5-1": "raspberry-pi-5"}


def images(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise with one bright quarter: (N, 12, 12, 1) uint8 that a tiny network learns in seconds."""
    x = rng.integers(0, 160, (len(labels), SIDE, SIDE, 1))
    half = SIDE // 2
    for label in range(N_CLASSES):
        row, column = divmod(label, 2)
        x[labels == label, row * half : (row + 1) * half, column * half : (column + 1) * half] += 60
    return x.astype(np.uint8)


def write_world(folder: Path, *, rounds: int, strategies: list[str], local_samples: int, local_epochs: int = 1) -> Path:
    """Everything a run of three boards needs; returns the run file."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    y_train = rng.integers(0, N_CLASSES, 8 * local_samples).astype(np.int64)
    y_test = rng.integers(0, N_CLASSES, 400).astype(np.int64)
    np.savez(
        folder / "images.npz",
        x_train=images(y_train, rng),
        y_train=y_train,
        x_test=images(y_test, rng),
        y_test=y_test,
    )
    per_class = 2 * local_samples
    write_pool(folder / "pool", [images(np.full(per_class, label), rng) for label in range(N_CLASSES)])
    (folder / "learning.json").write_text(json.dumps({"alpha": 2.0, "beta": 0.3, "gamma": 0.02, "eta": 0.8}))
    run = folder / "run.toml"
    boards = "".join(
        f'\n[[boards]]\nid = "{id_}"\nprofile = "{profile}"\nstorage_samples = {2 * local_samples}\n'
        for id_, profile in BOARDS.items()
    )
    run.write_text(
        f"""name = "small"
strategy = {json.dumps(strategies)}

[data]
source = "images.npz"
local_samples = {local_samples}
test_samples_per_round = 200

[network]
name = "tiny"

[training]
rounds = {rounds}
local_epochs = {local_epochs}
batch_size = 32
learning_rate = 0.05

[plan]
learning = "learning.json"

[synth]
pool = "pool"

[profile]
window_s = 1.0
settle_s = 0.3
{boards}"""
    )
    return run
