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

MARKERS = "os^Dv"
"""Of frames of different sizes."""


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
    reached = []
    for k, (size, series) in enumerate(_by_size(levels)):
        power_w = np.array([one.power_w for one in series])
        bars = _bars([one.w_uncertainty for one in series], power_w)
        _points(ax, series, power_w, bars, BOARD, "as measured" if size is None else _size(size), marker=k)
        foretold = _foretold_w(radio, series)
        if foretold is not None:
            ax.plot(*foretold, color=LAW, linewidth=1.6, zorder=1, label=None if k else "law")
        reached += [power_w - _reach(bars), power_w + _reach(bars)]
    if radio.idle is not None:
        ax.axhline(radio.idle.power_w, color=ADDED, linewidth=1, linestyle=":")
        ax.annotate(f"idle {radio.idle.power_w:.3g} W", (1, radio.idle.power_w), (0, 3), ha="right", color=ADDED,
                    xycoords=("axes fraction", "data"), textcoords="offset points")  # fmt: skip
    low = radio.idle.power_w if radio.idle else float(np.concatenate(reached).min())
    high = float(np.concatenate(reached).max())
    ax.set_xlim(left=0)
    ax.set_ylim(low - 0.12 * (high - low), high + 0.3 * (high - low))
    ax.set_title(f"W of the whole board while it sends (law: {radio.fit.energy_mape:.1%} off)")
    ax.legend(loc="upper left", ncols=2, fontsize=8.5)


def _foretold_w(radio: CalibratedRadio, series: list[RadioLevel]) -> tuple[np.ndarray, np.ndarray] | None:
    """Milliwatts radiated and watts of the law: a straight line, or with frames at the rates they were sent; None where
    windows have pauses that no level tells of."""
    if radio.seconds == "airtime":
        return None
    slope = 0.0 if radio.amplifier_efficiency is None else 1.0 / radio.amplifier_efficiency
    if radio.frame_energy_j is None:
        grid_w = np.array([0.0, 1.03 * float(_x(series).max())])
        return 1e3 * grid_w, radio.power_static_w + slope * grid_w
    frames = np.array([one.power_w / one.j_per_frame if one.j_per_frame else 0.0 for one in series])
    return 1e3 * _x(series), radio.power_static_w + slope * _x(series) + radio.frame_energy_j * frames


def _bytes(ax: Axes, radio: CalibratedRadio, levels: list[RadioLevel]) -> None:
    kinds = [(1e6 * np.array([one.j_per_byte for one in levels]), BOARD, "whole board")]
    if radio.idle is not None:
        added = 1e6 * np.array([one.added_j_per_byte or 0.0 for one in levels])
        kinds.append((added, ADDED, f"above {radio.idle.power_w:.3g} W idle"))
    bars = _bars([one.byte_uncertainty for one in levels], kinds[0][0])
    for n, (values, colour, label) in enumerate(kinds):
        for k, (size, series) in enumerate(_by_size(levels)):
            at = [levels.index(one) for one in series]
            told = label if size is None else f"{label}, {_size(size)}"
            _points(ax, series, values[at], None if bars is None else bars[at], colour, told, marker=k, joined=True)
        best = int(values.argmin())
        ax.plot(1e3 * (levels[best].tx_power_w or 0.0), values[best], "o", markersize=13, markerfacecolor="none",
                markeredgecolor=FLAT, markeredgewidth=2, linestyle="none",
                label=None if n else "cheapest")  # fmt: skip
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0, top=1.4 * float((kinds[0][0] + _reach(bars)).max()))
    ax.set_title("J a MB")
    ax.legend(loc="upper right", ncols=2, fontsize=8.5)


def _by_size(levels: list[RadioLevel]) -> list[tuple[float | None, list[RadioLevel]]]:
    """The levels of each size of frames."""
    sizes = sorted({one.payload_bytes for one in levels}, key=lambda size: size or 0.0)
    return [(size, [one for one in levels if one.payload_bytes == size]) for size in sizes]


def _size(size: float) -> str:
    return f"frames of {size:.0f} bytes"


def _points(
    ax: Axes,
    levels: list[RadioLevel],
    values: np.ndarray,
    bars: np.ndarray | None,
    colour: str,
    label: str,
    *,
    marker: int = 0,
    joined: bool = False,
) -> None:
    line: Any = {"linestyle": (0, (4, 2)), "linewidth": 1} if joined else {"linestyle": "none"}
    ax.errorbar(1e3 * _x(levels), values, yerr=bars, marker=MARKERS[marker % len(MARKERS)], markersize=5, capsize=2,
                elinewidth=1, color=colour, label=label, **line)  # fmt: skip


def _x(levels: list[RadioLevel]) -> np.ndarray:
    return np.array([one.tx_power_w or 0.0 for one in levels])


def _bars(uncertainty: list[float | None], values: np.ndarray) -> np.ndarray | None:
    """Twice the standard uncertainty; None where nothing tells it."""
    return None if None in uncertainty else 2 * np.array(uncertainty, dtype=float) * values


def _reach(bars: np.ndarray | None) -> np.ndarray | float:
    return 0.0 if bars is None else bars
