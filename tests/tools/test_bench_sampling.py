from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.unet import UNetShape, build_unet
from server.synth.diffusion import save_checkpoint
from server.synth.hardware import Hardware
from tools.bench_sampling import STOCK, Found, Way, table, ways_of


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers, numpy 2
def test_with_its_settings_ours_draws_what_the_stock_pipeline_draws(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = UNetShape(image_size=8, channels=1, n_classes=2, widths=(32, 32), layers=1)
    save_checkpoint(tmp_path / "g.safetensors", build_unet(shape), shape)
    hardware = Hardware("cpu", channels_last=False, compile=False)
    ways = {way.name: way.draw for way in ways_of(tmp_path / "g.safetensors", 1.5, hardware)}
    classes, seeds = np.array([0, 1, 1]), np.array([5, 6, 7])
    stock = ways[STOCK](classes, seeds)
    ours = ways["50 steps of ddim, guidance 1.5, float32"](classes, seeds)
    assert len(np.unique(stock)) > 20
    assert np.abs(stock.astype(int) - ours).max() <= 1


def test_a_row_has_its_pace_and_what_half_precision_moves() -> None:
    black = np.zeros((2, 5, 5, 3), np.uint8)
    moved = black.copy()
    moved[0, 0, 0], moved[0, 0, 1] = (3, 0, 3), 2  # of 50 pixels one is further than 2 levels away
    ways = [Way(STOCK, no_draw, STOCK), Way("exact", no_draw, "exact"), Way("half", no_draw, "exact")]
    found = {STOCK: Found(8.0, black), "exact": Found(4.0, black + 9), "half": Found(2.0, moved + 9)}
    assert table(ways, found)[2:] == [
        "| stock pipeline | 0.2 | 1.00 | 0.000% |",
        "| exact | 0.5 | 2.00 | 0.000% |",
        "| half | 1.0 | 4.00 | 2.000% |",
    ]


def no_draw(*_: object) -> np.ndarray:
    raise AssertionError("it is all there")
