"""The report's figures: each function draws one from the run, or returns None where the run has not the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from server.report import metrics
from server.report.drawing import INK, RC, Drawing, end_labels, new_figure, style
from server.report.tables import UNKNOWN, number
from server.report.values import RunData, Samples

CLASS_COLOURS = (
    "#4477aa", "#66ccee", "#228833", "#a6c95f", "#ccbb44", "#ee7733", "#cc6677", "#aa3377", "#8877bb", "#999999",
)  # fmt: skip


def accuracy_over_joules(data: RunData) -> Drawing | None:
    """Accuracy after each round over all devices' added joules so far; the common accuracy as a line."""
    figure, (ax,) = new_figure(7.2, 4.0)
    ends = []
    for run in data.strategies:
        sums = metrics.cumulated(metrics.added_by_round(run.rounds))
        if not sums:
            continue
        accuracy = [row.accuracy for row in run.rounds]
        colour, line, marker = style(run.name)
        ax.plot(sums, accuracy, line, color=colour, marker=marker, markersize=4)
        ends.append((run.name, sums[-1], accuracy[-1]))
    if not ends:
        return None
    target = metrics.common_accuracy(data.strategies)
    if target is not None:
        ax.axhline(target, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        ax.text(0.01, target, "common accuracy", va="bottom", fontsize=8, transform=ax.get_yaxis_transform())
    ax.set_xlim(left=0)
    ax.margins(x=0.1)
    ax.set_xlabel("Added joules, all devices, from the first task on")
    finish_accuracy(ax, ends)
    return Drawing(
        "accuracy-over-joules",
        "Accuracy over added joules",
        "; ".join(f"{name} ends at {a:.1%} after {j:,.0f} J" for name, j, a in ends) + ".",
        figure,
    )


def accuracy_over_rounds(data: RunData) -> Drawing | None:
    """Accuracy after each round."""
    figure, (ax,) = new_figure(7.2, 4.0)
    ends = []
    for run in data.strategies:
        accuracy = [row.accuracy for row in run.rounds]
        colour, line, marker = style(run.name)
        ax.plot(range(1, len(accuracy) + 1), accuracy, line, color=colour, marker=marker, markersize=4)
        ends.append((run.name, float(len(accuracy)), accuracy[-1]))
    if not ends:
        return None
    ax.set_xlabel("Round")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish_accuracy(ax, ends)
    return Drawing(
        "accuracy-over-rounds",
        "Accuracy over rounds",
        "; ".join(f"{name} is at {a:.1%} after round {n:.0f}" for name, n, a in ends) + ".",
        figure,
    )


def finish_accuracy(ax: Axes, ends: Sequence[tuple[str, float, float]]) -> None:
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_ylabel("Accuracy")
    end_labels(ax, ends)


def classes_before_and_after(data: RunData) -> Drawing | None:
    """Each device's images by class: what it has, and with the synthetic ones it was sent."""
    fills = [run.plan.synth_counts for run in data.strategies if run.plan]
    fills = [fill for fill in fills if any(map(any, fill.values()))]
    if not fills or not data.devices:
        return None
    fill, n = fills[0], len(data.devices)
    after = {d.id: np.add(d.label_counts, fill.get(d.id, np.zeros_like(d.label_counts))) for d in data.devices}
    figure, (ax,) = new_figure(7.2, 1.2 + 0.62 * n)
    height, ticks, labels = 0.36, [], []
    for row, device in enumerate(data.devices):
        for counts, y, what in ((device.label_counts, row - 0.2, "before"), (after[device.id], row + 0.2, "after")):
            left = 0
            for label, count in enumerate(counts):
                ax.barh(y, count, height, left=left, color=CLASS_COLOURS[label % len(CLASS_COLOURS)], linewidth=0)
                left += count
            ticks.append(y)
            labels.append(f"{device.id}  {what}" if what == "before" else what)
    ax.set_yticks(ticks, labels)
    ax.invert_yaxis()
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("Images, by class")
    if len(data.class_names) <= len(CLASS_COLOURS):
        patches = [Patch(color=c, label=name) for c, name in zip(CLASS_COLOURS, data.class_names, strict=False)]
        figure.legend(handles=patches, loc="outside right upper", fontsize=8)
    return Drawing(
        "classes",
        "Each device's classes before and after the fill",
        "; ".join(f"{d.id}: {sum(d.label_counts)} images before, {int(after[d.id].sum())} after" for d in data.devices)
        + ".",
        figure,
    )


def joules_by_device(data: RunData) -> Drawing | None:
    """Planned and measured joules of training and upload, one panel a strategy."""
    work = [(run.name, metrics.work_by_device(run)) for run in data.strategies]
    work = [(name, by_device) for name, by_device in work if by_device]
    if not work:
        return None
    figure, axes = new_figure(7.2, 1.0 + 0.36 * len(data.devices), columns=len(work), sharex=True, sharey=True)
    ids = [device.id for device in data.devices]
    for ax, (name, by_device) in zip(axes, work, strict=True):
        colour = style(name)[0]
        pairs = [by_device.get(device, (None, None)) for device in ids]
        planned, measured = np.array(pairs, dtype=float).T  # unknown: nan, no bar
        y = np.arange(len(ids))
        ax.barh(y - 0.19, planned, 0.34, facecolor="none", edgecolor=colour, linewidth=1.4)
        ax.barh(y + 0.19, measured, 0.34, facecolor=colour, edgecolor=colour, linewidth=1.4)
        ax.set_title(name, color=colour, fontweight="bold")
        ax.set_yticks(y, ids)
        ax.grid(visible=True, axis="x")
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
    axes[0].invert_yaxis()
    figure.supxlabel("Joules of training and upload, accepted updates", fontsize=10)
    figure.legend(
        handles=[Patch(facecolor="none", edgecolor=INK, label="planned"), Patch(facecolor=INK, label="measured")],
        loc="outside upper right",
        ncols=2,
    )
    totals = [(name, [metrics.total(v[part] for v in d.values()) for part in (0, 1)]) for name, d in work]
    return Drawing(
        "joules-by-device",
        "Joules by device, planned against measured",
        "; ".join(f"{name}: {text_j(p)} planned, {text_j(m)} measured" for name, (p, m) in totals)
        + ". The table below has the numbers.",
        figure,
    )


def text_j(joules: float | None) -> str:
    return UNKNOWN if joules is None else f"{number(joules)} J"


def samples_side_by_side(data: RunData, a_class: int = 8, classes: int = 12) -> Drawing | None:
    """Real images left, synthetic ones right, one class a row; the first of each, not the best."""
    sides = [(title, s) for title, s in (("Real", data.real), ("Synthetic", data.synthetic)) if s is not None]
    if not sides:
        return None
    shown = [c for c in range(len(data.class_names)) if any((s.labels == c).any() for _, s in sides)][:classes]
    figure, axes = new_figure(7.2, 0.4 + 3.1 * len(shown) / a_class, columns=len(sides), sharey=True)
    for ax, (title, samples) in zip(axes, sides, strict=True):
        ax.imshow(mosaic(samples, shown, a_class), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        side = samples.images.shape[1]
        ax.set_title(title)
        ax.set_yticks([(row + 0.5) * side for row in range(len(shown))], [data.class_names[c] for c in shown])
        ax.set_xticks([])
        ax.grid(visible=False)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    return Drawing(
        "samples",
        " and ".join(title for title, _ in sides).capitalize() + " samples",
        f"Up to {a_class} images of each of {len(shown)} classes: "
        + " on the left, ".join(title.lower() for title, _ in sides)
        + (" on the right." if len(sides) > 1 else "."),
        figure,
    )


def mosaic(samples: Samples, classes: Sequence[int], a_class: int) -> np.ndarray:
    """(classes * H, a_class * W) or with a last axis of 3; mid-grey where a class has too few."""
    _, height, width, channels = samples.images.shape
    grid = np.full((len(classes) * height, a_class * width, channels), 128, dtype=np.uint8)
    for row, label in enumerate(classes):
        for column, image in enumerate(samples.images[samples.labels == label][:a_class]):
            grid[row * height : (row + 1) * height, column * width : (column + 1) * width] = image
    return grid[..., 0] if channels == 1 else grid


FIGURES: tuple[Callable[[RunData], Drawing | None], ...] = (
    accuracy_over_joules,
    accuracy_over_rounds,
    classes_before_and_after,
    joules_by_device,
    samples_side_by_side,
)


def draw_all(data: RunData) -> list[Drawing]:
    """Every figure that the run has the data for."""
    with mpl.rc_context(RC):
        return [drawing for draw in FIGURES if (drawing := draw(data)) is not None]
