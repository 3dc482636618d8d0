"""Some of the devices of a value that holds arrays with the devices on the last axis."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

Value = TypeVar("Value")


def take(value: Value, rows: np.ndarray) -> Value:
    """The same dataclass with the devices `rows` (M,) of every array in it; what is no array stays."""
    assert is_dataclass(value) and not isinstance(value, type)
    chosen: dict[str, Any] = {}
    for field in fields(value):
        column = getattr(value, field.name)
        if isinstance(column, np.ndarray):
            chosen[field.name] = column.take(rows, axis=-1)
        elif is_dataclass(column) and not isinstance(column, type):
            chosen[field.name] = take(column, rows)
    return replace(value, **chosen)
