"""The generators in server/assets: each beside its own card, small enough, and what their cards owe."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.data.licences import licence_of, may_be_shown
from server.sources import ASSETS
from server.synth.card import read_card
from server.synth.checkpoint import parts_of, read_checkpoint, size_bytes

MIB = 1 << 20
FOLDERS = sorted(path.parent for path in ASSETS.glob("*/generator.safetensors"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_card_is_of_the_generator_beside_it(folder: Path) -> None:
    checkpoint, card = folder / "generator.safetensors", read_card(folder / "generator-card.json")
    assert card is not None
    _, shape, digest = read_checkpoint(checkpoint)
    assert (card["checkpoint"]["digest"], card["checkpoint"]["bytes"]) == (digest, size_bytes(checkpoint))
    assert card["network"]["n_classes"] == shape.n_classes == len(card["data"]["class_names"])
    assert card["data"]["name"] == folder.name
    assert card["data"]["licence"] == licence_of(folder.name)
    assert card["hardware"]["trained_on"]
    worth = card["worth"]
    assert worth["generator"] == card["sampling"]["digest"]
    assert 0 <= worth["near_copies"] < (0.01 if folder.name == "fashion-mnist" else 1)
    assert worth["test_images"] >= 4000
    assert worth["seeds"] >= 3


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_is_small_and_holds_no_images_that_may_not_be_shown(folder: Path) -> None:
    parts = parts_of(folder / "generator.safetensors")
    assert sum(part.stat().st_size for part in parts) <= (8 if may_be_shown(folder.name) else 32) * MIB
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert all(path.stat().st_size <= 15 * MIB for path in files)
    if not may_be_shown(folder.name):
        pictures = {path.name for path in files if path.suffix == ".png"}
        assert pictures <= {"samples.png"}  # of the generator's own, as `describe_generator` draws it there


def test_all_of_them_leave_the_repository_small() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) < 120 * MIB
