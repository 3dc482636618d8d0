"""The figures of an assessment. A real image is shown only where the data's licence allows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from models.learning_curve import error
from server.data.licences import may_be_shown
from server.data.tiles import tile
from server.report.drawing import RC, Drawing, new_figure, save
from server.synth.assess.copies import RATES, views
from server.synth.assess.likeness import PAIRS
from server.synth.assess.whole import Assessed
from server.synth.mosaic import write_png
from server.synth.public import PublicPart

REAL, MADE, OTHER = "#3b82c4", "#1a9a6c", "#d97706"


def draw_all(found: Sequence[Assessed], part: PublicPart, folder: Path, *, mirror: bool, shift: int) -> list[str]:
    """Write the figures of the first variant, and one of all where there are several; returns their file names."""
    first = found[0]
    drawings = [draw_score(first.values), draw_augmentation(first.values), draw_recall(first.values, part.class_names)]
    drawings.append(draw_copies(first))
    if len(found) > 1:
        drawings.append(draw_variants([own.values for own in found]))
    for drawing in drawings:
        save(drawing, folder)
    names = [f"{drawing.name}.png" for drawing in drawings]
    if may_be_shown(part.name):
        write_png(folder / "closest-pairs.png", closest_pairs(first, part, mirror=mirror, shift=shift))
        names.append("closest-pairs.png")
    return names


def draw_score(values: dict[str, Any]) -> Drawing:
    """Accuracy over the amount, synthetic and real, bars from the lowest to the highest seed."""
    with mpl.rc_context(RC):
        figure, (ax,) = new_figure(6.0, 3.8)
        x = np.array([row["samples"] for row in values["score"]])
        for kind, colour, marker, name in (("real", REAL, "o", "real images"), ("made", MADE, "D", "synthetic ones")):
            mean, low, high = (np.array([row[kind][key] for row in values["score"]]) for key in ("mean", "low", "high"))
            bars = [100 * (mean - low), 100 * (high - mean)]
            ax.errorbar(x, 100 * mean, yerr=bars, color=colour, marker=marker, capsize=3, label=f"trained on {name}")
        ax.set_xscale("log")
        ax.set_xticks(x, [str(n) for n in x])
        ax.minorticks_off()
        ax.set_xlabel("Samples trained on")
        ax.set_ylabel("Accuracy on real test images, %")
        ax.legend()
        ax.set_title(f"Class-accuracy score: {values['name']}")
    return Drawing("score", "Class-accuracy score", "Accuracy after training on synthetic or on real samples.", figure)


def draw_augmentation(values: dict[str, Any]) -> Drawing:
    """Error over real samples, and what synthetic ones added to some of them make of it."""
    with mpl.rc_context(RC):
        figure, (ax,) = new_figure(6.0, 3.8)
        rows = values["augmentation"]
        bases = sorted({row["real"] for row in rows})
        for base, colour in zip(bases, (MADE, OTHER, "#8b7bb8", "#888888", REAL) * len(bases), strict=False):
            own = [row for row in rows if row["real"] == base]
            mean, low, high = (np.array([row["error"][key] for row in own]) for key in ("mean", "low", "high"))
            x = [row["real"] + row["synthetic"] for row in own]
            ax.errorbar(
                x, 100 * mean, yerr=[100 * (mean - low), 100 * (high - mean)], color=colour, marker="D", capsize=3,
                label=f"{base} real, the rest synthetic",
            )  # fmt: skip
        fit = values["worth"]
        if "alpha" in fit:
            reach = np.geomspace(min(bases), max(row["real"] + row["synthetic"] for row in rows), 60)
            curve = error(reach, fit["alpha"], fit["beta"], fit["gamma"])
            ax.plot(reach, 100 * curve, color=REAL, linestyle="--", label="all real, as fitted")
            low, high = fit["intervals"]["eta_free"]
            ax.set_title(f"A synthetic sample is worth {fit['eta_free']:.2f} real ones ({low:.2f} to {high:.2f})")
        else:
            ax.set_title("No worth of a synthetic sample could be fitted")
        ax.set_xscale("log")
        ticks = sorted({row["real"] + row["synthetic"] for row in rows})
        ax.set_xticks(ticks, [str(n) for n in ticks])
        ax.minorticks_off()
        ax.set_xlabel("Samples trained on")
        ax.set_ylabel("Error on real test images, %")
        ax.legend()
    return Drawing("augmentation", "Augmentation", "Error with real samples and synthetic ones added to them.", figure)


def draw_recall(values: dict[str, Any], class_names: Sequence[str]) -> Drawing:
    """Recall of each class after training on either kind; the classes' order is the data set's."""
    with mpl.rc_context(RC):
        figure, (ax,) = new_figure(max(6.0, 0.42 * len(class_names)), 3.8)
        x = np.arange(len(class_names))
        for kind, colour, shift in (("real", REAL, -0.2), ("made", MADE, 0.2)):
            heights = [np.nan if v is None else 100 * v for v in values["recall_by_class"][kind]]
            name = "real images" if kind == "real" else "synthetic ones"
            ax.bar(x + shift, heights, 0.38, color=colour, label=f"trained on {name}")
        ax.set_xticks(x, class_names, rotation=45, ha="right")
        ax.set_ylabel("Recall on real test images, %")
        ax.legend(loc="lower right")
        ax.set_title(f"After {values['score'][-1]['samples']} samples")
    return Drawing("recall", "Recall of each class", "Recall by class, real and synthetic.", figure)


def draw_copies(found: Assessed) -> Drawing:
    """How near samples and held-out real images lie to public ones, and the thresholds of the false-alarm rates."""
    with mpl.rc_context(RC):
        figure, (ax,) = new_figure(6.0, 3.8)
        bins = np.linspace(0.0, 1.0, 101).tolist()
        for name, colour, label in (("second", REAL, "real, held out"), ("made", MADE, "synthetic")):
            ax.hist(found.likeness.ratios[name], bins, color=colour, alpha=0.55, density=True, label=label)
        for rate, share in zip(RATES, found.values["copies"]["pixels"], strict=True):
            ax.axvline(share["threshold"], color=OTHER, linewidth=1)
            ax.annotate(
                f"{rate:.1%}", (share["threshold"], 1), xycoords=("data", "axes fraction"), rotation=90, va="top",
                ha="right", fontsize=8,
            )  # fmt: skip
        ax.set_xlabel("Distance to the nearest public image over the mean to its 50 nearest")
        ax.set_ylabel("Density")
        ax.legend(loc="upper left")
        strictest = found.values["copies"]["pixels"][0]
        said = f"{strictest['held_out']:.2%} of held-out real ones"
        ax.set_title(f"Nearer than the {strictest['rate']:.1%} line: {strictest['made']:.2%} of samples, {said}")
    return Drawing("copies", "Near-copies", "Ratios of synthetic and of held-out real images.", figure)


def draw_variants(rows: Sequence[dict[str, Any]]) -> Drawing:
    """Kernel distance, score and eta of each variant, one row each."""
    with mpl.rc_context(RC):
        figure, axes = new_figure(9.0, 1.2 + 0.34 * len(rows), 1, 3, sharey=True)
        y = np.arange(len(rows))[::-1]
        kernel, kernel_error = (np.array([row[k] or 0.0 for row in rows]) for k in ("kernel", "kernel_error"))
        axes[0].errorbar(kernel, y, xerr=1.96 * kernel_error, fmt="o", color=MADE, capsize=3)
        axes[0].axvline(rows[0]["kernel_floor"], color=REAL, linestyle="--")
        axes[0].set_title("Kernel distance (dashed: real)")
        score, low, high = (
            100 * np.array([row["score"][-1]["made"][key] for row in rows]) for key in ("mean", "low", "high")
        )
        axes[1].errorbar(score, y, xerr=[score - low, high - score], fmt="D", color=MADE, capsize=3)
        axes[1].axvline(100 * rows[0]["score"][-1]["real"]["mean"], color=REAL, linestyle="--")
        axes[1].set_title("Class-accuracy score, %")
        for at, row in zip(y, rows, strict=True):
            if "eta_free" in row["worth"]:
                own, (below, above) = row["worth"]["eta_free"], row["worth"]["intervals"]["eta_free"]
                axes[2].plot([below, above], [at, at], color=OTHER)
                axes[2].plot(own, at, "s", color=OTHER)
        axes[2].set_title("Worth of a sample (eta)")
        axes[0].set_yticks(y, [row["name"] for row in rows])
        for ax in axes:
            ax.grid(axis="x", alpha=0.15)
    return Drawing("variants", "Variants", "Kernel distance, class-accuracy score and eta of each variant.", figure)


def closest_pairs(found: Assessed, part: PublicPart, *, mirror: bool, shift: int) -> np.ndarray:
    """Rows of four pairs, a sample and the public image it lies nearest to, as it does: (H, W, C) uint8."""
    shown = []
    for number, real in found.likeness.pairs[:PAIRS]:
        made = found.made.images[number]
        seen = np.concatenate(list(views(part.images[real : real + 1], mirror=mirror, shift=shift)))
        away = ((seen.astype(np.float64) - made) ** 2).sum(axis=(1, 2, 3))
        shown += [made, seen[away.argmin()]]
    return tile(np.stack(shown), 8)
