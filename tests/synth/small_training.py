"""A training that takes a second, for tests that watch it from outside or inside."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.unet import UNetShape
from server.synth.train import TrainSettings

SHAPE = UNetShape(image_size=8, channels=1, n_classes=2, widths=(32, 32), layers=1)
SETTINGS = TrainSettings(steps=12, batch=4, warmup_steps=2, mirror=True, shift=1, bfloat16=False)
SETTINGS_OF_TWO = replace(SETTINGS, steps=3)
SETTINGS_OF_BFLOAT16 = replace(SETTINGS, bfloat16=True)
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "1"}


def images() -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(20) % 2
    return np.random.default_rng(0).integers(0, 255, (20, 8, 8, 1), dtype=np.uint8), labels
