"""Whether a generator gives away what it was trained on: samples nearer to one public image than chance has it.

A sample's ratio is the distance to its nearest public image over the mean distance to its K nearest (after Carlini et
al., arXiv 2301.13188): near 1 in the midst of the data, small where one image is much nearer than all others. Dense
places need no threshold of their own. A public image is as near as that of its views is, mirrored and moved as training
showed it: a copy of any of them counts. What is small is said by real images that nobody trained on: a near-copy is a
sample whose ratio lies below that of all but a stated share of these, the rate of false alarms. Half of the held-out
images set the threshold, the other half show what rate it really has; copies planted on purpose show what it finds.
Where held-out images repeat public ones themselves (CIFAR-10's test part does), thresholds of small rates are those of
repetitions: look at the larger rates, too. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.errors import DataError
from server.synth.assess.neighbours import Views, nearest

K = 50
RATES = (0.001, 0.01, 0.05)


@dataclass(frozen=True)
class Nearness:
    """(N,) each: distance to the nearest public row, that over the mean of the K nearest, and which row it is."""

    distance: np.ndarray
    ratio: np.ndarray
    index: np.ndarray


@dataclass(frozen=True)
class CopyShare:
    """Shares in 0..1 below the `threshold` that `rate` of the calibrating held-out images lie under.

    `made` is the answer, `held_out` what `images` real ones give that nobody trained on, `planted` what is found of
    real copies.
    """

    rate: float
    threshold: float
    made: float
    held_out: float
    planted: float
    images: int


def nearness(rows: np.ndarray, public: Views) -> Nearness:
    """Rows (N, D) against views of the public ones (M, D), M at least 2."""
    distances, indices = nearest(rows, public, K)
    if distances.shape[1] < 2:
        raise DataError("near-copies cannot be told with fewer than two public images")
    mean = distances.mean(axis=1)
    ratio = np.divide(distances[:, 0], mean, out=np.zeros(len(rows)), where=mean > 0)  # all K equal it: a copy
    return Nearness(distances[:, 0], ratio, indices[:, 0])


def copy_threshold(held_out: np.ndarray, rate: float) -> float:
    """The largest ratio that at most a share `rate` of `held_out` lies below; with few of them, their least."""
    return float(np.sort(held_out)[int(rate * len(held_out))])


def copy_shares(
    made: np.ndarray, calibrating: np.ndarray, checking: np.ndarray, planted: np.ndarray
) -> tuple[CopyShare, ...]:
    """For each of RATES; all four are ratios."""
    shares = []
    for rate in RATES:
        threshold = copy_threshold(calibrating, rate)
        made_below, held_out_below, planted_below = (float((v < threshold).mean()) for v in (made, checking, planted))
        shares.append(CopyShare(rate, threshold, made_below, held_out_below, planted_below, len(checking)))
    return tuple(shares)


def views(images: np.ndarray, *, mirror: bool, shift: int) -> Iterator[np.ndarray]:
    """(N, H, W, C): the images as they are first, then as training may have shown them (see `augment.augmented`)."""
    height, width = images.shape[1:3]
    moves = sorted(range(-shift, shift + 1), key=abs)
    for own in (images, images[:, :, ::-1]) if mirror else (images,):
        wide = np.pad(own, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
        for dy in moves:
            for dx in moves:
                yield wide[:, shift + dy : shift + dy + height, shift + dx : shift + dx + width]


def pixels(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) uint8 -> rows (N, H W C) float32 in 0..1."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255.0)


def planted_copies(
    public: np.ndarray, *, mirror: bool, shift: int, grey: float = 8.0, n: int = 500, seed: int = 0
) -> np.ndarray:
    """At most `n` of the public images, each in a view that training may have shown, with noise of `grey` grey levels:
    what a copying generator would give."""
    rng = np.random.default_rng(seed)
    own = public[rng.permutation(len(public))[:n]]
    seen = np.stack(list(views(own, mirror=mirror, shift=shift)))
    seen = seen[rng.integers(len(seen), size=len(own)), np.arange(len(own))]
    return (seen + rng.normal(0.0, grey, own.shape)).clip(0, 255).round().astype(np.uint8)
