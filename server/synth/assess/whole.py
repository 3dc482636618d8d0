"""An assessment from end to end: samples, trainings, likeness, what is best. Each part goes on where it ended.

Everything measured is kept under the digests of what it was measured on (samples, public and test images, recipe), so
that a changed generator, pool or data set finds nothing of the old one's.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_client.protocol.messages import NetworkSpec
from server.data.dataset import Dataset, images_digest
from server.files import write_atomic
from server.learning.curve import Fit, too_few
from server.learning.made import Made, mixture
from server.learning.measure import MeasureProgress, measure
from server.learning.training import Recipe, balanced_draw
from server.run_dir import versions
from server.synth.assess.features import feature_network
from server.synth.assess.likeness import VERSION, Likeness, Reference, likeness, reference
from server.synth.assess.trained import (
    Amounts,
    Trained,
    TrainJob,
    augmentation,
    paired,
    recalls,
    run_trained,
    scores,
    worth,
)
from server.synth.assess.variants import Say, Source, Variant, samples_of
from server.synth.judges import Judges
from server.synth.public import PublicPart

FORMAT = "fimi-assessment-1"


@dataclass(frozen=True)
class AssessSettings:
    """What is measured, and how much of it. `per_class` samples of each class; `black_below` as the pool's."""

    amounts: Amounts
    network: str = "vgg9"
    recipe: Recipe = field(default_factory=Recipe)
    feature_network: str = "vgg9"
    feature_recipe: Recipe = field(default_factory=lambda: Recipe(steps=1000, batch_size=32, learning_rate=0.04))
    per_class: int = 500
    black_below: int = 0
    mirror: bool = False  # as training showed the images
    shift: int = 0
    max_test: int = 4000
    refits: int = 400
    workers: int = 2


@dataclass(frozen=True)
class Assessed:
    """A variant with its samples, all that was measured of it (`values`, JSON), and what its figures need."""

    variant: Variant
    made: Made
    values: dict[str, Any]
    likeness: Likeness


def assess(
    dataset: Dataset,
    part: PublicPart,
    variants: Sequence[Variant],
    source: Callable[[Variant], Source],
    out: Path,
    settings: AssessSettings,
    *,
    judges: Judges | None = None,
    say: Say = lambda _: None,
) -> list[Assessed]:
    """Measure all variants and write assessment.json to the folder `out`; the same call goes on after an interruption.

    `judges` are needed where a variant selects. Raises DataError where data, samples and amounts do not fit together.
    """
    tested = balanced_draw(dataset.y_test, settings.max_test, np.random.default_rng(0))
    facts = _facts(dataset, part, settings, tested)
    settings.amounts.check(len(part.labels), settings.per_class * len(part.class_names))
    if why := too_few(amounts=settings.amounts.all_real, seeds=settings.amounts.seeds):
        say(f"note: eta will not be told: {why}")
    made = []
    for number, variant in enumerate(variants):

        def tell(line: str, which: str = f"{variant.name} ({number + 1} of {len(variants)})") -> None:
            say(f"{which}: {line}")

        made.append(
            samples_of(
                variant,
                source(variant),
                out / "samples",
                n_classes=dataset.n_classes,
                per_class=settings.per_class,
                black_below=settings.black_below,
                judges=judges,
                say=tell,
            )
        )
        made[-1].check_fits(dataset)
    trained = _trainings(dataset, part, made, out, settings, facts, tested, say)
    say("the network for features")
    network = feature_network(
        out / "features.safetensors", part, settings.feature_network, settings.feature_recipe, mirror=settings.mirror
    )

    @functools.cache
    def against() -> Reference:  # minutes for a large public part; not needed where all variants are known
        return reference(part, dataset, network, mirror=settings.mirror, shift=settings.shift)

    found = []
    for number, (variant, own) in enumerate(zip(variants, made, strict=True)):
        say(f"distances and near-copies: {number + 1} of {len(variants)}, {variant.name}")
        key = _digest(
            [
                VERSION,
                own.digest,
                facts["public_digest"],
                facts["whole_test_digest"],
                _features(settings),
                settings.shift,
            ]
        )

        def find(own: Made = own) -> Likeness:
            return likeness(own, dataset, against())

        like = _remembered(out / "likeness.jsonl", key, find)
        runs = [t for t in trained if t.source in ("", own.digest)]
        values = {**variant.values, **_values(own, runs, settings, facts), **like.values}
        first = [t for t in trained if t.source == made[0].digest]
        values["error_above_first"] = paired(runs, first, settings.amounts)
        if judges is not None and variant.select:
            verdict = judges.recognised(dataset.x_test[tested], dataset.y_test[tested]) < variant.select
            values["rejected_of_real"] = float(verdict.mean())
        found.append(Assessed(variant, own, values, like))
    content = {
        "format": FORMAT,
        "data": facts,
        "settings": asdict(settings),
        "features": f"input of the last layer of {settings.feature_network}, trained on the public part",
        "variants": [own.values for own in found],
        "best": best([own.values for own in found]),
        "versions": versions(),
    }
    write_atomic(out / "assessment.json", (json.dumps(content, indent=1) + "\n").encode())
    return found


def best(rows: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """The variant that each measure likes best; None for eta where none could be fitted."""
    with_eta = [row for row in rows if "eta_free" in row["worth"]]
    return {
        "kernel": min(rows, key=lambda row: row["kernel"])["name"],
        "frechet": min(rows, key=lambda row: row["frechet"])["name"],
        "score": max(rows, key=lambda row: row["score"][-1]["made"]["mean"])["name"],
        "eta": max(with_eta, key=lambda row: row["worth"]["eta_free"])["name"] if with_eta else None,
    }


# ---- parts -------------------------------------------------------------------------------------------------------


def _facts(dataset: Dataset, part: PublicPart, settings: AssessSettings, tested: np.ndarray) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "class_names": list(dataset.class_names),
        "public_digest": part.facts["digest"],
        "public_fraction": part.public_fraction,
        "split_seed": part.split_seed,
        "network": settings.network,
        "recipe": settings.recipe.facts,
        "test_images": len(tested),
        "test_digest": images_digest(dataset.x_test[tested], dataset.y_test[tested]),
        "whole_test_digest": images_digest(dataset.x_test, dataset.y_test),
    }


def _trainings(
    dataset: Dataset,
    part: PublicPart,
    made: Sequence[Made],
    out: Path,
    settings: AssessSettings,
    facts: Mapping[str, Any],
    tested: np.ndarray,
    say: Say,
) -> list[Trained]:
    """All trainings of all variants; those on real samples serve them all."""
    by_digest = {own.digest: own for own in made}
    test_images, test_labels = dataset.x_test[tested], dataset.y_test[tested]
    spec = NetworkSpec(name=settings.network, image_shape=dataset.image_shape, n_classes=dataset.n_classes)
    amounts = settings.amounts

    def prepare(wanted: Trained) -> TrainJob:
        added = by_digest[wanted.source] if wanted.synthetic else made[0]  # of which none is taken then
        images, labels = mixture(part.images, part.labels, added, wanted.real, wanted.synthetic, seed=wanted.seed)
        return TrainJob(wanted, spec, settings.recipe, images, labels, test_images, test_labels)

    def tell(now: MeasureProgress[Trained]) -> None:
        what = f"{now.point.real} real and {now.point.synthetic} synthetic samples"
        say(f"training {now.done} of {now.wanted}: {what}, error {now.point.error:.3f}, {now.left_s / 60:.0f} min left")

    return measure(
        amounts.of_real() + [cell for digest in by_digest for cell in amounts.of_made(digest)],
        prepare,
        run_trained,
        out / "trained.jsonl",
        _digest([facts[name] for name in ("public_digest", "network", "recipe", "test_digest")]),
        workers=settings.workers,
        report=tell,
    )


def _values(own: Made, runs: Sequence[Trained], settings: AssessSettings, facts: Mapping[str, Any]) -> dict[str, Any]:
    amounts = settings.amounts
    fit = worth(runs, amounts, refits=settings.refits, test_images=facts["test_images"])
    return {
        "samples": len(own.labels),
        "samples_digest": own.digest,
        **own.facts,
        "score": scores(runs, amounts),
        "recall_by_class": recalls(runs, amounts.alone[-1]),
        "augmentation": augmentation(runs, amounts, fit),
        "worth": asdict(fit) if isinstance(fit, Fit) else {"refused": fit},
    }


def _features(settings: AssessSettings) -> list[Any]:
    return [settings.feature_network, settings.feature_recipe.facts, settings.mirror]


def _remembered(path: Path, key: str, find: Callable[[], Likeness]) -> Likeness:
    """What was found before under `key`, else found now and added to the file (JSON lines)."""
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            held = json.loads(line)
        except ValueError:  # a line that was cut off
            continue
        if held.get("key") == key:
            return Likeness(held["values"], held["ratios"], [(a, b) for a, b in held["pairs"]])
    found = find()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("\n" + json.dumps({"key": key, **asdict(found)}))
    return found


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
