"""Values as files of a folder: JSON and arrays, written whole or not at all, and JSON lines that grow.

What a process was writing when it died is not there, or it is a last line that is not read.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from server.errors import DataError
from server.files import write_atomic

T = TypeVar("T")


def to_json(value: Any) -> bytes:
    """A value as JSON, numpy's numbers with it."""

    def plain(odd: Any) -> Any:
        """Numbers that come out of numpy are numbers."""
        if isinstance(odd, np.generic):
            return odd.item()
        raise TypeError(f"{type(odd).__name__} cannot be kept as JSON")

    return msgspec.json.encode(value, enc_hook=plain)


def whole_lines(path: Path) -> bytes:
    """A file's complete lines; a crash may have cut the last one short."""
    raw = path.read_bytes() if path.exists() else b""
    return raw[: raw.rfind(b"\n") + 1]


class RecordFolder:
    """The files below `path`, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # ---- whole files ---------------------------------------------------------------------------------------------

    def save(self, name: str, value: Any) -> None:
        """A value as indented JSON."""
        write_atomic(self.path / name, msgspec.json.format(to_json(value)) + b"\n")

    def load(self, name: str, type_: type[T]) -> T:
        """The value in a JSON file; raises DataError where it is missing or not of that type."""
        path = self.path / name
        try:
            return msgspec.json.decode(path.read_bytes(), type=type_)
        except FileNotFoundError:
            raise DataError(f"{path} is missing: the step that writes it has not been run") from None
        except msgspec.MsgspecError as error:
            raise DataError(f"{path}: {error}") from error

    def has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def remove(self, name: str) -> None:
        """Where it is there."""
        (self.path / name).unlink(missing_ok=True)

    def save_arrays(self, name: str, **arrays: np.ndarray | int) -> Path:
        """Arrays as a compressed .npz; returns its path."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{key: np.asarray(value) for key, value in arrays.items()})  # type: ignore[arg-type]
        write_atomic(self.path / name, buffer.getvalue())
        return self.path / name

    def load_arrays(self, name: str) -> dict[str, np.ndarray]:
        path = self.path / name
        try:
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except FileNotFoundError:
            raise DataError(f"{path} is missing: the step that writes it has not been run") from None
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a complete .npz file: {error}") from error

    # ---- growing files -------------------------------------------------------------------------------------------

    def _append(self, name: str, values: Iterable[Any]) -> None:
        values = tuple(values)
        if not values:
            return
        path = self.path / name
        whole = len(whole_lines(path))
        with path.open("r+b" if path.exists() else "wb") as file:
            file.truncate(whole)
            file.seek(whole)
            file.writelines(to_json(value) + b"\n" for value in values)
            file.flush()
            os.fsync(file.fileno())

    def _lines(self, name: str, type_: type[T]) -> tuple[T, ...]:
        """Complete lines; a last line cut short by a crash is left out."""
        path = self.path / name
        try:
            return tuple(msgspec.json.decode(line, type=type_) for line in whole_lines(path).splitlines())
        except msgspec.MsgspecError as error:
            raise DataError(f"{path}: {error}") from error
