"""What each operation of a network becomes, forward and backward. One that is not here cannot be exported, by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import fx

from server.errors import ConfigError
from server.export.arguments import given, only_user, pair
from server.export.build import Build, Rule
from server.export.convolution import convolve
from server.export.graph import Graph, Tensor
from server.export.rows import Flat, Rows, in_order, picked


def convolution(build: Build, node: fx.Node) -> fx.Node:
    """With a ReLU and a pool of 2x2 after it, the pool goes first: largest, bias and ReLU may change places, and three
    quarters of the work fall away."""
    x, filters, bias, stride, padding, dilation, groups = given(node, 7, [None, [1, 1], [0, 0], [1, 1], 1])
    if pair(dilation) != (1, 1) or groups != 1 or isinstance(padding, str):
        raise ConfigError(f"cannot export {node}: convolutions with dilation, groups or padding by name")
    graph, weight = build.graph, build.weights[filters]
    kernel = tuple(filters.meta["val"].shape[2:])
    relu, pool = _followers(node)
    done = convolve(
        graph,
        build.rows(x),
        weight.tensor,
        kernel=kernel,
        stride=pair(stride),
        padding=pair(padding),
        pooled=pool is not None,
    )
    rows, pool_back = done.out, None
    if pool is not None:
        rows, pool_back = pooled(graph, rows, (2, 2))
    out = rows.tensor if bias is None else graph.add(rows.tensor, build.weights[bias].tensor)
    last = pool if pool is not None else node
    if pool is not None:
        out = graph.relu(out)
    build.values[last] = Rows(out, rows.row)

    def back(d: Tensor) -> None:
        if pool_back is not None:
            d = graph.mul(d, graph.positive(out))
        if bias is not None:
            build.weigh(build.weights[bias].name, graph.sum(d, (0, 1)))
        if pool_back is not None:
            d = pool_back(d)
        of_filter, of_input = done.back(d, build.wanted(x))
        build.weigh(weight.name, of_filter)
        if of_input is not None:
            build.flow(x, of_input)

    build.backs.append((last, back))
    assert relu is None or pool is not None
    return last


def relu(build: Build, node: fx.Node) -> fx.Node:
    [x] = given(node, 1, [])
    graph, value = build.graph, build.values[x]
    out = graph.relu(value.tensor)
    build.values[node] = Rows(out, value.row) if isinstance(value, Rows) else Flat(out)
    build.backs.append((node, lambda d: build.flow(x, graph.mul(d, graph.positive(out)))))
    return node


def max_pool(build: Build, node: fx.Node) -> fx.Node:
    x, kernel, stride, padding, dilation, ceil = given(node, 6, [[], [0, 0], [1, 1], False])
    size = pair(kernel)
    if (stride and pair(stride) != size) or pair(padding) != (0, 0) or pair(dilation) != (1, 1) or ceil:
        raise ConfigError(f"cannot export {node}: pools whose windows overlap, are padded or rounded up")
    rows, back = pooled(build.graph, build.rows(x), size)
    build.values[node] = rows
    build.backs.append((node, lambda d: build.flow(x, back(d))))
    return node


def pooled(graph: Graph, x: Rows, size: tuple[int, int]) -> tuple[Rows, Callable[[Tensor], Tensor]]:
    """The largest of each window. Where several are, each gets a part of the gradient: PyTorch gives it to the first,
    which differs only where the pixels around differ."""
    (height, width), k, c = x.size, size[0] * size[1], x.channels
    down, right = height // size[0], width // size[1]
    cut = x.row[: down * size[0], : right * size[1]].reshape(down, size[0], right, size[1])
    windows = cut.transpose(1, 3, 0, 2).reshape(k, down * right)
    by_block = _blocks(windows, x.n_rows)
    if by_block is None:
        seen, order, n = graph.gather(x.tensor, windows), np.arange(down * right), down * right
    else:
        seen, order, n = x.tensor, by_block, x.n_rows // k
    seen = graph.reshape(seen, (k, -n * c))
    parts = graph.split(seen, k)
    most = parts[0]
    for part in parts[1:]:
        most = graph.maximum(most, part)
    rows = Rows(graph.reshape(most, (n, -1, c)), order.reshape(down, right))

    def back(d: Tensor) -> Tensor:
        largest = graph.reached(seen, most)
        many = graph.matmul(graph.constant(np.ones((1, k))), largest)
        each = graph.mul(largest, graph.div(graph.reshape(d, (1, -n * c)), many))
        flowing = graph.reshape(each, (k * n, -1, c))
        if by_block is not None:
            return flowing
        numbers = np.full(x.n_rows, k * n)
        numbers[windows.ravel()] = np.arange(k * n)
        return picked(graph, flowing, numbers)

    return rows, back


def _blocks(windows: np.ndarray, n_rows: int) -> np.ndarray | None:
    """windows (k, P): if what they see lies in k equal blocks of rows, the same in each, the place in a block of each
    window (P,); else None."""
    k = len(windows)
    if n_rows % k:
        return None
    block = n_rows // k
    return windows[0] if np.array_equal(windows, windows[0] + block * np.arange(k)[:, None]) else None


def linear(build: Build, node: fx.Node) -> fx.Node:
    x, matrix, bias = given(node, 3, [None])
    graph, weight, vector = build.graph, build.weights[matrix], build.flat(x).tensor
    out = graph.matmul(vector, weight.tensor, turn_b=True)
    if bias is not None:
        out = graph.add(out, build.weights[bias].tensor)
    build.values[node] = Flat(out)

    def back(d: Tensor) -> None:
        build.weigh(weight.name, graph.matmul(d, vector, turn_a=True))
        if bias is not None:
            build.weigh(build.weights[bias].name, graph.sum(d, (0,)))
        if build.wanted(x):
            build.flow(x, graph.matmul(d, weight.tensor))

    build.backs.append((node, back))
    return node


def flatten(build: Build, node: fx.Node) -> fx.Node:
    """All but the batch, channels first, as PyTorch has it."""
    [x] = given(node, 1, [])
    value = build.values[x]
    if isinstance(value, Flat):
        if node.meta["val"].shape != x.meta["val"].shape:
            raise ConfigError(f"cannot export {node}: a view of a vector in another shape")
        build.values[node] = value
        build.backs.append((node, lambda d: build.flow(x, d)))
        return node
    n, features = tuple(node.meta["val"].shape), value.channels * value.row.size
    if len(n) != 2 or n[1] != features:
        raise ConfigError(f"cannot export {node}: a view that is not one vector an image")
    graph, pixels = build.graph, value.row.size
    plain = np.arange(pixels).reshape(value.row.shape)
    even = in_order(graph, value.tensor, value.row, Rows(value.tensor, plain)) if pixels == value.n_rows else None
    even = graph.gather(value.tensor, value.row.ravel()) if even is None else even
    build.values[node] = Flat(graph.reshape(graph.transpose(even, (1, 2, 0)), (-1, features)))

    def back(d: Tensor) -> None:
        by_row = graph.transpose(graph.reshape(d, (-1, value.channels, pixels)), (2, 0, 1))
        build.flow(x, in_order(graph, by_row, plain, value))

    build.backs.append((node, back))
    return node


def mean(build: Build, node: fx.Node) -> fx.Node:
    """Over all pixels of an image."""
    x, axes, keep = given(node, 3, [False])
    value = build.rows(x)
    if sorted(axis % 4 for axis in axes) != [2, 3] or keep:
        raise ConfigError(f"cannot export {node}: means other than over height and width")
    graph = build.graph
    share = np.zeros((1, value.n_rows))
    share[0, value.row.ravel()] = 1.0 / value.row.size
    flat = graph.reshape(value.tensor, (value.n_rows, -value.channels))
    build.values[node] = Flat(graph.reshape(graph.matmul(graph.constant(share), flat), (-1, value.channels)))

    def back(d: Tensor) -> None:
        spread = graph.matmul(graph.constant(share.T), graph.reshape(d, (1, -value.channels)))
        build.flow(x, graph.reshape(spread, (value.n_rows, -1, value.channels)))

    build.backs.append((node, back))
    return node


def add(build: Build, node: fx.Node) -> fx.Node:
    a, b = given(node, 2, [])
    if not isinstance(a, fx.Node) or not isinstance(b, fx.Node) or node.kwargs:
        raise ConfigError(f"cannot export {node}: sums of other things than two activations")
    if a.meta["val"].shape != b.meta["val"].shape:
        raise ConfigError(f"cannot export {node}: sums of activations of different shapes")
    one, two, graph = build.values[a], build.values[b], build.graph
    if isinstance(one, Rows) and isinstance(two, Rows):
        same = one.n_rows == two.n_rows and np.array_equal(one.row, two.row)
        other = two.tensor if same else in_order(graph, two.tensor, two.row, one)
        build.values[node] = Rows(graph.add(one.tensor, other), one.row)

        def back(d: Tensor) -> None:
            build.flow(a, d)
            build.flow(b, d if same else in_order(graph, d, one.row, two))

        build.backs.append((node, back))
        return node
    build.values[node] = Flat(graph.add(build.flat(a).tensor, build.flat(b).tensor))

    def back_flat(d: Tensor) -> None:
        build.flow(a, d)
        build.flow(b, d)

    build.backs.append((node, back_flat))
    return node


def group_norm(build: Build, node: fx.Node) -> fx.Node:
    """Wu and He, arXiv 1803.08494; y = w h + b with h = (x - mean) / sqrt(variance + eps) over a group's channels."""
    x, groups, scale, shift, eps = given(node, 5, [None, None, 1e-5])
    value, graph = build.rows(x), build.graph
    pixels, c = value.row.size, value.channels
    each, n = c // groups, pixels * (c // groups)
    plain = Rows(value.tensor, np.arange(pixels).reshape(value.row.shape))
    even = graph.gather(value.tensor, value.row.ravel()) if pixels != value.n_rows else value.tensor
    row = plain.row if pixels != value.n_rows else value.row

    def parts(t: Tensor) -> Tensor:
        return graph.reshape(t, (pixels, -1, groups, each))

    def averaged(t: Tensor) -> Tensor:
        return graph.div(graph.sum(t, (0, 3), keep=True), float(n))

    off = graph.sub(parts(even), averaged(parts(even)))
    deviation = graph.sqrt(graph.add(averaged(graph.mul(off, off)), eps))
    h = graph.reshape(graph.div(off, deviation), (pixels, -1, c))
    out = h if scale is None else graph.mul(h, build.weights[scale].tensor)
    out = out if shift is None else graph.add(out, build.weights[shift].tensor)
    build.values[node] = Rows(out, row)

    def back(d: Tensor) -> None:
        if scale is not None:
            build.weigh(build.weights[scale].name, graph.sum(graph.mul(d, h), (0, 1)))
            if shift is not None:
                build.weigh(build.weights[shift].name, graph.sum(d, (0, 1)))
            d = graph.mul(d, build.weights[scale].tensor)
        along = graph.mul(parts(h), averaged(graph.mul(parts(d), parts(h))))
        flowing = graph.div(graph.sub(graph.sub(parts(d), averaged(parts(d))), along), deviation)
        flowing = graph.reshape(flowing, (pixels, -1, c))
        build.flow(x, in_order(graph, flowing, row, value) if pixels != value.n_rows else flowing)

    build.backs.append((node, back))
    return node


RULES: dict[str, Rule] = {
    "aten.conv2d.default": convolution,
    "aten.relu.default": relu,
    "aten.relu_.default": relu,
    "aten.max_pool2d.default": max_pool,
    "aten.linear.default": linear,
    "aten.flatten.using_ints": flatten,
    "aten.view.default": flatten,
    "aten.reshape.default": flatten,
    "aten.mean.dim": mean,
    "aten.group_norm.default": group_norm,
    "aten.add.Tensor": add,
    "aten.add_.Tensor": add,
}


def _followers(node: fx.Node) -> tuple[fx.Node | None, fx.Node | None]:
    """The ReLU and the pool of 2x2 that alone follow a convolution, if both do."""
    after = only_user(node, "aten.relu.default") or only_user(node, "aten.relu_.default")
    pool = None if after is None else only_user(after, "aten.max_pool2d.default")
    if pool is None:
        return None, None
    _, kernel, stride, padding, dilation, ceil = given(pool, 6, [[], [0, 0], [1, 1], False])
    plain = pair(kernel) == (2, 2) and pair(stride or kernel) == (2, 2) and not ceil
    return (after, pool) if plain and pair(padding) == (0, 0) and pair(dilation) == (1, 1) else (None, None)
