"""The ways to a plan, by name: the exact solver, and the searchers and the conic solver that it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from server.errors import ConfigError
from server.plan.device_step import Points
from server.plan.fleet import Fleet
from server.plan.problem import Problem
from server.plan.search import METHODS as SEARCHERS
from server.plan.search import default_evaluations, refuse_for_cvxpy, refuse_for_search, search, solve_cvxpy
from server.plan.search.levels import REFUSED

Method = Literal["exact", "ce", "ga", "gradient", "cvxpy"]
METHODS: tuple[Method, ...] = get_args(Method)
Report = Callable[[int, int, float], None]
"""Told after each generation: candidates so far, how many there may be, the best joules so far."""


def refuse_method(problem: Problem, method: str, evaluations: int | None) -> None:
    """Raises `ConfigError` where a method cannot be had, or not for this problem, before anything is solved."""
    if method not in METHODS:
        raise ConfigError(f"method: {method!r} is none of {', '.join(METHODS)}")
    if evaluations is not None and method not in SEARCHERS:
        raise ConfigError(f"evaluations: only methods that search count them; leave them out with method {method!r}")
    if evaluations is not None and evaluations < 1:
        raise ConfigError(f"evaluations: {evaluations} is not a whole number above 0")
    if method != "exact" and len(problem.devices.levels.watts):
        raise ConfigError(REFUSED)
    if method == "cvxpy":
        refuse_for_cvxpy(len(problem.devices))
    if method in SEARCHERS:
        refuse_for_search(len(problem.devices))


def find(fleet: Fleet, method: Method, evaluations: int | None, seed: int, report: Report | None) -> Points:
    """What a method other than "exact" has the devices do. A Ctrl-C ends a search with the best found so far."""
    if method == "cvxpy":
        return solve_cvxpy(fleet)
    count = default_evaluations(len(fleet)) if evaluations is None else evaluations

    def told(spent: int, best_j: float) -> None:
        if report is not None:
            report(spent, count, best_j)

    return search(fleet, method, evaluations=count, seed=seed, report=told).points
