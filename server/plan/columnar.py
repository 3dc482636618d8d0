"""Tables of columns: frozen dataclasses whose fields are arrays of one length, picked and joined as a whole.

A *ragged* table has rows of different lengths: its first field `start` (rows + 1,) says where in the other fields each
row begins; row i is column[start[i] : start[i + 1]].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, fields
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np


class Table(Protocol):
    """A dataclass of arrays."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init__(self, *columns: np.ndarray) -> None: ...


T = TypeVar("T", bound=Table)


def names(table: Table | type[Table]) -> list[str]:
    """The table's columns."""
    return [field.name for field in fields(table)]


def columns(table: Table) -> list[np.ndarray]:
    return [getattr(table, name) for name in names(table)]


def each(table: T, change: Callable[[np.ndarray], np.ndarray]) -> T:
    """The table with every column changed."""
    return type(table)(*map(change, columns(table)))


def joined(tables: Sequence[T]) -> T:
    """One table below the other; at least one."""
    return type(tables[0])(*(np.concatenate(parts) for parts in zip(*map(columns, tables), strict=True)))


def starts(lengths: np.ndarray | Iterable[int]) -> np.ndarray:
    """Where each row of a ragged table begins, (rows + 1,) int64, from the rows' lengths (rows,)."""
    lengths = lengths if isinstance(lengths, np.ndarray) else np.fromiter(lengths, dtype=np.int64)
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])


def row_of(start: np.ndarray) -> np.ndarray:
    """The row (N,) that each value of a ragged table belongs to."""
    return np.repeat(np.arange(len(start) - 1), np.diff(start))


def ragged_rows(table: T, rows: np.ndarray) -> T:
    """Some rows (M,) of a ragged table, in their order."""
    start, *values = columns(table)
    lengths = np.diff(start)[rows]
    fresh = starts(lengths)
    places = np.repeat(start[rows] - fresh[:-1], lengths) + np.arange(fresh[-1])
    return type(table)(fresh, *(column[places] for column in values))


def ragged_joined(tables: Sequence[T]) -> T:
    """One ragged table below the other; at least one."""
    parts = [columns(table) for table in tables]
    start = starts(np.concatenate([np.diff(part[0]) for part in parts]))
    values = (np.concatenate(each) for each in zip(*(part[1:] for part in parts), strict=True))
    return type(tables[0])(start, *values)
