"""From a data set to a generator that can ship: train, sample a pool, score it, write the card.

Everything lands in one folder - generator.safetensors, pool/, generator-card.json and .md, samples.png - and each step
that is done is not done again, so the same call goes on after an interruption.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.unet import UNetShape, build_unet
from server.data.dataset import Dataset, cut_public_private, images_digest
from server.errors import DataError
from server.learning.training import Recipe
from server.run_dir import versions
from server.synth.card import FORMAT, read_card, write_card
from server.synth.diffusion import Sampling, load_generator
from server.synth.mosaic import write_png
from server.synth.pool import Pool, SynthProgress, empty_pool, grow, load_pool
from server.synth.quality import class_accuracy, sample_grid
from server.synth.train import Progress, TrainSettings, train


@dataclass(frozen=True)
class GeneratorSettings:
    """How a generator is made. `public_fraction` and `split_seed` must be those of the runs that will use it."""

    public_fraction: float = 0.5
    split_seed: int = 0
    widths: tuple[int, ...] = (64, 96)
    layers: int = 1
    train: TrainSettings = field(default_factory=TrainSettings)


@dataclass(frozen=True)
class PoolSettings:
    """`per_class` samples of each class; pixels under `black_below` become 0 (see `Pool`)."""

    per_class: int = 1200
    black_below: int = 0
    base_seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)


def train_generator(
    dataset: Dataset,
    folder: Path,
    settings: GeneratorSettings,
    pool_settings: PoolSettings,
    *,
    on_training: Callable[[Progress], None] = lambda _: None,
    on_sampling: Callable[[SynthProgress], None] = lambda _: None,
) -> dict[str, Any]:
    """The whole of it, behind `fimi-server train-generator`; returns the card.

    Raises DataError where `folder` holds a generator of other data or settings, or the images do not fit the network.
    """
    shape = unet_shape(dataset, settings)
    cut = public_part(dataset, settings)
    x, y = dataset.x_train[cut], dataset.y_train[cut]
    facts = training_facts(dataset, settings)
    card_path, checkpoint = folder / "generator-card.json", folder / "generator.safetensors"
    card = read_card(card_path)
    if card is not None and (other := differences(card, facts)):
        raise DataError(
            f"{folder} holds a generator of other data or settings ({other[0]}): move it away or choose another folder"
        )
    if card is None:
        if checkpoint.exists():
            raise DataError(f"{checkpoint} has no card beside it, so what it was trained on is not known: move it away")
        write_card(card_path, facts)
    if not checkpoint.exists() or checkpoint.with_suffix(".state").exists():
        train(x, y, shape, settings.train, checkpoint, on_training)
    make_pool(checkpoint, folder / "pool", dataset, pool_settings, report=on_sampling)
    return describe_generator(dataset, folder, settings, pool_settings)


def make_pool(
    checkpoint: Path,
    folder: Path,
    dataset: Dataset,
    settings: PoolSettings,
    *,
    report: Callable[[SynthProgress], None] = lambda _: None,
) -> Pool:
    """Fill the pool at `folder` up to `per_class` samples of each class, behind `fimi-server synth-pool`."""
    generator = load_generator(checkpoint, settings.sampling)
    if (folder / "pool.json").exists():
        pool = load_pool(folder)
    else:
        pool = empty_pool(
            generator.digest,
            dataset.n_classes,
            dataset.image_shape,
            base_seed=settings.base_seed,
            black_below=settings.black_below,
        )
    if (pool.base_seed, pool.black_below) != (settings.base_seed, settings.black_below):
        raise DataError(f"{folder} holds a pool of other settings: move it away or choose another folder")
    if pool.generator != generator.digest:
        raise DataError(
            f"the pool at {folder} was made by another generator or with other sampling settings: move it away or "
            "choose another folder"
        )
    return grow(pool, generator, np.full(dataset.n_classes, settings.per_class), folder=folder, report=report)


def describe_generator(
    dataset: Dataset,
    folder: Path,
    settings: GeneratorSettings,
    pool_settings: PoolSettings,
    *,
    recipe: Recipe | None = None,
    network: str = "vgg9",
) -> dict[str, Any]:
    """Score the pool in `folder`, write card and samples.png; returns the card."""
    public = public_part(dataset, settings)
    pool = load_pool(folder / "pool")
    checkpoint = folder / "generator.safetensors"
    generator = load_generator(checkpoint, pool_settings.sampling)
    if generator.digest != pool.generator:
        raise DataError(f"the pool in {folder} was not made by {checkpoint.name} with these sampling settings")
    quality = class_accuracy(pool, dataset, public, recipe or Recipe(), network=network)
    write_png(folder / "samples.png", sample_grid(pool, dataset, public))
    card = {
        **training_facts(dataset, settings),
        "checkpoint": {"file": checkpoint.name, "bytes": checkpoint.stat().st_size, "sha256": sha256_of(checkpoint)},
        "sampling": {**asdict(pool_settings.sampling), "digest": generator.digest},
        "pool": {
            "samples": int(pool.counts.sum()),
            "by_class": pool.counts.tolist(),
            "base_seed": pool.base_seed,
            "black_below": pool.black_below,
            "bytes": sum(path.stat().st_size for path in (folder / "pool").iterdir()),
        },
        "quality": {**asdict(quality), "accuracy_by_class": list(quality.accuracy_by_class)},
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    write_card(folder / "generator-card.json", card)
    return card


def training_facts(dataset: Dataset, settings: GeneratorSettings) -> dict[str, Any]:
    """What is known before training: the parts data, network and training of the card."""
    shape = unet_shape(dataset, settings)
    public = public_part(dataset, settings)
    n_weights = sum(p.numel() for p in build_unet(shape).parameters())
    return {
        "format": FORMAT,
        "data": {
            "name": dataset.name,
            "images": len(public),
            "digest": images_digest(dataset.x_train[public], dataset.y_train[public]),
            "public_fraction": settings.public_fraction,
            "split_seed": settings.split_seed,
            "class_names": list(dataset.class_names),
        },
        "network": {**asdict(shape), "widths": list(shape.widths), "weights": n_weights},
        "training": asdict(settings.train),
    }


def differences(card: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """What a card says otherwise than `training_facts`, as "training.mirror is True there, False here"."""
    there, here = _flat(card), _flat(facts)
    return [
        f"{name} is {there.get(name)} there, {value} here" for name, value in here.items() if there.get(name) != value
    ]


def _flat(parts: dict[str, Any]) -> dict[str, Any]:
    """{"training": {"mirror": True}} -> {"training.mirror": True}."""
    flat: dict[str, Any] = {}
    for part, value in parts.items():
        flat |= {f"{part}.{key}": own for key, own in value.items()} if isinstance(value, dict) else {part: value}
    return flat


def public_part(dataset: Dataset, settings: GeneratorSettings) -> np.ndarray:
    """Indices of the training images that belong to the server."""
    return cut_public_private(
        dataset.y_train,
        public_fraction=settings.public_fraction,
        seed=settings.split_seed,
        groups=dataset.groups_train,
    ).public


def unet_shape(dataset: Dataset, settings: GeneratorSettings) -> UNetShape:
    """The U-Net for this data set's images; raises DataError where they do not fit one."""
    height, width, channels = dataset.image_shape
    if height != width:
        raise DataError(f"the generator needs square images, these are {width}x{height}: set data.image_size")
    try:
        return UNetShape(height, channels, dataset.n_classes, settings.widths, settings.layers)
    except ValueError as error:
        raise DataError(f"the generator cannot be built for {width}x{height}: {error}; set data.image_size") from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
