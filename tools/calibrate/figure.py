"""The fit over the points: watts, seconds and joules over the clock, the cheapest one and the flat range marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from firmware_profiles.calibrated import Calibration
from tools.calibrate.errors import CalibrateError
from tools.calibrate.models import arrays, curve_of
from tools.calibrate.optimum import best_freq_hz, best_freq_model_hz, flat_range_hz, joules_at

BOARD, ADDED, LAW, TABLE, FLAT = "#c2410c", "#2f6fb5", "#3c4650", "#8b7bb8", "#1a9a6c"
RC: Any = {"font.size": 9.5, "axes.titlesize": 10.5, "axes.titlelocation": "left", "axes.spines.top": False,
            "axes.spines.right": False, "axes.axisbelow": True, "legend.frameon": False}  # fmt: skip


@dataclass(frozen=True)
class Curves:
    """Both models on a grid of clocks (K,): seconds and joules a sample."""

    freq_hz: np.ndarray
    law: tuple[np.ndarray, np.ndarray]
    table: tuple[np.ndarray, np.ndarray]


def draw(calibration: Calibration, name: str) -> Figure:
    """Watts, seconds, joules; joules above the idle floor too where the floor is known."""
    law, opps = calibration.law, calibration.opp
    freq_hz, tau_s, joules = arrays(opps)
    grid_hz = np.linspace(law.freq_min_hz, law.freq_max_hz, 300)
    law_s, law_j = curve_of("law", opps, law)(grid_hz)
    table_s, table_j = curve_of("table", opps, law)(grid_hz)
    seconds = [opp.s_uncertainty for opp in opps]
    watts = [opp.w_uncertainty for opp in opps]
    curves = Curves(grid_hz, (law_s, law_j), (table_s, table_j))
    known = calibration.idle_w is not None
    with mpl.rc_context(RC):
        figure = Figure(figsize=(11.5, 7.2) if known else (11.5, 6.6), dpi=110, layout="constrained")
        top, bottom = np.ravel(figure.subfigures(2, 1, squeeze=False, height_ratios=(4, 5)))
        power_ax, time_ax = top.subplots(1, 2)
        energy_axes = bottom.subplots(1, 1 + known, squeeze=False)[0]
        _points(power_ax, freq_hz, joules / tau_s, watts, BOARD)
        _curves(power_ax, grid_hz, law_j / law_s, table_j / table_s)
        _points(time_ax, freq_hz, tau_s, seconds, BOARD)
        _curves(time_ax, grid_hz, law_s, table_s)
        _joules(energy_axes[0], calibration, curves, 0.0, BOARD)
        if calibration.idle_w is not None:
            power_ax.axhline(calibration.idle_w, color=ADDED, linewidth=1, linestyle=":")
            power_ax.annotate("idle", (freq_hz[-1] / 1e6, calibration.idle_w), (0, 3), textcoords="offset points",
                              ha="right", color=ADDED)  # fmt: skip
            _joules(energy_axes[1], calibration, curves, calibration.idle_w, ADDED)
        fit = calibration.fit
        power_ax.set_title(f"W while training (law: {fit.law.power_mape:.1%} off)")
        time_ax.set_title(f"s a sample (law: {fit.law.time_mape:.1%} off)")
        time_ax.set_ylim(bottom=0)
        power_ax.set_ylim(bottom=0)
        for ax in (power_ax, time_ax, *energy_axes):
            ax.set_xlabel("MHz")
            ax.grid(alpha=0.18)
        figure.suptitle(_title(calibration, name), x=0.005, ha="left", fontsize=10.5)
    return figure


def save(figure: Figure, path: Path) -> None:
    """As a PNG; raises CalibrateError where the file cannot be written."""
    canvas = FigureCanvasAgg(figure)
    try:
        with mpl.rc_context(RC):
            canvas.print_png(path, metadata={"Software": None})
    except OSError as error:
        raise CalibrateError(f"{path}: {error.strerror}; give --png a path that can be written") from None


def _title(calibration: Calibration, name: str) -> str:
    origin, held = calibration.origin, calibration.fit.held_out
    cores = f"{calibration.cores} core{'s' * (calibration.cores > 1)}" if calibration.cores else None
    about = [name, origin.board, origin.network, cores]
    return (
        f"{', '.join(part for part in about if part)}\na clock left out is foretold by the {calibration.fit.model}"
        f" within {held.energy_mape:.1%} of its joules (worst {held.energy_worst:.1%})"
    )


def _joules(ax: Axes, calibration: Calibration, curves: Curves, idle_w: float, colour: str) -> None:
    """Joules a sample above `idle_w` (0: of the whole board), what is cheapest, and what is as good."""
    opps = calibration.opp
    freq_hz, _, joules = arrays(opps)
    shown = joules_at(opps, idle_w)
    flat, best, model_hz = (
        flat_range_hz(opps, idle_w), best_freq_hz(opps, idle_w), best_freq_model_hz(calibration.law, idle_w),
    )  # fmt: skip
    ax.axvspan(flat[0] / 1e6, flat[-1] / 1e6, color=FLAT, alpha=0.13, linewidth=0)
    bars = [opp.j_uncertainty for opp in opps]
    reach = 2 * np.array([one or 0.0 for one in bars]) * joules
    _points(ax, freq_hz, joules, bars, colour, label="as measured", shift=shown - joules)
    law_j, table_j = (tau_s * (-idle_w) + curve_j for tau_s, curve_j in (curves.law, curves.table))
    _curves(ax, curves.freq_hz, law_j, table_j, labels=True)
    at_s, at_j = curve_of("law", calibration.opp, calibration.law)(np.array([model_hz]))
    label = f"curve's least, {model_hz / 1e6:.0f} MHz"
    ax.plot(model_hz / 1e6, at_j[0] - idle_w * at_s[0], "v", color=LAW, markersize=7, label=label)
    ax.plot(best / 1e6, shown.min(), "o", markersize=13, markerfacecolor="none", markeredgecolor=FLAT,
            markeredgewidth=2, linestyle="none", label=f"cheapest, {best / 1e6:g} MHz")  # fmt: skip
    low, high = float(min((shown - reach).min(), law_j.min())), float(max((shown + reach).max(), law_j.max()))
    ax.set_ylim(low - 0.12 * (high - low), high + 0.55 * (high - low))
    within = f"{flat[0] / 1e6:g} to {flat[-1] / 1e6:g}" if len(flat) > 1 else f"{flat[0] / 1e6:g}"
    basis = f"above {idle_w:.3g} W idle" if idle_w else "of the whole board"
    ax.set_title(f"J a sample {basis} (within 1 %: {within} MHz)")
    ax.legend(loc="upper left", ncols=2, fontsize=8.5)


def _points(
    ax: Axes,
    freq_hz: np.ndarray,
    values: np.ndarray,
    uncertainty: Sequence[float | None],
    colour: str,
    label: str | None = None,
    shift: np.ndarray | float = 0.0,
) -> None:
    """Points with twice their standard uncertainty, which is that of `values`; drawn `shift` above them."""
    bars = np.array([2 * (one or 0.0) for one in uncertainty]) * values
    ax.errorbar(
        freq_hz / 1e6, values + shift, yerr=bars if bars.any() else None, fmt="o", color=colour, markersize=5,
        capsize=2, linewidth=1, label=label,
    )  # fmt: skip


def _curves(ax: Axes, grid_hz: np.ndarray, law: np.ndarray, table: np.ndarray, labels: bool = False) -> None:
    ax.plot(grid_hz / 1e6, table, color=TABLE, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1,
            label="table" if labels else None)  # fmt: skip
    ax.plot(grid_hz / 1e6, law, color=LAW, linewidth=1.6, zorder=1, label="law" if labels else None)
