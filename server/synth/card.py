"""The generator's card: what it was trained on and how, what it reached. JSON for programs, Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from server.errors import DataError
from server.files import write_atomic

FORMAT = "fimi-generator-card-1"
PARTS = (
    "data", "network", "training", "hardware", "checkpoint", "sampling", "pool", "selection", "quality", "worth",
    "versions",
)  # fmt: skip
"""In the order of the page."""


def write_card(path: Path, card: dict[str, Any]) -> None:
    """Write `path` (.json) and the same in Markdown beside it, each whole or not at all."""
    write_atomic(path, (json.dumps(card, indent=1) + "\n").encode())
    write_atomic(path.with_suffix(".md"), to_markdown(card).encode())


def read_card(path: Path) -> dict[str, Any] | None:
    """The card at `path`, None where there is none yet."""
    if not path.exists():
        return None
    try:
        card = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise DataError(f"{path} is not a generator's card of this format ({FORMAT})")
    return card


def check_pool_trained_on(
    pool: Path, generators: Collection[str], public_digest: str, say: Callable[[str], None]
) -> None:
    """`check_trained_on` of the generator beside a pool, where its card names one of the pool's `generators` (digests);
    else `say` that nobody knows what made the samples."""
    card = read_card(pool.with_name("generator-card.json"))
    if card is None or card.get("sampling", {}).get("digest") not in generators:
        say(f"note: no card of their generator beside {pool}: what made these samples may have seen the devices' data")
        return
    check_trained_on(pool.with_name("generator.safetensors"), public_digest)


def check_trained_on(checkpoint: Path, public_digest: str) -> None:
    """Raises DataError unless the card beside `checkpoint` says that it was trained on exactly these images.

    `public_digest` is `images_digest` of a run's public part. A generator of another cut may have seen, and may give
    away, images that are a device's own in this run.
    """
    path = checkpoint.with_name("generator-card.json")
    card = read_card(path)
    if card is None:
        raise DataError(f"{path} is missing: what the generator was trained on is not known")
    if "checkpoint" in card:
        from server.synth.checkpoint import digest_of

        if digest_of(checkpoint) != card["checkpoint"]["digest"]:
            raise DataError(
                f"{path} is the card of another generator than {checkpoint.name}: what that has seen is not known"
            )
    if card["data"]["digest"] != public_digest:
        raise DataError(
            f"{checkpoint} was trained on {card['data']['name']} cut with public_fraction "
            f"{card['data']['public_fraction']} and split_seed {card['data']['split_seed']}, not on this run's public "
            "part: it may have seen the devices' images. Use that cut, or train one with fimi-server train-generator"
        )


def to_markdown(card: dict[str, Any]) -> str:
    """The card as a page: one table per part, then the score in a sentence."""
    lines = [f"# Generator for {card['data']['name']}", ""]
    quality, worth = card.get("quality"), card.get("worth")
    if worth:
        lines += [
            f"A {worth['network']} trained for {worth['steps']} steps on {worth['score_samples']} samples of this "
            f"generator, and on nothing else, is right on **{worth['score']['mean']:.1%}** of {worth['test_images']} "
            f"real test images (mean of {worth['seeds']} seeds); trained on as many real images it is right on "
            f"{worth['score_of_real']['mean']:.1%}.",
            "",
        ]
    elif quality:
        lines += [
            f"A {quality['network']} trained for {quality['steps']} steps on {quality['samples']} samples of this "
            f"generator, and on nothing else, is right on **{quality['accuracy']:.1%}** of "
            f"{quality['test_images']} real test images; "
            f"trained on as many real images it is right on {quality['accuracy_of_real']:.1%}.",
            "",
        ]
    for part in PARTS:
        if part in card:
            lines += [f"## {part.capitalize()}", "", "| | |", "|---|---|"]
            lines += [f"| {key} | {_cell(value)} |" for key, value in card[part].items()]
            lines.append("")
    if "date" in card:
        lines += [f"Finished on {card['date']}.", ""]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(own)}" for key, own in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(v) for v in value)
    return str(value).replace("|", "\\|")
