"""How PyTorch's graph of a network says what an operation is given."""

from __future__ import annotations

from typing import Any

from torch import fx


def given(node: fx.Node, n: int, defaults: list[Any]) -> list[Any]:
    """The n first arguments, the last of them as PyTorch has them where they are left out."""
    there: list[Any] = list(node.args)
    return there + defaults[len(defaults) - (n - len(there)) :] if len(there) < n else there[:n]


def pair(value: Any) -> tuple[int, int]:
    """One number for both sides of a window, or two."""
    own = list(value) if isinstance(value, (list, tuple)) else [value]
    return (int(own[0]), int(own[-1]))


def only_user(node: fx.Node, target: str) -> fx.Node | None:
    """What alone uses the node, if it is this operation."""
    users = list(node.users)
    return users[0] if len(users) == 1 and str(users[0].target) == target else None
