from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.data.partition import draw_groups, label_counts, partition
from server.errors import DataError

LABELS = np.repeat(np.arange(5), 12)  # 60 samples, 5 classes of 12


def check(parts: list[np.ndarray], n_samples: int, n_devices: int) -> None:
    assert len(parts) == n_devices
    assert min(len(part) for part in parts) >= 1
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(n_samples))


labels_st = st.lists(st.integers(0, 6), min_size=12, max_size=120).map(np.array)


@settings(deadline=None, max_examples=60)
@given(
    labels=labels_st,
    n_devices=st.integers(1, 6),
    seed=st.integers(0, 2**32),
    scheme=st.sampled_from(["iid", "dirichlet"]),
    alpha=st.sampled_from([5e-324, 1e-3, 0.05, 0.4, 10.0, 1e6, 1e308]),
)
def test_every_sample_once_and_nobody_empty(labels, n_devices, seed, scheme, alpha) -> None:
    parts = partition(labels, n_devices, scheme=scheme, seed=seed, alpha=alpha)
    check(parts, len(labels), n_devices)
    if scheme == "iid":
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@settings(deadline=None, max_examples=60)
@given(n_devices=st.integers(1, 8), per_device=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_shards_give_each_device_its_number_of_classes(n_devices: int, per_device: int, seed: int) -> None:
    if n_devices * per_device < 5:
        with pytest.raises(DataError, match="cannot hold 5 classes"):
            partition(LABELS, n_devices, scheme="shards", seed=seed, classes_per_device=per_device)
        return
    parts = partition(LABELS, n_devices, scheme="shards", seed=seed, classes_per_device=per_device)
    check(parts, 60, n_devices)
    assert all(len(np.unique(LABELS[part])) == per_device for part in parts)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), n_devices=st.integers(1, 10))
def test_groups_stay_whole(seed: int, n_devices: int) -> None:
    groups = np.arange(60) // 4  # 15 groups of 4
    parts = partition(LABELS, n_devices, scheme="groups", seed=seed, groups=groups)
    check(parts, 60, n_devices)
    owners = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, owners)) == 15
    assert max(map(len, parts)) - min(map(len, parts)) <= 4


def test_the_seed_decides() -> None:
    one, again, other = (partition(LABELS, 3, scheme="dirichlet", seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("seed", range(10))
def test_a_device_that_gets_nothing_is_given_one_of_the_largest(seed: int) -> None:
    labels = np.repeat(np.arange(3), 8)
    check(partition(labels, 6, scheme="dirichlet", seed=seed, alpha=1e-6), 24, 6)


def test_alpha_goes_from_one_class_a_device_to_even_shares() -> None:
    labels = np.repeat(np.arange(4), 250)
    skewed = partition(labels, 4, scheme="dirichlet", seed=0, alpha=0.01)
    even = partition(labels, 4, scheme="dirichlet", seed=0, alpha=1e308)
    assert np.mean([label_counts(labels[part], 4).max() / len(part) for part in skewed]) > 0.7
    assert all(label_counts(labels[part], 4).max() < 100 for part in even)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"n_devices": 0}, "at least one is needed"),
        ({"n_devices": 61}, "60 samples are too few for 61 devices"),
        ({"scheme": "dirichlet", "alpha": 0.0}, "alpha is 0.0"),
        ({"scheme": "dirichlet", "alpha": float("nan")}, "alpha is nan"),
        ({"scheme": "shards", "classes_per_device": 6}, "the data have 5 classes"),
        ({"scheme": "groups"}, "needs a data set with groups"),
        ({"scheme": "groups", "groups": np.zeros(60)}, "1 groups cannot be dealt to 3 devices"),
        ({"scheme": "random"}, "known: iid, dirichlet, shards, groups"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(changed: dict, words: str) -> None:
    settings_ = {"n_devices": 3, "scheme": "iid", "seed": 0} | changed
    n_devices = settings_.pop("n_devices")
    with pytest.raises(DataError, match=words):
        partition(LABELS, n_devices, **settings_)


def test_drawn_groups_are_whole_and_enough() -> None:
    groups = np.arange(60) // 7  # eight of 7, one of 4
    for seed in range(5):
        chosen = draw_groups(groups, 20, 1, seed=seed)
        assert 20 <= len(chosen) < 27
        assert np.array_equal(chosen, np.flatnonzero(np.isin(groups, groups[chosen])))
    assert len(draw_groups(groups, 60, 1, seed=0)) == 60
    assert len(np.unique(groups[draw_groups(groups, 5, 6, seed=0)])) == 6  # one for each of six devices
    with pytest.raises(DataError, match="61 samples are asked for, 60 are there"):
        draw_groups(groups, 61, 1, seed=0)
