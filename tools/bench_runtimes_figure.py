"""The picture of tools/bench_runtimes.py: images a second beside a plain PyTorch loop, with quartiles of the turns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.bench_runtimes import Row

COLOURS = {
    "onnx": "#2f6fb5", "tflite": "#1a9a6c", "tflite-runtime": "#8fcbb3", "torch": "#d97706", "torch-bf16": "#8b6bb8",
}  # fmt: skip
_WIDTH = 0.16


def draw(rows: Sequence[Row], path: Path) -> None:
    """A panel for each number of threads, a group of bars for each batch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in rows if row.contender in COLOURS]
    threads = sorted({row.threads for row in rows})
    batches = sorted({row.batch for row in rows})
    figure = Figure(figsize=(9.0, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots(1, len(threads), squeeze=False, sharey=True)[0]
    for axis, count in zip(axes, threads, strict=True):
        for place, (name, colour) in enumerate(COLOURS.items()):
            own = {row.batch: row for row in rows if (row.threads, row.contender) == (count, name)}
            at = [k + _WIDTH * (place - 2) for k, batch in enumerate(batches) if batch in own]
            bars = [own[batch] for batch in batches if batch in own]
            away = [[row.ratio - row.low for row in bars], [row.high - row.ratio for row in bars]]
            axis.bar(at, [row.ratio for row in bars], 0.9 * _WIDTH, color=colour, label=name, yerr=away, ecolor="#444")
        axis.axhline(1.0, color="#444", linewidth=0.8)
        axis.set_xticks(range(len(batches)), [f"batch {batch}" for batch in batches])
        axis.set_title(f"{count} thread{'s' * (count != 1)}", loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.2)
        axis.set_axisbelow(True)
    axes[0].set_ylabel("images a second ÷ plain PyTorch's")
    axes[-1].legend(frameon=False, fontsize=9, ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)
