"""The ways to a plan, by name: the exact solver, and the searchers and the conic solver that it is compared with."""

from __future__ import annotations

from typing import Literal, get_args

from server.errors import ConfigError
from server.plan.problem import Problem

Method = Literal["exact", "ce", "ga", "gradient", "cvxpy"]
METHODS: tuple[Method, ...] = get_args(Method)


def refuse_method(problem: Problem, method: str, evaluations: int | None) -> None:
    """Raises `ConfigError` where a method cannot be had, or not for this problem."""
    if method not in METHODS:
        raise ConfigError(f"method: {method!r} is none of {', '.join(METHODS)}")
    if method != "exact":
        raise ConfigError(f"method: {method!r} is not there yet; leave it out, or take 'exact'")
    if evaluations is not None:
        raise ConfigError("evaluations: only methods that search count them; leave them out with method 'exact'")
    if len(problem.devices.levels.watts):
        raise ConfigError(
            "radio.levels_w: discrete power levels are not planned yet; leave them out and state tx_power_max_w"
        )
