"""Weights on the wire: safetensors, never pickle.

The global model travels as float32. An update is the *change* (new - global) as float16: half the bytes, and the
rounding error is relative to a small number instead of to the weight itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.numpy
from safetensors import SafetensorError

from edge_client.protocol.errors import NotFiniteError, ProtocolError

Weights = dict[str, np.ndarray]


class Computed(Mapping[str, np.ndarray]):
    """Named arrays each of which is made when it is asked for: a small board has no room for all of them twice."""

    def __init__(self, names: Iterable[str], compute: Callable[[str], np.ndarray]) -> None:
        self._names = dict.fromkeys(names)
        self._compute = compute

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._compute(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def pack(weights: Mapping[str, np.ndarray], dtype: Literal["float32", "float16"] = "float32") -> bytes:
    """Named arrays as safetensors bytes, names sorted, so that equal weights give equal bytes.

    Raises `ProtocolError` where a value is not finite, or not finite any more in float16 (beyond 65,504).
    """
    packed = {}
    for name in sorted(weights):
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(weights[name], dtype=dtype)
        _check_finite(name, array)
        packed[name] = array
    return safetensors.numpy.save(packed)


def unpack(blob: bytes) -> Weights:
    """Safetensors bytes as named float32 arrays; raises `ProtocolError` for anything else or values not finite."""
    try:
        arrays = safetensors.numpy.load(blob)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"these bytes are no safetensors weights: {error}") from error
    weights = {}
    for name in sorted(arrays):
        if arrays[name].dtype not in (np.float32, np.float16):
            raise ProtocolError(f"weight {name!r} is {arrays[name].dtype}, not float32 or float16")
        _check_finite(name, arrays[name])
        weights[name] = arrays[name].astype(np.float32)
    return weights


def digest(blob: bytes) -> str:
    """SHA-256 of the bytes, in hex."""
    return hashlib.sha256(blob).hexdigest()


def check_like(weights: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> None:
    """Raise `ProtocolError` unless names and shapes are those of the reference."""
    if weights.keys() != reference.keys():
        odd = sorted(weights.keys() ^ reference.keys())
        raise ProtocolError(f"weights do not fit the network: {', '.join(odd[:5])} on one side only")
    for name, array in reference.items():
        if weights[name].shape != array.shape:
            raise ProtocolError(f"weight {name!r} has shape {weights[name].shape}, the network wants {array.shape}")


def change(new: Mapping[str, np.ndarray], old: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """new - old, name by name, each as it is asked for: what an update carries."""
    check_like(new, old)
    return Computed(sorted(old), lambda name: new[name] - old[name])


def open_file(path: Path) -> Mapping[str, np.ndarray]:
    """Float32 arrays of a safetensors file, each read as it is asked for; raises `ProtocolError` for anything else.

    The file is opened each time, and is to stay as it is: kept open, all of it that was read stays in memory.
    """

    @contextmanager
    def opened() -> Iterator[Any]:
        try:
            with safetensors.safe_open(path, framework="np") as held:
                yield held
        except (SafetensorError, OSError) as error:
            raise ProtocolError(f"{path} holds no safetensors weights: {error}") from error

    def read(name: str) -> np.ndarray:
        with opened() as held:
            array: np.ndarray = held.get_tensor(name)
        if array.dtype != np.float32:
            raise ProtocolError(f"weight {name!r} is {array.dtype}, not float32")
        _check_finite(name, array)
        return array

    with opened() as held:
        names = sorted(held.keys())
    return Computed(names, read)


def _check_finite(name: str, array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        raise NotFiniteError(f"weight {name!r} holds values that are not finite in {array.dtype}")
