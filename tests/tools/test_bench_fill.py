from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.config import DataConfig, FleetConfig, NetworkConfig, RunConfig, TrainingConfig, load_config
from server.data.dataset import Dataset, cut_public_private
from server.data.load import load_dataset
from server.errors import DataError
from server.synth.pool import Pool, load_pool
from server.synth.public import public_part
from server.synth.store import Block, Kind, Store
from tests.e2e.world import write_world
from tests.synth.stores import write_pool
from tools.bench_fill import Cell, check, draw_figure, main, prepare, summary, table


def test_the_table_counts_rounds_to_where_plain_learning_ended() -> None:
    cells = [
        Cell(0.4, 1.0, 0, 1, (0.2, 0.4, 0.6)),
        Cell(0.4, 2.0, 0, 1, (0.5, 0.7, 0.8)),
        Cell(0.4, 1.0, 0, 2, (0.6, 0.6, 0.6)),
        Cell(0.4, 1.0, 1, 1, (0.5, 0.5, 0.5)),
        Cell(0.4, 2.0, 1, 1, (0.1, 0.2, 0.3)),
    ]
    rows = summary(cells, last=2)
    plain, control, fill = rows
    assert (plain["fill_factor"], plain["accuracy"], plain["least"], plain["most"]) == (1.0, 0.5, 0.5, 0.5)
    assert fill["accuracy"] == pytest.approx((0.75 + 0.25) / 2)
    assert fill["rounds_to_plain"] == [1, None]  # plain ended with 0.5 both times
    assert plain["rounds_to_plain"] == [3, 1]
    assert fill["above_plain"] == pytest.approx([0.25, -0.25])
    assert (control["epochs"], control["rounds_to_plain"]) == (2, [1])
    assert table(rows)[3:] == [
        "| Dirichlet(0.4) | local data alone, 2 times the epochs | 60.0% (60.0% to 60.0%) | +10.0 | 1 |",
        "| Dirichlet(0.4) | filled to 2 times the data | 50.0% (25.0% to 75.0%) | +25.0, -25.0 | 1, never |",
    ]


def test_devices_hold_private_samples_and_as_many_synthetic_ones_of_what_they_lack() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (400, 8, 8, 1), dtype=np.uint8)
    y = np.arange(400) % 2
    dataset = Dataset("noise", x[:300], y[:300], x[300:], y[300:], ("a", "b"))
    config = RunConfig(
        data=DataConfig(source="noise", local_samples=20),
        network=NetworkConfig(name="tiny"),
        training=TrainingConfig(rounds=1),
        fleet=FleetConfig(devices=3),
    )
    made = tuple(np.full((60, 8, 8, 1), label, np.uint8) for label in (0, 255))
    pool = Pool("f" * 64, 0, 0, made)
    test = np.arange(10)
    plain = prepare(Cell(0.1, 1.0, 0), config, dataset, pool, test).federation
    fill = prepare(Cell(0.1, 2.0, 0), config, dataset, pool, test).federation
    private = cut_public_private(dataset.y_train, public_fraction=0.5, seed=0).private
    own = {image.tobytes() for image in dataset.x_train[private]}
    assert sum(len(labels) for _, labels in plain.devices) == 60
    assert all(image.tobytes() in own for images, _ in plain.devices for image in images)
    for (_, before), (images, after) in zip(plain.devices, fill.devices, strict=True):
        assert len(after) == 2 * len(before)
        assert np.array_equal(after[: len(before)], before)
        added = np.bincount(after[len(before) :], minlength=2)
        assert set(np.unique(images[len(before) :])) <= {0, 255}
        wide = np.bincount(after, minlength=2)
        assert added.min() == 0 or abs(int(wide[0]) - int(wide[1])) <= 1  # even, or all for the class that is short
    assert len(fill.test[1]) == 10
    control = prepare(Cell(0.1, 1.0, 0, 2), config, dataset, pool, test).federation
    assert (plain.training.local_epochs, control.training.local_epochs) == (1, 2)


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    draw_figure(tmp_path / "fill.png", [Cell(0.4, 1.0, 0, 1, (0.1, 0.2)), Cell(0.4, 2.0, 0, 1, (0.3, 0.4))], "x")
    assert (tmp_path / "fill.png").read_bytes()[:4] == b"\x89PNG"


def test_a_control_needs_whole_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["RUN.toml", "--pool", "p", "--out", "o", "--fill-factor", "1"])
    assert "--fill-factor 1: from 2 up" in capsys.readouterr().err


def test_the_command_measures_once_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_world(tmp_path, rounds=1, strategies=["tfl"], local_samples=20)
    words = [str(run), "--pool", str(tmp_path / "pool"), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main([*words, "--alphas", "0.4", "--seeds", "0"]) == 0
    said = capsys.readouterr().out
    assert "note: no card of their generator beside" in said
    assert "3 of 3: Dirichlet(0.4), filled to 2 times the data, seed 0" in said
    assert main([*words, "--alphas", "0.4", "--seeds", "0,1"]) == 0
    again = capsys.readouterr().out
    assert "4 of 6: Dirichlet(0.4), local data alone, seed 1" in again  # the three before were kept
    content = json.loads((tmp_path / "out" / "fill.json").read_text())
    assert [row["seeds"] for row in content["rows"]] == [2, 2, 2]
    Store(tmp_path / "pool").write(load_kind(tmp_path / "pool"), Block(0, 40), np.zeros((40, 12, 12, 1), np.uint8))
    assert main([*words, "--alphas", "0.4", "--seeds", "0"]) == 0
    assert "1 of 3" in capsys.readouterr().out  # other samples: measured anew


def test_what_does_not_fit_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_world(tmp_path, rounds=1, strategies=["tfl"], local_samples=20)
    write_pool(tmp_path / "few" / "pool", [np.zeros((4, 12, 12, 1), np.uint8)] * 3)
    out = ["--out", str(tmp_path / "out")]
    assert main([str(run), "--pool", str(tmp_path / "few" / "pool"), *out]) == 4
    assert "bench_fill: there is no synthetic sample of the class 3" in capsys.readouterr().err
    (tmp_path / "generator-card.json").write_text(json.dumps(SEEN))
    assert main([str(run), "--pool", str(tmp_path / "pool"), *out]) == 4
    assert "may have seen the devices' images" in capsys.readouterr().err
    assert main([str(run), "--pool", str(tmp_path / "none"), *out]) == 4
    assert "none" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["--seeds", "a"], ["--seeds", "-1"], ["--alphas", "0"], ["--rounds", "0"]])
def test_a_value_that_no_bench_has_is_2(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_world(tmp_path, rounds=1, strategies=["tfl"], local_samples=20)
    assert main([str(run), "--pool", str(tmp_path / "pool"), "--out", str(tmp_path / "out"), *given]) == 2
    assert given[0] in capsys.readouterr().err


def test_a_card_admits_the_samples_of_its_generator_and_cut(tmp_path: Path) -> None:
    config = load_config(write_world(tmp_path, rounds=1, strategies=["tfl"], local_samples=20))
    dataset, pool = load_dataset("images.npz", base=tmp_path), load_pool(tmp_path / "pool")
    part = public_part(dataset, config.data.public_fraction, config.data.split_seed)
    for digest, right in ((part.facts["digest"], True), ("0" * 64, False)):
        card = SEEN | {"data": SEEN["data"] | {"digest": digest}}
        (tmp_path / "generator-card.json").write_text(json.dumps(card))
        with nullcontext() if right else pytest.raises(DataError, match="may have seen the devices' images"):
            check(pool, tmp_path / "pool", dataset, config)


SEEN: dict[str, Any] = {
    "format": "fimi-generator-card-1",
    "sampling": {"digest": "0" * 64},
    "data": {"name": "images", "digest": "0" * 64, "public_fraction": 0.9, "split_seed": 0},
}


def load_kind(pool: Path) -> Kind:
    (kind,) = Store(pool).kinds()
    return kind
