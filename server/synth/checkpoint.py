"""A generator's weights on disk: half precision, safetensors, no file larger than a repository likes.

The file that is named holds the first part and says, in its one entry of metadata, how many there are; the others stand
beside it as NAME.2.safetensors and so on. Its digest covers all of them. One entry, because safetensors writes several
in an order of chance, and equal weights are to give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from models.unet import UNetShape
from server.errors import DataError
from server.files import write_atomic

FORMAT = "fimi-diffusion-2"
PART_BYTES = 14 << 20


def part_path(path: Path, number: int) -> Path:
    """Where part `number`, from 1, of the checkpoint `path` lies."""
    return path if number == 1 else path.with_name(f"{path.stem}.{number}{path.suffix}")


def state_path(path: Path) -> Path:
    """Where the state of a training lies, beside its checkpoint, until it has ended."""
    return path.with_suffix(".state")


def check_finished(path: Path) -> None:
    """Raise DataError where the training of a checkpoint has not ended: its card tells of steps that were not made."""
    if state_path(path).exists():
        raise DataError(
            f"{path}: its training has not ended; the same train-generator command goes on with it. To take it as it "
            f"is, remove {state_path(path).name} beside it"
        )


def write_checkpoint(path: Path, weights: Mapping[str, torch.Tensor], shape: UNetShape) -> str:
    """Write all parts, the named one last; returns the digest (SHA-256 over the parts).

    Raises DataError, before anything is written, for weights that are not finite in half precision.
    """
    half = {name: own.detach().to("cpu", torch.float16).contiguous() for name, own in weights.items()}
    if odd := [name for name, own in half.items() if not bool(torch.isfinite(own).all())]:
        raise DataError(f"{odd[0]} has weights that half precision does not hold; {path} is left as it was")
    groups = list(_groups(half))
    whole = {"whole": _content(half)} if len(groups) > 1 else {}
    about = {"format": FORMAT, "shape": asdict(shape), "parts": len(groups), **whole}
    files = [
        save(
            group, metadata={"fimi": json.dumps(about if number == 1 else {"format": FORMAT, "part": number, **whole})}
        )
        for number, group in enumerate(groups, start=1)
    ]
    for number in range(len(files), 0, -1):
        write_atomic(part_path(path, number), files[number - 1])
    return _digest(files)


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], UNetShape, str]:
    """Weights as float32, the network's shape, the digest; raises DataError where a part is missing or broken."""
    about, parts = _about(path), parts_of(path)
    weights: dict[str, torch.Tensor] = {}
    for part in parts:
        if _metadata(part).get("whole") != about.get("whole"):
            raise DataError(f"{part} belongs to another generator than {path.name}: copy all files of one again")
        weights |= _read(part)
    if odd := [name for name, own in weights.items() if not bool(torch.isfinite(own).all())]:
        raise DataError(f"{path}: {odd[0]} holds numbers that are not finite; train the generator anew")
    try:
        shape = UNetShape(**{**about["shape"], "widths": tuple(about["shape"]["widths"])})
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(f"{path} says nothing of its network that this version understands: {error}") from error
    return weights, shape, digest_of(path)


def parts_of(path: Path) -> list[Path]:
    """All files of the checkpoint `path`, itself first; reads no weights. Raises DataError as `read_checkpoint`."""
    about = _about(path)
    parts = [part_path(path, number) for number in range(1, 1 + about.get("parts", 1))]
    for part in parts:
        if not part.exists():
            raise DataError(f"{part} is missing: {path.name} is the first of {len(parts)} files of one generator")
    return parts


def digest_of(path: Path) -> str:
    """Of all parts of a checkpoint that is there, as `write_checkpoint` returned it."""
    return _digest([part.read_bytes() for part in parts_of(path)])


def size_bytes(path: Path) -> int:
    """Of all parts of a checkpoint that is there."""
    return sum(part.stat().st_size for part in parts_of(path))


def _digest(files: list[bytes]) -> str:
    digest = hashlib.sha256()
    for data in files:
        digest.update(data)
    return digest.hexdigest()


def _content(weights: Mapping[str, torch.Tensor]) -> str:
    """Names which weights belong together."""
    return _digest([name.encode() + own.numpy().tobytes() for name, own in weights.items()])


def _groups(weights: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    """The weights in their order, as many together as fit PART_BYTES."""
    group: dict[str, torch.Tensor] = {}
    size = 0
    for name, own in weights.items():
        if group and size + own.nbytes > PART_BYTES:
            yield group
            group, size = {}, 0
        group[name] = own
        size += own.nbytes
    yield group


def _about(path: Path) -> dict[str, Any]:
    """What the first part says of the checkpoint."""
    if not path.exists():
        raise DataError(f"no generator at {path}; train one with: fimi-server train-generator")
    about = _metadata(path)
    if about.get("format") != FORMAT:
        raise DataError(f"{path} is not a generator of this format: {about.get('format')!r}, expected {FORMAT!r}")
    return about


def _metadata(path: Path) -> dict[str, Any]:
    with _opened(path) as file:
        metadata = file.metadata() or {}
    try:
        return dict(json.loads(metadata.get("fimi", "{}")))
    except ValueError as error:
        raise DataError(f"{path} is not a generator: {error}") from error


def _read(path: Path) -> dict[str, torch.Tensor]:
    with _opened(path) as file:
        return {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise DataError(f"{path} is not a safetensors file: {error}") from error
