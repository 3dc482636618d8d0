"""A pipeline's folder as diffusers saves it, looked at before anything is loaded: safetensors only, no code, whole.

What may stand in it is listed, and everything else refused: a list of what is dangerous would always lack something.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from server.errors import DataError

INDEX = "model_index.json"
LIBRARIES = ("diffusers", "transformers")
LEFT_OUT = ("safety_checker",)  # it would paint images black; what is made here is looked at by whoever trains on it
SETTINGS = (".json", ".txt", ".model", ".jinja")  # .model: a sentencepiece vocabulary, read as data
HARMLESS = (*SETTINGS, ".safetensors", ".md", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".yaml", ".yml", "")
_SHARD = r"(?:-\d+-of-\d+)?"
_WEIGHTS = re.compile(rf"(?:diffusion_pytorch_model|model)(?:{_SHARD}|\.fp16{_SHARD}|{_SHARD}\.fp16)\.safetensors")


@dataclass(frozen=True)
class Part:
    """A part that model_index.json names: a class `kind` of `library`, and the files it is loaded from.

    Of weights that are there twice, the plain ones; `variant` is "fp16" where half precision is all there is.
    """

    name: str
    library: str
    kind: str
    settings: tuple[Path, ...]
    weights: tuple[Path, ...]
    variant: str | None


@dataclass(frozen=True)
class PipelineFolder:
    """A folder that was looked at: the pipeline's class `kind`, its model_index.json and its parts."""

    path: Path
    kind: str
    index: dict[str, Any]
    parts: tuple[Part, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over all that is loaded: weights, settings and vocabularies with their names."""
        files = [self.path / INDEX, *(file for part in self.parts for file in (*part.settings, *part.weights))]
        own = [(file.relative_to(self.path).as_posix(), _sha256(file)) for file in sorted(files)]
        return hashlib.sha256(json.dumps(own).encode()).hexdigest()

    @property
    def licence(self) -> str | None:
        """What README.md says of it in its head, None where it says nothing."""
        readme = self.path / "README.md"
        text = readme.read_text(errors="replace").split("\n---", 1)[0] if readme.is_file() else ""
        said = re.findall(r"^license(?:_name)?:[ \t]*(\S.*?)[ \t]*$", text, re.MULTILINE)
        return ", ".join(said) if said else None

    def settings_of(self, part: str) -> dict[str, Any]:
        """The part's own settings, of config.json or scheduler_config.json; empty where it has neither."""
        for name in ("config.json", "scheduler_config.json"):
            if (self.path / part / name).is_file():
                return _read_json(self.path / part / name)
        return {}


def read_folder(path: Path) -> PipelineFolder:
    """Raises DataError, in one sentence that names the file, for a folder that is broken or not safe to load."""
    if not (path / INDEX).is_file():
        raise DataError(
            f"{path / INDEX} is missing: a pipeline's folder is what DiffusionPipeline.save_pretrained writes"
        )
    index = _read_json(path / INDEX)
    kind = index.get("_class_name")
    if not isinstance(kind, str):
        raise DataError(f"{path / INDEX}: _class_name is {kind!r}, expected a class of diffusers; code is never loaded")
    _refuse_unsafe(path)
    named = {name: value for name, value in index.items() if _is_part(value) and name not in LEFT_OUT}
    parts = tuple(_part(path, name, *value) for name, value in named.items() if value[1] is not None)
    return PipelineFolder(path, kind, index, parts)


def _refuse_unsafe(path: Path) -> None:
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path)
        if any(step.startswith(".") for step in inside.parts) or file.is_dir():
            continue  # hidden ones, as .gitattributes and what a download keeps for itself, are never read
        if file.suffix in (".py", ".so", ".pyc"):
            raise DataError(f"{file} is program code, which is never loaded: only pipelines without any are")
        if file.suffix not in HARMLESS:
            raise DataError(
                f"{file} is not safetensors: only such weights are loaded, as others can run code; remove it, or save "
                "the pipeline with safe_serialization=True"
            )


def _is_part(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(own is None or isinstance(own, str) for own in value)


def _part(path: Path, name: str, library: object, kind: object) -> Part:
    if library not in LIBRARIES or not isinstance(kind, str) or not kind.isidentifier() or not name.isidentifier():
        raise DataError(
            f"{path / INDEX}: {name} is {kind} of {library}, expected a class of diffusers or transformers; code of a "
            "pipeline's own is never loaded"
        )
    home = path / name
    files = sorted(file for file in home.iterdir() if file.is_file()) if home.is_dir() else []
    if not files:
        raise DataError(f"{home} is missing or empty: {INDEX} names it as a part, a {kind}; fetch or save it again")
    weights = [file for file in files if _WEIGHTS.fullmatch(file.name)]
    variant = "fp16" if weights and all(_variant(file) for file in weights) else None
    weights = [file for file in weights if _variant(file) == variant]
    settings = [file for file in files if file.suffix in SETTINGS and not file.name.startswith(".")]
    indices = [file for file in settings if ".index." in file.name and file.suffix == ".json"]
    others = [file for file in indices if (".fp16." in file.name) != (variant is not None)]  # of weights not loaded
    settings = [file for file in settings if file not in others]
    for file in settings:
        if file.suffix == ".json" and "auto_map" in _read_json(file):
            raise DataError(f"{file} asks for program code of its own (auto_map), which is never loaded")
        if file in indices:
            _check_shards(file, weights)
    for file in weights:
        _check_whole(file)
    return Part(name, str(library), kind, tuple(settings), tuple(weights), variant)


def _variant(file: Path) -> str | None:
    return "fp16" if ".fp16" in file.name else None


def _check_shards(index: Path, weights: list[Path]) -> None:
    there = {file.name for file in weights}
    lacking = sorted(set(map(str, _read_json(index).get("weight_map", {}).values())) - there)
    if lacking:
        raise DataError(f"{index.parent / lacking[0]} is missing: {index.name} names it; fetch or save the part again")


def _check_whole(file: Path) -> None:
    try:
        with safe_open(file, framework="np") as held:
            names = list(held.keys())
    except (SafetensorError, OSError) as error:
        raise DataError(f"{file} is no whole safetensors file ({error}): fetch or save it again") from error
    if not names:
        raise DataError(f"{file} holds no weights: fetch or save it again")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is not JSON ({error}): fetch or save the pipeline again") from error
    if not isinstance(held, dict):
        raise DataError(f"{path} is not a table of settings: fetch or save the pipeline again")
    return held


def _sha256(path: Path) -> str:
    state = path.stat()
    return _sha256_of(str(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of(path: str, _size: int, _mtime_ns: int) -> str:
    """Once a process for each state of a file: there may be gigabytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
