"""What the fill is worth in federated learning: accuracy with and without it, over partitions and seeds.

    python -m tools.bench_fill RUN.toml --pool generators/mine/pool --alphas 0.4,0.1 --seeds 0,1,2 --out runs/fill

The data are dealt as in a real run: the private part over devices, Dirichlet(alpha), tested on the data set's test
part, which no generator has seen. Devices, local samples, network and training are those of RUN.toml. With the fill
each device gets as many synthetic samples as it has local ones (`--fill-factor 2`), dealt to its classes by
water-filling, from the pool. More data are more steps a round: the control takes as many steps on local data alone, in
so many times the epochs, so that what is left of the gain is the samples' own. Federations run in this process's
children (server/learning/federated.py), without clocks and joules: those are a matter of the plan. Each is saved as it
is done; the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec
import numpy as np

from edge_client.protocol.messages import NetworkSpec
from server.config import RunConfig, load_config
from server.data.dataset import Dataset, images_digest
from server.data.load import load_dataset
from server.endings import exit_code
from server.errors import ConfigError
from server.given import FROM_1, check_values, decimals, seeds
from server.learning.federated import FederationJob, Progression, filled, run_federation
from server.learning.fit_rounds import deal, synthetic_of
from server.learning.made import Made
from server.learning.measure import MeasureProgress, measure
from server.learning.training import balanced_draw
from server.plan.fill import class_fill
from server.synth.card import check_pool_trained_on
from server.synth.pool import Pool, draw, load_pool
from server.synth.public import public_part


@dataclass(frozen=True)
class Cell:
    """One federation: of a partition, with a fill factor (1: local data alone) and so many times the local epochs; its
    accuracy after each round."""

    alpha: float
    fill_factor: float
    seed: int
    epochs: int = 1
    accuracy: tuple[float, ...] = ()

    @property
    def cell(self) -> tuple[float, float, int, int]:
        return self.alpha, self.fill_factor, self.seed, self.epochs

    @property
    def colour(self) -> str:
        """In figures."""
        return "#1b7f5c" if self.fill_factor > 1 else "#7f8ea3" if self.epochs == 1 else "#c98a2b"

    @property
    def name(self) -> str:
        """What devices train on, for tables."""
        if self.fill_factor > 1:
            return f"filled to {self.fill_factor:g} times the data"
        return "local data alone" if self.epochs == 1 else f"local data alone, {self.epochs} times the epochs"


@dataclass(frozen=True)
class CellJob:
    """A cell and the federation that measures it."""

    cell: Cell
    federation: FederationJob


def run_cell(job: CellJob) -> Cell:
    """In a process of its own."""
    return replace(job.cell, accuracy=run_federation(job.federation).accuracy)


def prepare(cell: Cell, config: RunConfig, dataset: Dataset, pool: Pool, test: np.ndarray) -> CellJob:
    """Deal the private part for this cell's seed and alpha, and fill it where the cell says so."""
    data = msgspec.structs.replace(config.data, alpha=cell.alpha, partition="dirichlet")
    private = dataset.cut(data.public_fraction, data.split_seed).private
    parts = deal(data, dataset.y_train, private, None, config.n_devices, cell.seed)
    devices = tuple((dataset.x_train[part], dataset.y_train[part]) for part in parts)
    if cell.fill_factor > 1:
        counts = [np.bincount(own, minlength=dataset.n_classes) for _, own in devices]
        wanted = np.array([class_fill(own, synthetic_of(own, cell.fill_factor)) for own in counts])
        devices = filled(devices, draw(pool, wanted, seed=cell.seed))
    network = NetworkSpec(name=config.network.name, image_shape=dataset.image_shape, n_classes=dataset.n_classes)
    progression = Progression(cell.fill_factor, cell.seed)
    held_out = (dataset.x_test[test], dataset.y_test[test])
    training = msgspec.structs.replace(config.training, local_epochs=config.training.local_epochs * cell.epochs)
    return CellJob(cell, FederationJob(progression, network, training, devices, held_out))


def summary(cells: Sequence[Cell], last: int = 3) -> list[dict[str, Any]]:
    """A row for each alpha and kind: the mean of the `last` rounds' accuracy, over seeds mean, least and most; how much
    that is above local data alone, seed by seed; and the rounds until it reaches what that ended with (None: never).
    """

    def end(cell: Cell) -> float:
        return mean(cell.accuracy[-last:])

    plain = {(cell.alpha, cell.seed): end(cell) for cell in cells if cell.fill_factor == cell.epochs == 1}
    rows = []
    for alpha, factor, epochs in sorted({(-cell.alpha, cell.fill_factor, cell.epochs) for cell in cells}):
        own = [cell for cell in cells if (-cell.alpha, cell.fill_factor, cell.epochs) == (alpha, factor, epochs)]
        ends = [end(cell) for cell in own]
        beside = [(cell, plain[cell.alpha, cell.seed]) for cell in own if (cell.alpha, cell.seed) in plain]
        rows.append(
            {
                "alpha": -alpha,
                "fill_factor": factor,
                "epochs": epochs,
                "name": own[0].name,
                "seeds": len(own),
                "accuracy": mean(ends),
                "least": min(ends),
                "most": max(ends),
                "above_plain": [end(cell) - other for cell, other in beside],
                "rounds_to_plain": [
                    next((r for r, seen in enumerate(cell.accuracy, 1) if seen >= other), None)
                    for cell, other in beside
                ],
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown."""
    lines = [
        "| data | devices train on | accuracy | above local data alone, by seed | rounds to its end |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        above = ", ".join(f"{100 * own:+.1f}" for own in row["above_plain"])
        rounds = ", ".join("never" if own is None else str(own) for own in row["rounds_to_plain"])
        spread = f"{row['accuracy']:.1%} ({row['least']:.1%} to {row['most']:.1%})"
        lines.append(f"| Dirichlet({row['alpha']:g}) | {row['name']} | {spread} | {above} | {rounds} |")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, the server's for what the server refuses."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench_fill", description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path, metavar="RUN.toml")
    parser.add_argument("--pool", type=Path, required=True, help="samples of a generator of this cut")
    parser.add_argument("--alphas", default="0.4,0.1")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--fill-factor", type=int, default=2, help="a whole number from 2 up")
    parser.add_argument("--rounds", type=int, help="default: training.rounds of RUN.toml")
    parser.add_argument("--test", type=int, default=4000, help="test images after each round (default: 4000)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    if arguments.fill_factor < 2:
        parser.error(f"--fill-factor {arguments.fill_factor}: from 2 up, for the control takes as many epochs")
    return exit_code("bench_fill", partial(bench, arguments))


def bench(arguments: argparse.Namespace) -> None:
    """Measure what is missing, then print the table and write fill.json and fill.png."""
    check_values(arguments, {"rounds": FROM_1, "test": FROM_1, "workers": FROM_1})
    config = load_config(arguments.config)
    if arguments.rounds is not None:
        training = msgspec.structs.replace(config.training, rounds=arguments.rounds)
        config = msgspec.structs.replace(config, training=training)
    alphas = decimals(arguments.alphas, "--alphas")
    if min(alphas) <= 0:
        raise ConfigError(f"--alphas: {arguments.alphas!r}; numbers above 0")
    data = config.data
    base = arguments.config.resolve().parent
    dataset = load_dataset(data.source, image_size=data.image_size, seed=data.split_seed, base=base)
    pool = load_pool(arguments.pool)
    check(pool, arguments.pool.resolve(), dataset, config)
    test = balanced_draw(dataset.y_test, min(arguments.test, len(dataset.y_test)), np.random.default_rng(0))
    wanted = [
        Cell(alpha, factor, seed, epochs)
        for seed in seeds(arguments.seeds)
        for alpha in alphas
        for factor, epochs in ((1.0, 1), (1.0, arguments.fill_factor), (float(arguments.fill_factor), 1))
    ]
    facts = {
        "dataset": dataset.name,
        "train_digest": images_digest(dataset.x_train, dataset.y_train),
        "test_digest": images_digest(dataset.x_test[test], dataset.y_test[test]),
        "generator": pool.generator,
        "samples_digest": Made.by_class(pool.images, {}).digest,
        "devices": config.n_devices,
        "local_samples": data.local_samples,
        "public_fraction": data.public_fraction,
        "split_seed": data.split_seed,
        "network": config.network.name,
        "training": msgspec.to_builtins(config.training),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    arguments.out.mkdir(parents=True, exist_ok=True)

    def tell(now: MeasureProgress[Cell]) -> None:
        cell = now.point
        print(
            f"{now.done} of {now.wanted}: Dirichlet({cell.alpha:g}), {cell.name}, seed {cell.seed}: "
            f"{cell.accuracy[-1]:.1%}, {now.left_s / 60:.0f} min left",
            flush=True,
        )

    cells = measure(
        wanted,
        lambda cell: prepare(cell, config, dataset, pool, test),
        run_cell,
        arguments.out / "fill.points.jsonl",
        key,
        workers=arguments.workers,
        report=tell,
    )
    rows = summary(cells)
    content = {"facts": facts, "rows": rows, "cells": [asdict(cell) for cell in cells]}
    (arguments.out / "fill.json").write_text(json.dumps(content, indent=1) + "\n")
    draw_figure(arguments.out / "fill.png", cells, f"{dataset.name}, {config.n_devices} devices")
    print(
        f"\n{dataset.name}, {config.n_devices} devices of {data.local_samples} samples, {config.training.rounds} "
        f"rounds, {len({cell.seed for cell in cells})} seeds\n"
    )
    print("\n".join(table(rows)))


def check(pool: Pool, folder: Path, dataset: Dataset, config: RunConfig) -> None:
    """Raise DataError where the samples do not fit the data, or their generator may have seen what devices hold."""
    Made.by_class(pool.images, {}).check_fits(dataset)
    part = public_part(dataset, config.data.public_fraction, config.data.split_seed)
    check_pool_trained_on(folder, {pool.generator}, part.facts["digest"], print)


def draw_figure(path: Path, cells: Sequence[Cell], title: str) -> None:
    """Accuracy over rounds, a panel for each alpha, a line for each seed."""
    from matplotlib.figure import Figure

    alphas = sorted({cell.alpha for cell in cells}, reverse=True)
    names = [name for *_, name in sorted({(cell.fill_factor, cell.epochs, cell.name) for cell in cells})]
    figure = Figure(figsize=(5.2 * len(alphas), 3.8), layout="constrained")
    figure.suptitle(title)
    for place, alpha in enumerate(alphas, 1):
        axes = figure.add_subplot(1, len(alphas), place)
        for name in names:
            own = [cell for cell in cells if (cell.alpha, cell.name) == (alpha, name)]
            for number, cell in enumerate(own):
                rounds = range(1, 1 + len(cell.accuracy))
                axes.plot(rounds, cell.accuracy, color=cell.colour, lw=1.4, label=None if number else name)
        axes.set(title=f"Dirichlet({alpha:g})", xlabel="round", ylabel="accuracy on unseen test images", ylim=(0, 1))
        axes.grid(alpha=0.25)
        axes.legend(loc="best", frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
