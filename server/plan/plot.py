"""A plan as a picture: who does what, and why. Drawn from the numbers of problem and plan; nothing is planned here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from models import radio
from server.errors import ConfigError
from server.plan.columnar import row_of
from server.plan.devices import RADIO_KINDS
from server.plan.plan_text import counted, number, share
from server.plan.problem import Plan, Problem, Shares
from server.plan.reasons import Limit, Reasons, reasons
from server.report.drawing import INK, RC, new_figure

SHOWN = 40  # devices; of more, as many that stand for all
_LONGEST_NAME = 20
LOCAL, SYNTHETIC, COMPUTE, UPLOAD, SLACK = "#9aa5b1", "#1a9a6c", "#3b82c4", "#d97706", "#e6e9ed"
LIMITS = {
    Limit.PRICE: ("#1a9a6c", "at the price of all"),
    Limit.LOCAL: ("#8a94a0", "more is too dear"),
    Limit.STORAGE: ("#d97706", "storage is full"),
    Limit.TIME: ("#c2410c", "no time for more"),
}


def draw_plan(problem: Problem, plan: Plan) -> Figure:
    """A row for each device: samples, clocks, seconds, what it takes of the medium, joules, and what a sample or a
    second more would be worth."""
    rows = chosen(plan)
    some, shares = replace(problem, devices=problem.devices.take(rows)), plan.devices.take(rows)
    why = reasons(some, shares, len(plan.devices))
    shares = shares.as_executed()
    priced, sharing = problem.target_error is not None, _taken(some, shares)
    panels: list[tuple[Callable[..., None], int, tuple[Any, ...]]] = [
        (_samples, 4, (some, shares)),
        (_clocks, 3, (some, shares)),
        (_seconds, 4, (some, shares)),
    ]
    panels += [(_medium, 3, (sharing, shares))] * (sharing is not None)
    panels += [(_joules, 4, (shares,)), (_second_price, 3, (why,))]
    panels += [(_error_price, 5, (plan, why))] * priced
    widths = tuple(width for _, width, _ in panels)
    with mpl.rc_context(RC):
        figure, axes = new_figure(
            0.74 * sum(widths), 2.2 + 0.26 * len(rows), columns=len(panels), sharey=True, width_ratios=widths
        )
        for ax, (draw, _, values) in zip(axes, panels, strict=True):
            draw(ax, *values)
        for ax in axes:
            ax.grid(visible=True, axis="x")
            ax.grid(visible=False, axis="y")
            ax.tick_params(axis="y", length=0)
            ax.spines["left"].set_visible(False)
            ax.set_xlim(left=0)
        axes[0].set_yticks(np.arange(len(rows)), [_short(name) for name in shares.ids])
        axes[0].set_ylim(len(rows) - 0.4, -0.6)
        figure.suptitle(_title(problem, plan, len(rows)), x=0.005, ha="left", fontsize=10.5)
    return figure


def chosen(plan: Plan) -> np.ndarray:
    """The devices (M,) that are drawn: all, or of many those at even steps from the least to the most joules."""
    count = len(plan.devices)
    if count <= SHOWN:
        return np.arange(count)
    order = np.argsort(plan.devices.compute_j + plan.devices.upload_j, kind="stable")
    return order[np.linspace(0, count - 1, SHOWN).round().astype(int)]


def save_png(figure: Figure, path: Path) -> None:
    """On white; raises `ConfigError` where the file cannot be written."""
    figure.patch.set(alpha=1, facecolor="white")
    with mpl.rc_context(RC):
        FigureCanvasAgg(figure)
        try:
            figure.savefig(path, dpi=130, format="png", metadata={"Software": None})
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; give a path that can be written") from None


def _title(problem: Problem, plan: Plan, drawn: int) -> str:
    devices = counted(len(plan.devices))
    if drawn < len(plan.devices):
        devices += f", of which {drawn} are shown, from the least to the most joules"
    error = "" if problem.target_error is None else f", mean error at most {number(problem.target_error)}"
    return (
        f"{plan.method}: {number(plan.executed_energy_j)} J {plan.energy_basis} a round of {number(problem.round_s)} s"
        f"{error}; {devices}\nas executed {share(plan.executed_gap)} above the lower bound, before rounding "
        f"{share(plan.relative_gap)}"
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 6]}…{name[-5:]}"


def _legend(ax: Axes, handles: Sequence[Any], columns: int = 3) -> None:
    """Above the panel, under its title."""
    ax.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, fontsize=8, handlelength=1.0,
        columnspacing=1.0, handletextpad=0.4, borderpad=0.1,
    )  # fmt: skip


def _bars(ax: Axes, title: str, parts: list[tuple[str, str, np.ndarray]]) -> None:
    """Stacked bars: (name, colour, lengths (M,)) from left to right."""
    left = np.zeros(len(parts[0][2]))
    for _, colour, lengths in parts:
        ax.barh(np.arange(len(left)), lengths, 0.72, left=left, color=colour, linewidth=0)
        left = left + lengths
    ax.set_title(title, pad=20)
    _legend(ax, [Patch(color=colour, label=name) for name, colour, _ in parts])


def _samples(ax: Axes, problem: Problem, shares: Shares) -> None:
    local = problem.devices.local_samples
    parts = [("local", LOCAL, local), ("synthetic", SYNTHETIC, shares.executed.samples - local)]
    _bars(ax, "Samples", parts)
    if problem.target_error is not None:
        room = local + problem.devices.storage_samples
        ax.plot(room, np.arange(len(local)), "|", color=INK, markersize=8, alpha=0.7)
        mark = Line2D([], [], color=INK, marker="|", linestyle="", markersize=8, label="as far as storage goes")
        legend = ax.get_legend()
        assert legend is not None
        _legend(ax, [*legend.legend_handles, mark])


def _clocks(ax: Axes, problem: Problem, shares: Shares) -> None:
    """A line over the clocks that a device has, a dot on each that it runs at, as large as its part of the samples."""
    devices, opps = problem.devices, problem.devices.opps
    low, high = devices.laws.freq_min_hz.copy(), devices.laws.freq_max_hz.copy()
    tabled = np.flatnonzero(devices.tabled)
    low[tabled], high[tabled] = opps.freq_hz[opps.start[tabled]], opps.freq_hz[opps.start[tabled + 1] - 1]
    y = np.arange(len(devices))
    ax.hlines(y, low / 1e9, high / 1e9, color=LOCAL, linewidth=1.0, alpha=0.6)
    ax.plot(opps.freq_hz / 1e9, row_of(opps.start), "|", color=LOCAL, markersize=5)
    segments = shares.executed.segments
    rows = row_of(segments.start)
    part = segments.samples / np.bincount(rows, weights=segments.samples, minlength=len(devices))[rows]
    ax.scatter(segments.freq_hz / 1e9, rows, s=8 + 42 * part, color=COMPUTE, linewidth=0, zorder=3)
    ax.set_title("Clock, GHz", pad=20)
    dot = Line2D([], [], color=COMPUTE, marker="o", linestyle="", markersize=5, label="size: part of the samples")
    _legend(ax, [dot], 1)


def _seconds(ax: Axes, problem: Problem, shares: Shares) -> None:
    compute_s = shares.executed.compute_s
    slack_s = np.maximum(problem.round_s - compute_s - shares.upload_s, 0.0)
    parts = [("compute", COMPUTE, compute_s), ("upload", UPLOAD, shares.upload_s), ("slack", SLACK, slack_s)]
    _bars(ax, "Seconds of the round", parts)


def _taken(problem: Problem, shares: Shares) -> tuple[str, np.ndarray] | None:
    """What each device (M,) takes of the shared medium, with the panel's title; None where nothing is shared."""
    radios = problem.devices.radios
    shared = radios.kind == RADIO_KINDS.index("shared_link")
    if shared.any():
        rate = np.where(shared, radios.link_bits_per_s, np.inf)
        return "Of the link, %", 100.0 * radio.link_share(problem.devices.upload_bits, shares.upload_s, rate)
    return ("Band, MHz", shares.bandwidth_hz / 1e6) if shares.bandwidth_hz.any() else None


def _medium(ax: Axes, sharing: tuple[str, np.ndarray], shares: Shares) -> None:
    """A bar of what is taken, and the watts sent on it where the radio can tell."""
    title, taken = sharing
    watts_told = bool(np.isfinite(shares.tx_power_w).any())
    _bars(ax, title, [("taken, and watts sent" if watts_told else "taken", UPLOAD, taken)])
    ax.set_xlim(0, 1.45 * float(taken.max()))
    for y, (end, watts) in enumerate(zip(taken.tolist(), shares.tx_power_w.tolist(), strict=True)):
        if end > 0 and math.isfinite(watts):
            ax.annotate(f"{watts:.2g} W", (end, y), (3, 0), textcoords="offset points", va="center", fontsize=7)


def _joules(ax: Axes, shares: Shares) -> None:
    parts = [("compute", COMPUTE, shares.executed.compute_j), ("upload", UPLOAD, shares.upload_j)]
    _bars(ax, "Joules", parts)


def _ranges(ax: Axes, low: np.ndarray, high: np.ndarray, colours: list[str], right: float) -> None:
    """From low to high (M,); a dot where they are the same, an arrow's head where it goes on beyond `right`."""
    ax.set_xlim(0, right)
    for y, (start, end, colour) in enumerate(zip(low.tolist(), high.tolist(), colours, strict=True)):
        if start >= right:
            ax.plot(right, y, ">", color=colour, markersize=5, clip_on=False)
            continue
        ax.plot([start, min(end, right)], [y, y], color=colour, linewidth=3.0, solid_capstyle="butt")
        if end > right:
            ax.plot(right, y, ">", color=colour, markersize=5, clip_on=False)
        elif end - start < 0.01 * right:
            ax.plot(start, y, "o", color=colour, markersize=5, clip_on=False)


def _second_price(ax: Axes, why: Reasons) -> None:
    known = why.second_high_w[np.isfinite(why.second_high_w)]
    right = 1.1 * max(float(known.max(initial=0.0)), float(why.second_low_w.max()), 1e-12)
    _ranges(ax, why.second_low_w, why.second_high_w, [COMPUTE] * len(why.limit), right)
    ax.set_title("W saved by a second", pad=20)
    dot = Line2D([], [], color=COMPUTE, marker=">", linestyle="", markersize=5, label="no quicker clock left")
    _legend(ax, [dot], 1)


def _error_price(ax: Axes, plan: Plan, why: Reasons) -> None:
    finite = why.error_low_j[np.isfinite(why.error_low_j)]
    scale = plan.price_error_j if plan.price_error_j > 0 else float(np.median(finite))
    colours = [LIMITS[Limit(limit)][0] for limit in why.limit.tolist()]
    _ranges(ax, why.error_low_j / 100, why.error_high_j / 100, colours, 2.5 * max(scale, 1e-300) / 100)
    if plan.price_error_j > 0:
        ax.axvline(plan.price_error_j / 100, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    ax.set_title("J for 0.01 of mean error less, here", pad=20)
    present = sorted(set(why.limit.tolist()))
    _legend(ax, [Patch(color=LIMITS[Limit(limit)][0], label=LIMITS[Limit(limit)][1]) for limit in present], 4)
