"""A sweep's file while it grows, and whole sweeps: with a fake bench, and with a real worker on a board's files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_client.errors import SetupError
from edge_client.hardware.alone import alone
from edge_client.protocol import graphs
from edge_client.protocol.messages import NetworkSpec
from firmware_profiles.loader import load_profile
from server.export.bundle import make_bundle
from server.export.step import Options
from tests.edge_client.trees import nano
from tools.calibrate import sweep
from tools.calibrate.cli import main
from tools.calibrate.errors import CalibrateError
from tools.calibrate.rows import Row, read_rows
from tools.calibrate.schedule import Cell, planned
from tools.calibrate.sweep_file import append, read_sweep

ROW = Row(0, 1e9, 10, 1.25, 3.5, cores=1, starved=False, repeat=1, network="vgg9", source="measured", meter="a, b")
CELLS = planned((1e9, 2e9), (1,), repeats=1, seed=0)


class FakeBench:
    """Makes a row of every cell; the first `bad` training windows are starved."""

    def __init__(self, bad: int = 0) -> None:
        self.asked: list[Cell] = []
        self._bad = bad

    async def measure(self, cell: Cell) -> Row:
        self.asked.append(cell)
        starved = not cell.idle and self._bad > 0
        self._bad -= starved
        return replace(ROW, freq_hz=cell.freq_hz, cores=cell.cores, repeat=cell.repeat, idle=cell.idle,
                       samples=0 if cell.idle else 10, energy_j=3.5 + len(self.asked),
                       rejected="starved" if starved else None)  # fmt: skip


def settings(tmp_path: Path) -> sweep.Settings:
    return sweep.Settings(
        tmp_path, tmp_path / "d.npz", tmp_path / "s.csv", 1.0, 0.0, 1, 2, 0, "vgg9", 8, "numpy", None, (), ()
    )


def test_lines_read_back(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    assert read_sweep(path, {}) == ()
    append(path, ROW)
    append(path, replace(ROW, repeat=2))
    assert read_sweep(path, {"network": "vgg9"}) == (replace(ROW, line=2), replace(ROW, line=3, repeat=2))


def test_a_line_that_was_cut_short_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    append(path, ROW)
    whole = path.read_text()
    path.write_text(whole + "1000000000.0,10,1.2")
    assert len(read_sweep(path, {})) == 1
    assert path.read_text() == whole
    path.write_text(whole[:30])  # not even the header was finished
    assert read_sweep(path, {}) == ()


def test_another_sweep_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    append(path, ROW)
    with pytest.raises(CalibrateError, match="line 2 has network vgg9, this sweep unet; give another --out"):
        read_sweep(path, {"network": "unet"})
    path.write_text("freq_hz,samples,duration_s,energy_j\n1000000000,1,1,1\n")
    with pytest.raises(CalibrateError, match="was not written by"):
        read_sweep(path, {})


async def test_an_interrupted_sweep_goes_on_and_repeats_what_was_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terms, rows = settings(tmp_path), []
    first = FakeBench(bad=1)
    await sweep.take_all(first, terms, CELLS[:2], rows)  # idle, then a window that is starved, and again
    assert first.asked == [CELLS[0], CELLS[1], CELLS[1]]
    again, read = FakeBench(), list(read_sweep(terms.out, {}))
    await sweep.take_all(again, terms, CELLS, read)
    assert again.asked == [CELLS[2]]
    said = capsys.readouterr().err
    assert "2/2 " in said and "rejected: starved" in said and "s left" in said


@pytest.fixture
def board(tmp_path: Path) -> list[str]:
    """A Jetson Nano's files, whose clock always reads 1479 MHz, and the command that sweeps two of its clocks."""
    nano(tmp_path / "root")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x=images, y=rng.integers(0, 3, 40), n_classes=np.int64(3))
    command = ["sweep", "--root", str(tmp_path / "root"), "--data", str(tmp_path / "d.npz"), "--runtime", "numpy"]
    command += ["--network", "softmax", "--batch-size", "8", "--window-s", "0.3", "--drop-first-s", "0.1"]
    command += ["--repeats", "1", "--tries", "2", "--cores", "1"]
    return [*command, "--opps", "1479000000", "1224000000", "--out", str(tmp_path / "s.csv")]


def test_a_board_that_disobeys_is_caught_and_left_as_it_was(
    board: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "root/sys/devices/system/cpu/cpufreq/policy0"
    assert main(board) == 0
    said = capsys.readouterr().err
    assert "1224 MHz, 1 core, repeat 1: given up after 2 tries (mis-clocked)" in said
    _, rows = read_rows((tmp_path / "s.csv").read_text(), "s.csv")
    training = [row for row in rows if not row.idle]
    assert sorted((row.freq_hz, row.rejected) for row in training) == [
        (1224e6, "mis-clocked"), (1224e6, "mis-clocked"), (1479e6, None),
    ]  # fmt: skip
    assert all(row.samples > 0 and row.power_w == pytest.approx(2.5) for row in training)
    assert (policy / "scaling_governor").read_text() == "schedutil\n"
    assert not (tmp_path / "root/run/fimi-calibrate/settings.json").exists()
    assert main(board) == 0  # nothing is left to do
    assert len(read_rows((tmp_path / "s.csv").read_text(), "s.csv")[1]) == len(rows)


def test_a_sweep_says_what_it_cannot_do(board: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    assert main([*board, "--cores", "9"]) == 2
    assert "--cores '9': this board has 4" in capsys.readouterr().err
    assert main([*board, "--opps", "1000000000"]) == 2
    assert "--opps 1000000000 is no operating point of this board; it has 102000000" in capsys.readouterr().err
    (root / "run/fimi").mkdir(parents=True)
    with alone(root / "run/fimi"):  # as a client that runs, whether it holds anything or not
        assert main(board) == 2
    assert "another client or sweep is at work on this board" in capsys.readouterr().err
    (root / "run/fimi/settings.json").write_text("{}")
    assert main(board) == 2
    assert "a client holds settings of this board" in capsys.readouterr().err
    (root / "run/fimi/settings.json").unlink()
    for file in (root / "sys/bus").rglob("in_power*"):
        file.unlink()
    assert main(board) == 6
    assert "no power meter was found, so there are no joules to sweep: ina3221: " in capsys.readouterr().err
    shutil.rmtree(root / "sys/bus")
    assert main(board) == 6
    assert "no power meter was found, so there are no joules to sweep: this board has no m" in capsys.readouterr().err
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text("cpu  1 2 3 4 5 6 7 8 0 0\n")
    (root / "proc/device-tree").mkdir(exist_ok=True)
    (root / "proc/device-tree/model").write_text(load_profile("jetson-nano").model)
    assert main(board) == 6
    assert "a model instead of a power meter" in capsys.readouterr().err


def test_graphs_for_a_runtime_that_trains_by_them(tmp_path: Path) -> None:
    network = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=3)
    own = tmp_path / "own.fimi"
    own.write_bytes(graphs.pack(make_bundle(network, "numpy", Options())))
    (tmp_path / "junk").write_bytes(b"junk")
    asked = replace(settings(tmp_path), network="tiny", runtime="numpy")
    assert sweep._graphs(replace(asked, graphs=own), network) == str(own)
    assert sweep._graphs(replace(asked, runtime="torch"), network) is None
    for given, said in (
        (
            None,
            "--graphs is missing, runtime numpy trains by them; give one of: fimi-server export-step --runtime numpy",
        ),
        (tmp_path / "none", "none: No such file or directory; give one of: fimi-server export-step"),
        (tmp_path / "junk", "no bundle of graphs"),
    ):
        with pytest.raises(SetupError, match=said):
            sweep._graphs(replace(asked, graphs=given), network)
    other = NetworkSpec(name="tiny", image_shape=(9, 9, 1), n_classes=3)
    with pytest.raises(SetupError, match=r"is for numpy and NetworkSpec.*--image-shape 9,9,1 --classes 3 --out DIR$"):
        sweep._graphs(replace(asked, graphs=own), other)
    with pytest.raises(SetupError, match="--batch 8$"):
        sweep._graphs(replace(asked, runtime="tflite"), network)
