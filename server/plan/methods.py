"""The ways to a plan, by name: the exact solver, and the searchers and the conic solver that it is compared with."""

from __future__ import annotations

from typing import Literal, get_args

from server.errors import ConfigError
from server.plan.device_step import Points
from server.plan.dual import Dual
from server.plan.fleet import Fleet

Method = Literal["exact", "ce", "ga", "gradient", "cvxpy"]
METHODS: tuple[Method, ...] = get_args(Method)


def find(fleet: Fleet, dual: Dual, method: Method, evaluations: int | None) -> Points:
    """What the method has the devices do, before repair; `dual` is the exact solver's answer, which comes anyway."""
    if fleet.links.levels_w is not None:
        raise ConfigError("radio.levels_w: discrete power levels are not planned yet; state tx_power_max_w instead")
    if method != "exact":
        raise ConfigError(f"method {method!r} is not there yet; leave it out, or take 'exact'")
    if evaluations is not None:
        raise ConfigError("evaluations are for methods that search; leave them out with method 'exact'")
    return dual.step.points
