"""What is known of the licences of the images: what cards say, and whether a figure may show any of them."""

from __future__ import annotations

_FREE = {"fashion-mnist": "MIT", "fashion-mnist-full": "MIT"}
_WITHOUT = frozenset({"cifar10", "gtsrb"})


def licence_of(dataset_name: str) -> str:
    """For cards; of a user's own data nothing is known."""
    if dataset_name in _WITHOUT:
        return "none: its authors state no licence for the images"
    return _FREE.get(dataset_name, "not known")


def may_be_shown(dataset_name: str) -> bool:
    """Whether files that go elsewhere may hold its images."""
    return dataset_name in _FREE
