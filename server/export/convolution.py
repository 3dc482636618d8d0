"""Convolutions and their gradients: 3x3 of many channels by `winograd`, others by patches. Filters are (K, C, O)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from server.export import winograd as w
from server.export.graph import Graph, Tensor
from server.export.rows import Rows, in_order, picked

LEAST_CHANNELS = 8
"""Of an input, from which on tiles pay."""


MOST_HELD = 1024
"""Of an image's tiles times channels: more of them are made again for the filter's gradient, and not held meanwhile.

They are 36 numbers each where the pixels that they come from, which are held anyway, are 16."""


@dataclass(frozen=True)
class Convolved:
    """`out` without bias; `back(d, wanted)`: from its gradient, rows as its own, that of the filter and, if wanted, the
    input's."""

    out: Rows
    back: Callable[[Tensor, bool], tuple[Tensor, Tensor | None]]


def convolve(
    graph: Graph,
    x: Rows,
    filters: Tensor,
    *,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    pooled: bool,
) -> Convolved:
    """filters (kh * kw, C, O). `pooled`: a pool of 2x2 comes next, rows may come in the order that suits it."""
    tiled = kernel == (3, 3) and stride == (1, 1) and padding == (1, 1) and x.channels >= LEAST_CHANNELS
    if tiled and min(x.size) >= 3:
        return by_tiles(graph, x, filters, pooled=pooled)
    return by_patches(graph, x, filters, kernel=kernel, stride=stride, padding=padding)


# ---- Winograd's ----------------------------------------------------------------------------------------------------


def by_tiles(graph: Graph, x: Rows, filters: Tensor, *, pooled: bool) -> Convolved:
    """See `winograd`. All three products use the same two stacks: the input's tiles, and the gradient's."""
    height, width = x.size
    order = w.POOLED if pooled and height % 2 == width % 2 == 0 else w.PLAIN
    c, o = filters.shape[1:]
    read = w.READ_2D[order]
    seen = _seen(graph, x)
    tiles = -seen.shape[1]
    out = _read(graph, graph.matmul(seen, _at_points(graph, filters, w.FILTER_2D)), read, tiles)
    rows = Rows(out, w.output_rows(height, width, order))

    def back(d: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        spread = graph.matmul(graph.constant(read.T), graph.reshape(d, (16, -tiles * o)))
        held = _seen(graph, x) if tiles * c > MOST_HELD else seen
        products = graph.matmul(held, graph.reshape(spread, (36, -tiles, o)), turn_a=True)  # (36, C, O)
        of_filter = graph.matmul(graph.constant(w.FILTER_2D.T), graph.reshape(products, (36, c * o)))
        of_filter = graph.reshape(of_filter, (9, c, o))
        if not wanted:
            return of_filter, None
        turned = _at_points(graph, filters, w.FILTER_2D[:, ::-1])  # the filter turned by half
        looked = _seen(graph, Rows(d, rows.row))
        of_input = _read(graph, graph.matmul(looked, turned, turn_b=True), w.READ_2D, tiles)
        return of_filter, in_order(graph, of_input, w.output_rows(height, width, w.PLAIN), x)

    return Convolved(rows, back)


def _seen(graph: Graph, x: Rows) -> Tensor:
    """(36, tiles * batch, C): tiles at the points."""
    numbers = w.tile_rows(x.row, x.n_rows)
    tiles = numbers.shape[1]
    pixels = picked(graph, x.tensor, numbers)  # (36, tiles, batch, C)
    looked = graph.matmul(graph.constant(w.LOOK_2D), graph.reshape(pixels, (36, -tiles * x.channels)))
    return graph.reshape(looked, (36, -tiles, x.channels))


def _at_points(graph: Graph, filters: Tensor, matrix: np.ndarray) -> Tensor:
    """(36, C, O): filters at the points."""
    k, c, o = filters.shape
    return graph.reshape(graph.matmul(graph.constant(matrix), graph.reshape(filters, (k, c * o))), (36, c, o))


def _read(graph: Graph, products: Tensor, read: np.ndarray, tiles: int) -> Tensor:
    """(36, tiles * batch, O) -> (16 * tiles, batch, O)."""
    o = products.shape[2]
    out = graph.matmul(graph.constant(read), graph.reshape(products, (36, -tiles * o)))
    return graph.reshape(out, (16 * tiles, -1, o))


# ---- by patches ----------------------------------------------------------------------------------------------------


def by_patches(
    graph: Graph,
    x: Rows,
    filters: Tensor,
    *,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Convolved:
    """One product of all patches with all filters."""
    numbers = patch_rows(x.row, x.n_rows, kernel, stride, padding)  # (oh, ow, K)
    oh, ow, k = numbers.shape
    c, o = filters.shape[1:]
    patches = picked(graph, x.tensor, numbers.reshape(oh * ow, k))  # (P, K, batch, C)
    flat = graph.reshape(graph.transpose(patches, (0, 2, 1, 3)), (-oh * ow, k * c))
    matrix = graph.reshape(filters, (k * c, o))
    out = graph.reshape(graph.matmul(flat, matrix), (oh * ow, -1, o))
    rows = Rows(out, np.arange(oh * ow).reshape(oh, ow))

    def back(d: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        even = graph.reshape(d, (-oh * ow, o))
        of_filter = graph.reshape(graph.matmul(flat, even, turn_a=True), (k, c, o))
        if not wanted:
            return of_filter, None
        of_patches = graph.reshape(graph.matmul(even, matrix, turn_b=True), (oh * ow, -1, k, c))
        parts = graph.reshape(graph.transpose(of_patches, (0, 2, 1, 3)), (oh * ow * k, -1, c))
        users = users_of(numbers.ravel(), x.n_rows)  # (rows, most)
        if users.shape[1] == 1:
            return of_filter, picked(graph, parts, users[:, 0])
        return of_filter, graph.sum(picked(graph, parts, users), (1,))

    return Convolved(rows, back)


def patch_rows(
    row: np.ndarray, nothing: int, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> np.ndarray:
    """row (H, W) -> (oh, ow, kh * kw): the rows that each patch sees, `nothing` beyond the edge."""
    padded = np.pad(row, [(own, own) for own in padding], constant_values=nothing)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel)[:: stride[0], :: stride[1]]
    return np.ascontiguousarray(windows).reshape(*windows.shape[:2], kernel[0] * kernel[1])


def users_of(numbers: np.ndarray, n_rows: int) -> np.ndarray:
    """numbers (M,): which row, up to n_rows (nothing), each place sees -> (n_rows, most): the places that see a row,
    M where there are fewer."""
    places = np.argsort(numbers, kind="stable")
    places = places[numbers[places] < n_rows]
    own = numbers[places]
    rank = np.arange(len(own)) - np.searchsorted(own, own)
    users = np.full((n_rows, int(rank.max(initial=0)) + 1), len(numbers))
    users[own, rank] = places
    return users
