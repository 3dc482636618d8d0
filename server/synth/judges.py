"""Small networks trained on the public part that say whether a sample looks like its class: for selection.

They lie beside a generator as judges.safetensors but depend on the public part alone: they serve every generator of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge_client.protocol.messages import NetworkSpec
from models import networks
from server.errors import DataError
from server.learning.kept import read_kept, trained_once, write_kept
from server.learning.training import Recipe, Weights
from server.synth.card import read_card, write_card
from server.synth.public import PublicPart

FORMAT = "fimi-judges-1"
FILE = "judges.safetensors"
BATCH = 100


@dataclass(frozen=True)
class JudgeSettings:
    """`members` networks of different first weights and orders, each trained by `recipe`; `mirror` as the generator."""

    members: int = 3
    network: str = "small"
    recipe: Recipe = field(default_factory=lambda: Recipe(steps=1500, batch_size=32, learning_rate=0.1))
    mirror: bool = False


class Judges:
    """An ensemble; `digest` names its weights."""

    def __init__(self, spec: NetworkSpec, members: tuple[Weights, ...], facts: dict[str, Any]) -> None:
        self.spec = spec
        self.facts = facts
        self.digest = _digest(members)
        self._modules = []
        for weights in members:
            module = networks.build(spec.name, spec.image_shape, spec.n_classes).eval()
            networks.from_arrays(module, weights)
            self._modules.append(module)

    @torch.inference_mode()
    def recognised(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Images (N, H, W, C) uint8 with classes (N,) -> (N,) in 0..1: the mean probability given to that class.

        Always BATCH images at a time, the last filled up with black: what is said of one does not depend on the others.
        """
        found = np.zeros(len(images))
        for start in range(0, len(images), BATCH):
            own = images[start : start + BATCH]
            full = np.zeros((BATCH, *self.spec.image_shape), np.uint8)
            full[: len(own)] = own
            pixels = torch.from_numpy(networks.normalise(full))
            mean = torch.stack([module(pixels).double().softmax(1) for module in self._modules]).mean(0)
            found[start : start + BATCH] = mean.numpy()[np.arange(len(own)), classes[start : start + BATCH]]
        return found


def train_judges(
    part: PublicPart,
    folder: Path,
    settings: JudgeSettings,
    *,
    report: Callable[[int, int], None] = lambda *_: None,
) -> Judges:
    """The judges in `folder`, trained where they are not there; each member is kept as soon as it is done.

    `report` gets how many are done, and of how many. Raises DataError where `folder` holds those of other data or
    settings.
    """
    spec = NetworkSpec(name=settings.network, image_shape=part.images.shape[1:], n_classes=len(part.class_names))
    facts = {
        "format": FORMAT,
        "public_digest": part.facts["digest"],
        "image_shape": list(spec.image_shape),
        "n_classes": spec.n_classes,
        **asdict(settings),
    }
    path = folder / FILE
    if (held := read_kept(path)) is not None:
        if held[1] != json.loads(json.dumps(facts)):
            raise DataError(f"{path} are judges of other data or settings: move it away to train new ones")
        return load_judges(folder, part.facts["digest"])
    images, labels = part.images, part.labels
    if settings.mirror:
        images, labels = np.concatenate([images, images[:, :, ::-1]]), np.concatenate([labels, labels])
    members: Weights = {}
    parts: list[Path] = []
    for number in range(settings.members):
        report(number, settings.members)
        parts.append(folder / f"judge-{number}.partial.safetensors")
        own = trained_once(
            parts[-1], spec, images, labels, settings.recipe, seed=1000 + number, facts=facts | {"number": number}
        )
        members |= {f"{number}.{name}": weights.astype(np.float16) for name, weights in own.items()}
    report(settings.members, settings.members)
    write_kept(path, members, facts)
    for part_path in parts:
        part_path.unlink()
    return load_judges(folder, part.facts["digest"])


def judges_beside(part: PublicPart, folder: Path, *, mirror: bool, say: Callable[[str], None]) -> Judges:
    """The judges beside a generator, trained and entered in its card where they lack; raises as `train_judges`."""
    settings = JudgeSettings(mirror=mirror)
    judges = train_judges(part, folder, settings, report=lambda done, of: say(f"judges for selection: {done} of {of}"))
    card = read_card(folder / "generator-card.json") or {}
    entry = {"file": FILE, "bytes": (folder / FILE).stat().st_size, "digest": judges.digest, **asdict(settings)}
    entry = json.loads(json.dumps(entry))
    if card.get("selection") != entry:
        write_card(folder / "generator-card.json", card | {"selection": entry})
    return judges


def load_judges(folder: Path, public_digest: str | None = None) -> Judges:
    """Those beside a generator; raises DataError where there are none, or none of the public part of that digest."""
    path = folder / FILE
    held = read_kept(path)
    if held is None:
        raise DataError(
            f"no judges at {path}, which selection needs: train them with fimi-server assess-generator --select, or "
            "train-generator with a RUN.toml that selects"
        )
    weights, facts = held
    if facts.get("format") != FORMAT:
        raise DataError(f"{path} is {facts.get('format')!r}, expected {FORMAT!r}")
    if public_digest is not None and facts["public_digest"] != public_digest:
        raise DataError(f"{path} was trained on another public part: its judges may have seen the devices' images")
    spec = NetworkSpec(name=facts["network"], image_shape=tuple(facts["image_shape"]), n_classes=facts["n_classes"])
    members = tuple(
        {name.split(".", 1)[1]: own for name, own in weights.items() if name.startswith(f"{number}.")}
        for number in range(facts["members"])
    )
    return Judges(spec, members, facts)


def _digest(members: tuple[Weights, ...]) -> str:
    digest = hashlib.sha256()
    for weights in members:
        for name in sorted(weights):
            digest.update(name.encode() + np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()
