"""A radio's picture: watts over the radiated power with the law through them, and joules a byte over the level."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from firmware_profiles.calibrated_radio import CalibratedRadio, RadioLevel
from tools.calibrate.figure import ADDED, BOARD, FLAT, LAW, RC
from tools.calibrate.radio_summary import law


def draw(radio: CalibratedRadio, name: str) -> Figure:
    """Watts and joules a byte; bars are twice the standard uncertainty."""
    with mpl.rc_context(RC):
        figure = Figure(figsize=(11.5, 4.6), dpi=110, layout="constrained")
        watts_ax, bytes_ax = figure.subplots(1, 2)
        levels = [one for one in radio.level if one.tx_power_w is not None]
        if levels:
            _watts(watts_ax, radio, levels)
            _bytes(bytes_ax, radio, levels)
        else:
            for ax in (watts_ax, bytes_ax):
                ax.text(0.5, 0.5, "no window says its transmit power", ha="center", transform=ax.transAxes)
        for ax in (watts_ax, bytes_ax):
            ax.set_xlabel("mW radiated")
            ax.grid(alpha=0.18)
        origin = radio.origin
        about = ", ".join(part for part in (name, origin.board, origin.interface) if part)
        figure.suptitle(f"{about}\n{_said(radio)}", x=0.005, ha="left", fontsize=10.5)
    return figure


def _said(radio: CalibratedRadio) -> str:
    if radio.no_efficiency is not None:
        return f"no efficiency can be told: {radio.no_efficiency}"
    held = radio.fit.held_out if radio.frame_energy_j is None else radio.fit.held_out_with_frames
    left = "" if held is None else f"; joules of a window left out: {held:.1%} off"
    within = radio.efficiency_uncertainty
    known = "" if within is None else f" (efficiency within {within:.1%})"
    return f"{law(radio)}{known}{left}"


def _watts(ax: Axes, radio: CalibratedRadio, levels: list[RadioLevel]) -> None:
    power_w = np.array([one.power_w for one in levels])
    bars = _bars([one.w_uncertainty for one in levels], power_w)
    _points(ax, levels, power_w, bars, BOARD, "as measured")
    slope = 0.0 if radio.amplifier_efficiency is None else 1.0 / radio.amplifier_efficiency
    if radio.frame_energy_j is None and radio.seconds == "duration":
        grid_w = np.linspace(0.0, 1.03 * float(_x(levels).max()), 50)
        ax.plot(1e3 * grid_w, radio.power_static_w + slope * grid_w, color=LAW, linewidth=1.6, zorder=1,
                label="law" if slope else "mean")  # fmt: skip
    else:  # frames, or pauses between them, put each level elsewhere than a straight line over p
        ax.annotate("the law has frames or pauses besides the level: no line over it", (0.02, 0.03),
                    xycoords="axes fraction", color=LAW, fontsize=8.5)  # fmt: skip
    if radio.idle is not None:
        ax.axhline(radio.idle.power_w, color=ADDED, linewidth=1, linestyle=":")
        ax.annotate(f"idle {radio.idle.power_w:.3g} W", (1, radio.idle.power_w), (0, 3), ha="right", color=ADDED,
                    xycoords=("axes fraction", "data"), textcoords="offset points")  # fmt: skip
    low = radio.idle.power_w if radio.idle else float((power_w - _reach(bars)).min())
    high = float((power_w + _reach(bars)).max())
    ax.set_xlim(left=0)
    ax.set_ylim(low - 0.12 * (high - low), high + 0.2 * (high - low))
    ax.set_title(f"W of the whole board while it sends (law: {radio.fit.energy_mape:.1%} off)")
    ax.legend(loc="upper left", fontsize=8.5)


def _bytes(ax: Axes, radio: CalibratedRadio, levels: list[RadioLevel]) -> None:
    whole = 1e6 * np.array([one.j_per_byte for one in levels])
    bars = _bars([one.byte_uncertainty for one in levels], whole)
    _points(ax, levels, whole, bars, BOARD, "whole board", joined=True)
    best = [(levels[int(whole.argmin())], float(whole.min()))]
    if radio.idle is not None:
        added = 1e6 * np.array([one.added_j_per_byte or 0.0 for one in levels])
        _points(ax, levels, added, bars, ADDED, f"above {radio.idle.power_w:.3g} W idle", joined=True)
        best.append((levels[int(added.argmin())], float(added.min())))
    for k, (level, joules) in enumerate(best):
        ax.plot(1e3 * (level.tx_power_w or 0.0), joules, "o", markersize=13, markerfacecolor="none",
                markeredgecolor=FLAT, markeredgewidth=2, linestyle="none",
                label=None if k else "cheapest")  # fmt: skip
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0, top=1.3 * float((whole + _reach(bars)).max()))
    ax.set_title("J a MB")
    ax.legend(loc="upper right", ncols=3, fontsize=8.5)


def _points(
    ax: Axes,
    levels: list[RadioLevel],
    values: np.ndarray,
    bars: np.ndarray | None,
    colour: str,
    label: str,
    *,
    joined: bool = False,
) -> None:
    line: Any = {"linestyle": (0, (4, 2)), "linewidth": 1} if joined else {"linestyle": "none"}
    ax.errorbar(1e3 * _x(levels), values, yerr=bars, marker="o", markersize=5, capsize=2, elinewidth=1, color=colour,
                label=label, **line)  # fmt: skip


def _x(levels: list[RadioLevel]) -> np.ndarray:
    return np.array([one.tx_power_w or 0.0 for one in levels])


def _bars(uncertainty: list[float | None], values: np.ndarray) -> np.ndarray | None:
    """Twice the standard uncertainty; None where nothing tells it."""
    return None if None in uncertainty else 2 * np.array(uncertainty, dtype=float) * values


def _reach(bars: np.ndarray | None) -> np.ndarray | float:
    return 0.0 if bars is None else bars
