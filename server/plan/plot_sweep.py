"""A sweep as a picture: the frontier of energy over error, or over latency."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from server.plan.plan_text import counted, number
from server.plan.plot import COMPUTE, SLACK, UPLOAD
from server.plan.problem import Problem
from server.plan.sweep import Range, SweepPoint
from server.report.drawing import INK, RC, new_figure

LABELS = {"target-error": "Mean error that is allowed", "round-s": "Seconds for a round"}
TITLES = {"target-error": "Energy over error", "round-s": "Energy over latency"}


def draw_sweep(problem: Problem, over: Range, points: Sequence[SweepPoint]) -> Figure:
    """Joules of computing and uploading as executed, the lower bound as a line; hatched where there is no plan."""
    x = np.array([point.value for point in points])
    executed, bound, upload = (
        np.array([getattr(point, name) for point in points])
        for name in ("executed_energy_j", "lower_bound_j", "upload_j")
    )
    possible = np.isfinite(executed)
    with mpl.rc_context(RC):
        figure, (ax,) = new_figure(7.6, 4.4)
        ax.fill_between(x, upload, color=UPLOAD, alpha=0.75, linewidth=0, label="upload")
        ax.fill_between(x, upload, executed, color=COMPUTE, alpha=0.75, linewidth=0, label="compute")
        ax.plot(x, executed, "o", color=INK, markersize=3.5, label="as executed")
        ax.plot(x, bound, color=INK, linewidth=1.0, label="lower bound")
        if not possible.all():
            edge = float(x[~possible].max())  # somewhere between it and the next value plans begin
            ax.axvspan(float(x[0]), edge, fc=SLACK, ec="#b6bec8", hatch="//", linewidth=0, label="no plan")
        ax.set_ylim(bottom=0)
        ax.set_xlim(float(x[0]), float(x[-1]))
        ax.set_xlabel(LABELS[over.axis])
        ax.set_ylabel(f"Joules a round, {problem.energy_basis}")
        ax.legend(loc="upper right", fontsize=9)
        ax.set_title(f"{TITLES[over.axis]}: {counted(len(problem.devices))}, {_held(problem, over)}")
    return figure


def _held(problem: Problem, over: Range) -> str:
    """What is the same all along."""
    if over.axis == "target-error":
        return f"rounds of {number(problem.round_s)} s"
    return "local data only" if problem.target_error is None else f"mean error at most {number(problem.target_error)}"
