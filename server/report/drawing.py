"""How the report's figures look and are written; what they show is in `figures`.

Text and axes are drawn in one marker colour that `svg_for_page` turns into `currentColor`, and grounds are left
transparent, so that a page shows the same SVG on light and on dark. Strategies keep colour, line and marker in every
figure, and lines are labelled where they end: colour is never the only sign.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK = "#010203"
STYLE: dict[str, tuple[str, str, str]] = {
    "tfl": ("#3b82c4", "-", "o"),
    "fill": ("#d97706", "--", "s"),
    "fimi": ("#1a9a6c", "-", "D"),
    "tfl-top": ("#8b7bb8", ":", "^"),
}
RC: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Drawing:
    """A figure with the words that stand for it: `title` above it, `text` for who cannot see it."""

    name: str
    title: str
    text: str
    figure: Figure


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **more: Any) -> tuple[Figure, list[Axes]]:
    """A figure in inches and its axes, row by row; no pyplot, whose figures live for ever."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots(rows, columns, squeeze=False, **more).ravel().tolist()
    for ax in axes:
        ax.patch.set_alpha(0)
    return figure, axes


def style(name: str) -> tuple[str, str, str]:
    return STYLE.get(name, ("#888888", "-", "x"))


def end_labels(ax: Axes, ends: Sequence[tuple[str, float, float]]) -> None:
    """Names beside line ends (name, x, y), each pushed up from those near it that it would overlap."""
    x_near, y_step = (share * (high - low) for share, (low, high) in ((0.1, ax.get_xlim()), (0.055, ax.get_ylim())))
    placed: list[tuple[float, float]] = []
    for name, x, y in sorted(ends, key=lambda end: end[2]):
        at = max([y, *(y_below + y_step for x_below, y_below in placed if abs(x - x_below) < x_near)])
        placed.append((x, at))
        ax.annotate(
            name, (x, at), xytext=(6, 1), textcoords="offset points", color=style(name)[0], fontweight="bold",
            va="bottom", annotation_clip=False,
        )  # fmt: skip


def save(drawing: Drawing, folder: Path) -> str:
    """Write <name>.png on white for documents, <name>.svg; return the SVG for a page."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({**RC, "svg.hashsalt": drawing.name}):
        buffer = io.StringIO()
        FigureCanvasSVG(drawing.figure).print_svg(buffer, metadata={"Date": None, "Title": drawing.title})
        svg = buffer.getvalue()
        (folder / f"{drawing.name}.svg").write_text(svg)
        drawing.figure.patch.set(alpha=1, facecolor="white")
        FigureCanvasAgg(drawing.figure)
        drawing.figure.savefig(folder / f"{drawing.name}.png", dpi=150, metadata={"Software": None})
    return svg_for_page(svg, drawing)


def svg_for_page(svg: str, drawing: Drawing) -> str:
    """An inline SVG: ink becomes the page's own colour, ids are made the drawing's own, the text stands for it."""
    body = svg[svg.index("<svg") :]
    body = body.replace(INK, "currentColor")
    body = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{drawing.name}-", body)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'^<svg ([^>]*?)height="[^"]*" ([^>]*?)width="[^"]*"', r"<svg \1\2", body)
    label = html.escape(f"{drawing.title}. {drawing.text}")
    return body.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
