"""Dealing training samples out to devices: IID, Dirichlet over classes, k classes a device, or whole groups. Pure.

Every scheme is seeded, uses each sample exactly once and leaves no device empty; where that cannot be, it says why.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from server.errors import DataError

Scheme = Literal["iid", "dirichlet", "shards", "groups"]


def partition(
    labels: np.ndarray,
    n_devices: int,
    *,
    scheme: Scheme,
    seed: int,
    alpha: float = 0.4,
    classes_per_device: int = 2,
    groups: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Labels (N,) -> one sorted array of indices per device.

    `alpha` belongs to "dirichlet", `classes_per_device` to "shards", `groups` (N,) to "groups". Sizes come out as
    drawn; a device that would get nothing gets one sample of the largest.
    """
    if n_devices < 1:
        raise DataError(f"there are {n_devices} devices to deal the data to; at least one is needed")
    if len(labels) < n_devices:
        raise DataError(f"{len(labels)} samples are too few for {n_devices} devices")
    rng = np.random.default_rng(seed)
    if scheme == "iid":
        parts = np.array_split(rng.permutation(len(labels)), n_devices)
    elif scheme == "dirichlet":
        if not 0.0 < alpha < np.inf:
            raise DataError(f"alpha is {alpha}; a Dirichlet distribution needs a positive number")
        parts = _dirichlet(labels, n_devices, alpha, rng)
    elif scheme == "shards":
        parts = _shards(labels, n_devices, classes_per_device, rng)
    elif scheme == "groups":
        if groups is None:
            raise DataError(
                "partition by groups needs a data set with groups (GTSRB tracks, or groups_train in an npz)"
            )
        parts = _groups(groups, n_devices, rng)
    else:
        raise DataError(f"no partition {scheme!r}; known: iid, dirichlet, shards, groups")
    _fill_up(parts, rng)  # with groups, nobody is without one
    return [np.sort(part) for part in parts]


def draw_groups(groups: np.ndarray, n_samples: int, n_groups: int, *, seed: int) -> np.ndarray:
    """Sorted indices (K,) of whole groups, drawn at random: as few as hold `n_samples`, but at least `n_groups`."""
    if not 0 < n_samples <= len(groups):
        raise DataError(f"{n_samples} samples are asked for, {len(groups)} are there")
    names, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), n_samples)) + 1
    return np.flatnonzero(np.isin(groups, names[order[: max(enough, n_groups)]]))


def label_counts(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """(N,) labels -> (n_classes,) int64 how often each occurs."""
    return np.bincount(labels, minlength=n_classes).astype(np.int64)


def _shares(alpha: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) non-negative, sum 1, from Dirichlet(alpha); past 1e9 the shares are even anyway, and sums would overflow."""
    return rng.dirichlet(np.full(n, min(alpha, 1e9)))


def _dirichlet(labels: np.ndarray, n_devices: int, alpha: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Each class is cut among the devices in shares of its own draw (Yurochkin et al., arXiv 1905.12022)."""
    parts: list[list[np.ndarray]] = [[] for _ in range(n_devices)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.rint(np.cumsum(_shares(alpha, n_devices, rng))[:-1] * len(members)).astype(np.int64)
        for part, piece in zip(parts, np.split(members, np.clip(cuts, 0, len(members))), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def _shards(labels: np.ndarray, n_devices: int, per_device: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`per_device` distinct classes for each device, every class equally often to within one, cut evenly."""
    classes = np.unique(labels)
    if not 1 <= per_device <= len(classes):
        raise DataError(f"classes_per_device is {per_device}; the data have {len(classes)} classes")
    if n_devices * per_device < len(classes):
        raise DataError(
            f"{n_devices} devices of {per_device} classes each cannot hold {len(classes)} classes; "
            f"set classes_per_device to {-(-len(classes) // n_devices)} or more"
        )
    used = np.zeros(len(classes), dtype=np.int64)
    holders: list[list[int]] = [[] for _ in classes]
    for device in range(n_devices):
        chosen = np.lexsort((rng.random(len(classes)), used))[:per_device]
        used[chosen] += 1
        for c in chosen:
            holders[c].append(device)
    parts: list[list[np.ndarray]] = [[] for _ in range(n_devices)]
    for c, label in enumerate(classes):
        members = rng.permutation(np.flatnonzero(labels == label))
        for device, piece in zip(holders[c], np.array_split(members, len(holders[c])), strict=True):
            parts[device].append(piece)
    return [np.concatenate(part) for part in parts]


def _groups(groups: np.ndarray, n_devices: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Whole groups, in random order, each to the device that has the fewest samples so far."""
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < n_devices:
        raise DataError(f"{len(names)} groups cannot be dealt to {n_devices} devices")
    held = np.zeros(n_devices, dtype=np.int64)
    owner = np.zeros(len(names), dtype=np.int64)
    for group in rng.permutation(len(names)):
        owner[group] = np.argmin(held)
        held[owner[group]] += sizes[group]
    return [np.flatnonzero(owner[inverse] == device) for device in range(n_devices)]


def _fill_up(parts: list[np.ndarray], rng: np.random.Generator) -> None:
    """Move a sample, at random, from the largest part to each that is empty."""
    for index, part in enumerate(parts):
        if not len(part):
            largest = max(range(len(parts)), key=lambda i: len(parts[i]))
            moved = rng.integers(len(parts[largest]))
            parts[index] = parts[largest][moved : moved + 1]
            parts[largest] = np.delete(parts[largest], moved)
