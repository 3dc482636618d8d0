"""The picture of tools/bench_search.py: gap over candidates, a faint line for each fleet, the median strong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tools.bench_search import Row

COLOURS = {
    "ce, plain": "#9a9a9a", "ce, unsmoothed": "#8b6bb8", "ga": "#d97706", "ce": "#2f6fb5", "gradient": "#1a9a6c",
}  # fmt: skip
_FLOOR = 1e-9  # what the sub-problems may leave unused: nothing below can be told apart


def draw(rows: list[Row], path: Path) -> None:
    """One panel for each size of fleet."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sizes = sorted({row.devices for row in rows})
    figure = Figure(figsize=(9.0, 4.0), dpi=110, layout="constrained")
    axes = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
    for axis, devices in zip(axes, sizes, strict=True):
        for method, colour in COLOURS.items():
            own = [row for row in rows if row.devices == devices and row.method == method]
            if own:
                _lines(axis, own, colour, method)
        fleets = len({row.seed for row in rows if row.devices == devices})
        axis.set_title(f"{fleets} fleets of {devices} devices", loc="left", fontsize=10)
        axis.set_xlabel("candidates")
        axis.set_ylim(bottom=0.6 * _FLOOR)
        axis.grid(alpha=0.2)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("best so far above the lower bound, relative")
    axes[0].legend(frameon=False, fontsize=9, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)


def _lines(axis: object, rows: list[Row], colour: str, name: str) -> None:
    """Each fleet's way, and their median from where all have found something on."""
    at = np.geomspace(1, max(row.asked for row in rows), 300)
    gaps = np.array([_gap_at(row, at) for row in rows])
    for gap in gaps:
        axis.loglog(at, gap, color=colour, linewidth=0.6, alpha=0.25)  # type: ignore[attr-defined]
    middle = np.median(np.where(np.isnan(gaps), np.inf, gaps), axis=0)  # a fleet without any lies above all
    axis.loglog(  # type: ignore[attr-defined]
        at, np.where(np.isfinite(middle), middle, np.nan), color=colour, linewidth=2.0, label=name
    )


def _gap_at(row: Row, at: np.ndarray) -> np.ndarray:
    """The gap reached within so many candidates, at least `_FLOOR`; NaN before the first plan that keeps everything."""
    if not row.history:
        return np.full(len(at), np.nan)
    spent, best_j = (np.array(column, dtype=float) for column in zip(*row.history, strict=True))
    place = np.searchsorted(spent, at + 1e-9, side="right") - 1
    gap = np.maximum(best_j / row.bound_j - 1.0, _FLOOR)
    return np.where(place >= 0, gap[np.maximum(place, 0)], np.nan)
