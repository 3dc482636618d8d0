"""An assessment as tables for people: Markdown that also reads well on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def page(content: Mapping[str, Any], figures: Sequence[str]) -> str:
    """assessment.md: all variants in one table, then what is behind the first one."""
    first = content["variants"][0]
    lines = [f"# Samples for {content['data']['dataset']}, assessed", "", *variants_table(content["variants"]), ""]
    lines += [
        f"Tested on {content['data']['test_images']} images of the test part. Distances are taken in features "
        f"({content['features']}), {first['images_a_side']} images a side; between two halves of the test part "
        f"the kernel distance is {first['kernel_floor']:.4f} and Frechet's {first['frechet_floor']:.3f}. "
        "Ranges are from the lowest to the highest seed, intervals hold 95 %.",
        "",
        "Best: " + ", ".join(f"{what}: {name or 'none'}" for what, name in content["best"].items()) + ".",
        "",
        f"## {first['name']}",
        "",
        *score_table(first),
        "",
        *augmentation_table(first),
        "",
        *copies_table(first),
        "",
        *classes_table(content["data"]["class_names"], content["variants"]),
        "",
    ]
    return "\n".join(lines + [f"![{name}]({name})" for name in figures]) + "\n"


def variants_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One row a variant."""
    cells = [
        ["variant", "score", "of real", "eta (95 %)", "error above first", "kernel", "Frechet", "precision", "recall",
         "coverage", "near-copies", "drawn again (of real)"]
    ]  # fmt: skip
    for row in rows:
        score, strictest = row["score"][-1], row["copies"]["pixels"][0]
        error = "" if row["kernel_error"] is None else f" ± {row['kernel_error']:.4f}"
        cells.append(
            [
                row["name"],
                _percent(score["made"]),
                _percent(score["real"]),
                eta_cell(row["worth"]),
                _above(row["error_above_first"]),
                f"{row['kernel']:.4f}{error}",
                f"{row['frechet']:.3f}",
                *(f"{row['manifold'][name]:.2f}" for name in ("precision", "recall", "coverage")),
                f"{strictest['made']:.2%}",
                f"{row['rejected']:.1%} ({row['rejected_of_real']:.1%})" if "rejected" in row else "-",
            ]
        )
    return table(cells)


def eta_cell(worth: Mapping[str, Any]) -> str:
    """ "0.48 (0.31 to 0.62)", or a dash where none was fitted."""
    if "eta_free" not in worth:
        return "-"
    low, high = worth["intervals"]["eta_free"]
    return f"{worth['eta_free']:.2f} ({low:.2f} to {high:.2f})"


def score_table(row: Mapping[str, Any]) -> list[str]:
    """The class-accuracy score by amount."""
    cells = [["samples", "trained on synthetic", "trained on real", "points less"]]
    cells += [
        [str(own["samples"]), _percent(own["made"]), _percent(own["real"]), f"{100 * own['gap']:.1f}"]
        for own in row["score"]
    ]
    return table(cells)


def augmentation_table(row: Mapping[str, Any]) -> list[str]:
    """Errors of N real and k N synthetic samples."""
    cells = [["real", "synthetic", "error", "worth of one"]]
    for own in row["augmentation"]:
        error = own["error"]
        spread = f"{100 * error['mean']:.1f} % ({100 * error['low']:.1f} to {100 * error['high']:.1f})"
        worth = "-" if own["worth"] is None else f"{own['worth']:.2f}"
        cells.append([str(own["real"]), str(own["synthetic"]), spread, worth])
    return table(cells)


def copies_table(row: Mapping[str, Any]) -> list[str]:
    """Near-copies at each rate of false alarms."""
    cells = [["near-copies in", "false alarms allowed", "synthetic", "real, held out", "planted copies"]]
    for kind, shares in row["copies"].items():
        for own in shares:
            found = (f"{own[name]:.2%}" for name in ("made", "held_out", "planted"))
            cells.append([kind, f"{own['rate']:.1%}", *found])
    return table(cells)


def classes_table(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Recall of each class after training on real images, then for each variant on samples, and what it drew again."""
    cells = [["class", "recall, real"]]
    cells += [[name, _share(own)] for name, own in zip(names, rows[0]["recall_by_class"]["real"], strict=True)]
    for row in rows:
        columns = {f"recall, {row['name']}": row["recall_by_class"]["made"]}
        if "rejected" in row:
            columns |= {"drawn again": row["rejected_by_class"]}
        for heading, own in columns.items():
            for cell, text in zip(cells, [heading, *map(_share, own)], strict=True):
                cell.append(text)
    return table(cells)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def table(cells: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equal length as a Markdown table, its columns aligned."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _above(paired: Mapping[str, float | None]) -> str:
    """Points of error with mixtures, run by run, and the standard error: "+0.4 ± 0.2"; a dash for the first itself."""
    mean, error = paired["mean"] or 0.0, paired["standard_error"]
    if mean == 0.0 and not error:
        return "-"
    return f"{100 * mean:+.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


def _percent(spread: Mapping[str, float]) -> str:
    return f"{100 * spread['mean']:.1f} % ({100 * spread['low']:.1f} to {100 * spread['high']:.1f})"
