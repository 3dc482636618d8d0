"""From a public part to a generator that can ship: train, sample a pool, score it, write the card.

Everything lands in one folder - generator.safetensors, pool/, generator-card.json and .md, samples.png - and each step
that is done is not done again, so the same call goes on after an interruption.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.unet import UNetShape, build_unet
from server.data.dataset import Dataset, images_digest
from server.data.licences import licence_of, may_be_shown
from server.errors import DataError
from server.learning.training import Recipe
from server.run_dir import versions
from server.synth.card import FORMAT, read_card, write_card
from server.synth.checkpoint import size_bytes, state_path
from server.synth.filling import Maker, Stock, SynthProgress, fill, made_here
from server.synth.generator import Generator
from server.synth.hardware import Hardware, accelerator_on
from server.synth.mosaic import write_png
from server.synth.pool import read_pool
from server.synth.public import PublicPart, public_indices
from server.synth.quality import class_accuracy, sample_grid
from server.synth.sampler import load_generator
from server.synth.selection import selected
from server.synth.settings import Sampling
from server.synth.snapshots import write_snapshot
from server.synth.store import BLOCK, Kind, Store
from server.synth.train import Progress, TrainSettings, check_batch, steps_in, train


@dataclass(frozen=True)
class GeneratorSettings:
    """How a generator is made: its network's widths and residual blocks a level, the pixels a side that it folds into
    channels, and its training."""

    widths: tuple[int, ...] = (64, 96)
    layers: int = 1
    patch: int = 2
    train: TrainSettings = field(default_factory=TrainSettings)


@dataclass(frozen=True)
class PoolSettings:
    """`per_class` samples of each class, rounded up to whole blocks; `select` as `selected`; others: `store.Kind`."""

    per_class: int = 1200
    black_below: int = 0
    base_seed: int = 0
    block: int = BLOCK
    select: float = 0.0
    sampling: Sampling = field(default_factory=Sampling)


def train_generator(
    part: PublicPart,
    folder: Path,
    settings: GeneratorSettings,
    *,
    report: Callable[[Progress], None] = lambda _: None,
    hardware: Hardware | None = None,
) -> dict[str, Any]:
    """Train on the public part, behind `fimi-server train-generator`; returns the card as far as it is known.

    Raises DataError where `folder` holds a generator of other data or settings, or the images do not fit the network.
    """
    shape = unet_shape(part, settings)
    facts = training_facts(part, settings)
    card_path, checkpoint = folder / "generator-card.json", folder / "generator.safetensors"
    card = read_card(card_path)
    if card is not None and (other := differences(card, facts)):
        raise DataError(
            f"{folder} holds a generator of other data or settings ({other[0]}): move it away or choose another folder"
        )
    if card is None and checkpoint.exists():
        raise DataError(f"{checkpoint} has no card beside it, so what it was trained on is not known: move it away")
    hardware = hardware or Hardware.here()
    accelerator = accelerator_on(hardware, bfloat16=settings.train.bfloat16)
    check_batch(settings.train.batch, accelerator.num_processes)
    if card is None and accelerator.is_main_process:
        write_card(card_path, {**facts, "hardware": {"trained_on": hardware.describe()}})
    if not checkpoint.exists() or state_path(checkpoint).exists():
        snapshots = write_snapshot(folder / "training.png", shape)
        train(part.images, part.labels, shape, settings.train, checkpoint, report, hardware=hardware, show=snapshots)
    return read_card(card_path) or facts


def steps_for(minutes: float, part: PublicPart, folder: Path, settings: GeneratorSettings, hardware: Hardware) -> int:
    """How many steps fit into so many minutes: those that the card in `folder` names, else by timing some."""
    card = read_card(folder / "generator-card.json")
    if card is not None:
        return int(card["training"]["steps"])
    return steps_in(minutes, part.images, part.labels, unet_shape(part, settings), settings.train, hardware)


def bfloat16_for(folder: Path, hardware: Hardware) -> bool:
    """Whether a training is in bfloat16: as it was begun, by the card in `folder`, else as the hardware has it."""
    card = read_card(folder / "generator-card.json")
    return hardware.trains_in_bfloat16 if card is None else bool(card["training"]["bfloat16"])


def pool_kind(digest: str, dataset: Dataset, settings: PoolSettings) -> Kind:
    """What the samples of such a pool are."""
    return Kind(
        generator=digest,
        n_classes=dataset.n_classes,
        image_shape=dataset.image_shape,
        base_seed=settings.base_seed,
        black_below=settings.black_below,
        block=settings.block,
    )


def fill_pool(
    generator: Generator,
    folder: Path,
    dataset: Dataset,
    settings: PoolSettings,
    *,
    report: Callable[[SynthProgress], None] = lambda _: None,
    make: Maker | None = None,
) -> Kind:
    """Fill the store at `folder` up to `per_class` samples of each class, behind `fimi-server synth-pool`; `make`: who
    makes them, if not this process. Samples of other generators and settings that are there stay."""
    kind = pool_kind(generator.digest, dataset, settings)
    wanted = np.full(kind.n_classes, settings.per_class)
    fill(Stock(kind, Store(folder)), wanted, make or made_here(lambda: generator), report=report)
    return kind


def describe_generator(
    dataset: Dataset,
    folder: Path,
    pool_settings: PoolSettings,
    *,
    recipe: Recipe | None = None,
    network: str = "vgg9",
) -> dict[str, Any]:
    """Score the pool in `folder`, write card and samples.png; returns the card."""
    card_path, checkpoint = folder / "generator-card.json", folder / "generator.safetensors"
    facts, public = trained_on(checkpoint, dataset)
    inner = load_generator(checkpoint, pool_settings.sampling)
    generator = selected(inner, folder, pool_settings.select, black_below=pool_settings.black_below)
    store, kind = Store(folder / "pool"), pool_kind(generator.digest, dataset, pool_settings)
    if kind not in store.kinds():
        raise DataError(f"the pool in {folder} was not made by {checkpoint.name} with these sampling settings")
    pool = read_pool(store, kind)
    quality = class_accuracy(pool, dataset, public, recipe or Recipe(), network=network)
    shown = public if may_be_shown(dataset.name) else public[:0]
    write_png(folder / "samples.png", sample_grid(pool, dataset, shown))
    card: dict[str, Any] = {
        **{
            name: own
            for name, own in facts.items()
            if name in ("format", "data", "network", "training", "hardware", "selection")
            or (name == "worth" and own["generator"] == generator.digest)
        },
        "checkpoint": {"file": checkpoint.name, "bytes": size_bytes(checkpoint), "digest": inner.weights_digest},
        "sampling": {**asdict(pool_settings.sampling), "digest": generator.digest},
        "pool": {
            "samples": int(pool.counts.sum()),
            "by_class": pool.counts.tolist(),
            "base_seed": pool.base_seed,
            "black_below": pool.black_below,
            "block": kind.block,
            "select": pool_settings.select,
            "bytes": sum(path.stat().st_size for path in (store.root / kind.folder).glob("class-*/*.png")),
        },
        "quality": {**asdict(quality), "accuracy_by_class": list(quality.accuracy_by_class)},
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    write_card(card_path, card)
    return card


def trained_on(checkpoint: Path, dataset: Dataset) -> tuple[dict[str, Any], np.ndarray]:
    """The card of a checkpoint, and the public part of `dataset`, indices (P,), that it was trained on.

    Raises DataError where that is another one, or not known.
    """
    card_path = checkpoint.with_name("generator-card.json")
    facts = read_card(card_path)
    if facts is None:
        raise DataError(f"{card_path} is missing: what the generator was trained on is not known")
    data = facts["data"]
    public = public_indices(dataset, data["public_fraction"], data["split_seed"])
    if images_digest(dataset.x_train[public], dataset.y_train[public]) != data["digest"]:
        raise DataError(
            f"{checkpoint} was trained on {data['name']}, not on the public part of this {dataset.name}: give the data "
            "set that it was trained on"
        )
    return facts, public


def training_facts(part: PublicPart, settings: GeneratorSettings) -> dict[str, Any]:
    """What is known before training: the parts data, network and training of the card."""
    shape = unet_shape(part, settings)
    n_weights = sum(p.numel() for p in build_unet(shape).parameters())
    return {
        "format": FORMAT,
        "data": {**part.facts, "licence": licence_of(part.name)},
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


def unet_shape(part: PublicPart, settings: GeneratorSettings) -> UNetShape:
    """The U-Net for these images; raises DataError where they do not fit one."""
    height, width, channels = part.images.shape[1:]
    if height != width:
        raise DataError(f"the generator needs square images, these are {width}x{height}: set data.image_size")
    try:
        return UNetShape(height, channels, len(part.class_names), settings.widths, settings.layers, settings.patch)
    except ValueError as error:
        raise DataError(
            f"the generator cannot be built for {width}x{height}: {error}; set data.image_size or --widths"
        ) from error
