"""Devices that alone make a plan impossible, whatever the others do: they have nothing to train on, or no time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from server.plan.build import build_fleet
from server.plan.diagnosis import NoPlanError
from server.plan.problem import Problem
from server.plan.upload_step import least_upload_s
from server.plan.validate import validate


def without_infeasible(problem: Problem) -> tuple[Problem, dict[str, str]]:
    """The problem without such devices, and why each is left out, by id; raises `NoPlanError` where none remains."""
    validate(problem)
    fleet = build_fleet(problem)
    needed_s = fleet.epochs * fleet.local * fleet.tau_min_s + least_upload_s(fleet)
    empty, late = fleet.most == 0, needed_s > fleet.round_s
    out = {fleet.ids[i]: "no samples to train on" for i in np.flatnonzero(empty).tolist()}
    for i in np.flatnonzero(late & ~empty).tolist():
        out[fleet.ids[i]] = f"needs {needed_s[i]:.6g} s of a round of {fleet.round_s:.6g} s"
    stays = np.flatnonzero(~(empty | late))
    if not len(stays):
        ids = tuple(out)
        raise NoPlanError(f"no device is left: {ids[0]}, for one, {out[ids[0]]}", "round_s", ids, None)
    if not out:
        return problem, out
    return replace(problem, devices=problem.devices.take(stays)), out
