"""hub:OWNER/NAME and hub:OWNER/NAME@REVISION: settings and safetensors are fetched, then looked at as any folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from server.errors import ConfigError, DataError
from server.resources import explained
from server.synth.pipelines.folder import INDEX, LEFT_OUT, SETTINGS

_NAME = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_OTHER_VARIANTS = ["*.non_ema.*", "*.ema.*", "*.bf16.*"]

Download = Callable[..., str]
"""huggingface_hub.snapshot_download, or what stands in for it in a test."""


@lru_cache(maxsize=8)  # a name means one revision as long as a process lives
def fetch(source: str, download: Download | None = None) -> tuple[Path, str]:
    """The folder in the hub's local cache and the commit it is of; raises ConfigError, DataError.

    What is in the cache is not fetched again, so a machine without network has what it had.
    """
    match = _NAME.fullmatch(source)
    if match is None:
        raise ConfigError(f'synth.generator: "{source}" is no hub:OWNER/NAME or hub:OWNER/NAME@REVISION')
    from huggingface_hub import snapshot_download

    ask = download or snapshot_download
    repo, revision = match["repo"], match["revision"]
    try:
        index = Path(ask(repo, revision=revision, allow_patterns=[INDEX, "README.md"]))
        commit = index.name
        parts = _parts(index)
        light = [f"{part}/*{end}" for part in parts for end in SETTINGS]
        heavy = [f"{part}/*.safetensors" for part in parts]
        plain = [*_OTHER_VARIANTS, "*.fp16.*"]
        folder = Path(ask(repo, revision=commit, allow_patterns=[*light, *heavy], ignore_patterns=plain))
        # a part of settings that has no weights yet: they are there in half precision, or not at all
        bare = [part for part in parts if (folder / part / "config.json").exists() and not _weights(folder / part)]
        if bare:
            halves = [f"{part}/*.fp16{end}" for part in bare for end in ("*.safetensors", "*.json")]
            ask(repo, revision=commit, allow_patterns=halves, ignore_patterns=_OTHER_VARIANTS)
    except (OSError, ValueError) as error:  # what huggingface_hub raises for names and networks are these
        if explained(error) is not None:  # no matter of the hub's: the disk is full
            raise
        first = str(error).strip().splitlines()
        raise DataError(
            f"{source} cannot be fetched: {first[0] if first else type(error).__name__}; look at name and network, or "
            "name a local folder in synth.generator"
        ) from error
    return folder, commit


def _parts(folder: Path) -> list[str]:
    try:
        index = json.loads((folder / INDEX).read_text())
    except FileNotFoundError:
        raise ValueError(f"it has no {INDEX}, so it is no pipeline of diffusers") from None
    return [name for name, value in index.items() if isinstance(value, list) and name not in LEFT_OUT and value[-1]]


def _weights(part: Path) -> list[Path]:
    return list(part.glob("*.safetensors"))
