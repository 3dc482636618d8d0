"""A generator's weights on disk: half precision, safetensors, no file larger than a repository likes.

The file that is named holds the first part and says, in its one entry of metadata, how many there are; the others stand
beside it as NAME.2.safetensors and so on. Its digest covers all of them. One entry, because safetensors writes several
in an order of chance, and equal weights are to give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
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


def write_checkpoint(path: Path, weights: Mapping[str, torch.Tensor], shape: UNetShape) -> str:
    """Write all parts, the named one last; returns the digest (SHA-256 over the parts)."""
    half = {name: own.detach().to("cpu", torch.float16).contiguous() for name, own in weights.items()}
    groups = list(_groups(half))
    about = {"format": FORMAT, "shape": asdict(shape), "parts": len(groups)}
    files = [
        save(group, metadata={"fimi": json.dumps(about if number == 1 else {"format": FORMAT, "part": number})})
        for number, group in enumerate(groups, start=1)
    ]
    for number in range(len(files), 0, -1):
        write_atomic(part_path(path, number), files[number - 1])
    return _digest(files)


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], UNetShape, str]:
    """Weights as float32, the network's shape, the digest; raises DataError where a part is missing or broken."""
    if not path.exists():
        raise DataError(f"no generator at {path}; train one with: fimi-server train-generator")
    weights, about = _read(path)
    if about.get("format") != FORMAT:
        raise DataError(f"{path} is not a generator of this format: {about.get('format')!r}, expected {FORMAT!r}")
    parts = [part_path(path, number) for number in range(1, 1 + about.get("parts", 1))]
    for part in parts[1:]:
        if not part.exists():
            raise DataError(f"{part} is missing: {path.name} is the first of {len(parts)} files of one generator")
        weights |= _read(part)[0]
    if odd := [name for name, own in weights.items() if not bool(torch.isfinite(own).all())]:
        raise DataError(f"{path}: {odd[0]} holds numbers that are not finite; train the generator anew")
    fields = about["shape"]
    shape = UNetShape(**{**fields, "widths": tuple(fields["widths"])})
    return weights, shape, _digest([part.read_bytes() for part in parts])


def size_bytes(path: Path) -> int:
    """Of all parts of a checkpoint that is there."""
    return sum(part.stat().st_size for part in (path, *path.parent.glob(f"{path.stem}.[0-9]*{path.suffix}")))


def _digest(files: list[bytes]) -> str:
    digest = hashlib.sha256()
    for data in files:
        digest.update(data)
    return digest.hexdigest()


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


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise DataError(f"{path} is not a safetensors file: {error}") from error
    return weights, json.loads(metadata.get("fimi", "{}")) or _first_format(metadata)


def _first_format(metadata: dict[str, str]) -> dict[str, Any]:
    """What files of the first format carry, in two entries."""
    if metadata.get("format") != "fimi-diffusion-1":
        return {"format": metadata.get("format")}
    return {"format": FORMAT, "shape": json.loads(metadata["shape"])}
