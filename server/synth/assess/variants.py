"""The samples of one way to draw them: drawn, kept, selected, blackened as a pool would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from server.errors import DataError
from server.learning.made import Made
from server.synth.assess.store import Drawn, StoredGenerator
from server.synth.generator import Generator
from server.synth.judges import Judges
from server.synth.ready import seeds_of
from server.synth.selection import Selected, blackened
from server.synth.settings import Sampling

Say = Callable[[str], None]


@dataclass(frozen=True)
class Variant:
    """One way to draw samples, with the threshold of selection (0: none)."""

    sampling: Sampling
    select: float = 0.0

    @property
    def name(self) -> str:
        """For tables: "20 steps, guidance 1.5, select 0.5"."""
        chosen = f", select {self.select:g}" if self.select else ""
        return self.sampling.name + chosen

    @property
    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, **asdict(self.sampling), "select": self.select}


@dataclass(frozen=True)
class Source:
    """Where a variant's images come from: a generator, and those of it that lie ready, by class (n, H, W, C)."""

    generator: Generator
    ready: Mapping[int, np.ndarray] = field(default_factory=dict)


def samples_of(
    variant: Variant,
    source: Source,
    folder: Path,
    *,
    n_classes: int,
    per_class: int,
    black_below: int,
    judges: Judges | None,
    say: Say,
) -> Made:
    """`per_class` images of each class, blackened; `facts` say how many of them selection drew again.

    What is drawn is kept in `folder`. Raises DataError where the variant selects and there are no judges.
    """

    def tell(now: Drawn) -> None:
        say(f"sampling {now.done} of {now.wanted}, {now.left_s / 60:.1f} min left")

    known = {
        (label, int(seed)): image
        for label, images in source.ready.items()
        for seed, image in zip(seeds_of(label, len(images)), images, strict=True)
    }
    stored = StoredGenerator(source.generator, folder, known=known, report=tell)
    classes = np.repeat(np.arange(n_classes), per_class).astype(np.int64)
    seeds = np.concatenate([seeds_of(label, per_class) for label in range(n_classes)])
    images = stored.sample(classes, seeds)
    facts: dict[str, Any] = {"generator": stored.digest, "pool_black_below": black_below}
    if variant.select:
        if judges is None:
            raise DataError(f"{variant.name}: selection needs judges, and there are none")
        failed = judges.recognised(blackened(images, black_below), classes) < variant.select
        chosen = Selected(stored, judges, variant.select, black_below=black_below)
        images = chosen.sample(classes, seeds)
        still = judges.recognised(blackened(images, black_below), classes) < variant.select
        facts |= {
            "generator": chosen.digest,
            "rejected": float(failed.mean()),
            "rejected_by_class": [float(failed[classes == label].mean()) for label in range(n_classes)],
            "never_recognised": float(still.mean()),
        }
    return Made(blackened(images, black_below), classes, facts)
