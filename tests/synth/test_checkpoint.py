"""Weights on disk: in parts, named by what they hold, and refused where one is missing or broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models.unet import UNetShape, build_unet
from server.config import SynthConfig
from server.errors import ConfigError, DataError
from server.synth import checkpoint, opening
from server.synth.checkpoint import part_path, read_checkpoint, size_bytes, write_checkpoint
from server.synth.sampler import load_generator
from server.synth.settings import Sampling

SHAPE = UNetShape(image_size=8, channels=1, n_classes=2, widths=(32, 32), layers=1)


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: own.half().float() for name, own in build_unet(SHAPE).state_dict().items()}


@pytest.mark.parametrize("part_bytes", [1 << 30, 100_000])
def test_weights_come_back_from_one_file_or_several(
    weights: dict[str, torch.Tensor], part_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PART_BYTES", part_bytes)
    path = tmp_path / "generator.safetensors"
    digest = write_checkpoint(path, weights, SHAPE)
    files = sorted(tmp_path.iterdir())
    assert (len(files) == 1) == (part_bytes == 1 << 30)
    assert all(file.stat().st_size < part_bytes + 50_000 for file in files)  # no weight here has more than 50 kB
    assert size_bytes(path) == sum(file.stat().st_size for file in files)
    back, shape, read_digest = read_checkpoint(path)
    assert (shape, read_digest) == (SHAPE, digest)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)
    assert write_checkpoint(path, weights, SHAPE) == digest  # equal weights, equal bytes
    name = next(iter(weights))
    assert write_checkpoint(path, weights | {name: weights[name] + 1}, SHAPE) != digest


def test_a_part_that_is_missing_or_broken_is_named(
    weights: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PART_BYTES", 100_000)
    path = tmp_path / "generator.safetensors"
    with pytest.raises(DataError, match="no generator at .* train one with"):
        read_checkpoint(path)
    write_checkpoint(path, weights, SHAPE)
    part_path(path, 2).write_bytes(b"cut")
    with pytest.raises(DataError, match="generator.2.safetensors is not a safetensors file"):
        read_checkpoint(path)
    part_path(path, 2).unlink()
    with pytest.raises(DataError, match=r"generator.2.safetensors is missing: generator.safetensors is the first of"):
        read_checkpoint(path)
    monkeypatch.setattr(checkpoint, "FORMAT", "fimi-diffusion-9")
    with pytest.raises(DataError, match="is not a generator of this format: 'fimi-diffusion-2'"):
        read_checkpoint(path)


def test_parts_of_two_trainings_do_not_mix(
    weights: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PART_BYTES", 100_000)
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    write_checkpoint(one, weights, SHAPE)
    write_checkpoint(other, {name: own + 1 for name, own in weights.items()}, SHAPE)
    part_path(one, 2).write_bytes(part_path(other, 2).read_bytes())
    with pytest.raises(DataError, match=r"one\.2\.safetensors belongs to another generator than one\.safetensors"):
        read_checkpoint(one)


def test_a_network_that_is_not_the_weights_is_named(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    write_checkpoint(path, weights, replace(SHAPE, widths=(32, 48)))
    with pytest.raises(DataError, match="holds other weights than its network has"):
        load_generator(path, Sampling())
    half = {own: tensor.half() for own, tensor in weights.items()}
    for shape, words in (({"widths": [33]}, "widths .33,. are not multiples"), ({}, "widths")):
        about = {"format": checkpoint.FORMAT, "shape": shape | {"image_size": 8, "channels": 1, "n_classes": 2}}
        save_file(half, path, metadata={"fimi": json.dumps(about)})
        with pytest.raises(DataError, match=f"says nothing of its network that this version understands: .*{words}"):
            read_checkpoint(path)
    save_file(half, path, metadata={"fimi": "{"})
    with pytest.raises(DataError, match="is not a generator: "):
        read_checkpoint(path)


def test_weights_that_are_not_finite_are_not_written(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    name, path = sorted(weights)[3], tmp_path / "g.safetensors"
    write_checkpoint(path, weights, SHAPE)
    before = path.read_bytes()
    for factor in (float("nan"), 1e9):  # the largest of half precision is 65504
        with pytest.raises(DataError, match=f"{name} has weights that half precision does not hold; .* left as it was"):
            write_checkpoint(path, weights | {name: (weights[name] + 1.0) * factor}, SHAPE)
    assert path.read_bytes() == before


def test_weights_that_are_not_finite_are_named(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    name, path = sorted(weights)[3], tmp_path / "g.safetensors"
    write_checkpoint(path, weights, SHAPE)
    half = {own: tensor.half() for own, tensor in weights.items()}
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(half | {name: half[name] * float("nan")}, path, metadata=metadata)
    with pytest.raises(DataError, match=f"{name} holds numbers that are not finite"):
        read_checkpoint(path)


def test_settings_of_pipelines_are_not_for_checkpoints() -> None:
    for name, value in (("template", "{class}"), ("prompts", {"a": "b"}), ("labels", {"a": 1})):
        with pytest.raises(ConfigError, match=rf"synth\.{name}: is for pipelines, and the generator is a checkpoint"):
            opening.own_sampling(SynthConfig(**{name: value}))
    assert opening.own_sampling(SynthConfig()) == Sampling(20, 1.25, "dpm++")
    assert opening.own_sampling(SynthConfig(steps=50, solver="ddim")) == Sampling(50, 1.25, "ddim")
    with pytest.raises(ConfigError, match=r"synth\.steps: is 101; at most 100 for a checkpoint"):
        opening.own_sampling(SynthConfig(steps=101))
    with pytest.raises(ConfigError, match=r"synth\.guidance: is 0\.5; at least 1 for a checkpoint"):
        opening.own_sampling(SynthConfig(guidance=0.5))
