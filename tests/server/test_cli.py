"""The command line: quick, documented, one sentence for every foreseen error."""

from __future__ import annotations

import errno
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch

from server import cli, errors, pipeline, steps
from server.endings import INTERRUPTED
from server.progress import Progress
from server.run_dir import RunDir
from server.sources import ASSETS
from server.steps import Run
from tests.e2e.world import write_world

ROOT = Path(__file__).resolve().parents[2]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from server import cli; cli.build_parser().format_help();"
        "print([m for m in ('torch', 'numpy', 'aiomqtt', 'diffusers', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_exit_codes_are_documented_in_help_and_readme() -> None:
    help_text = cli.build_parser().format_help()
    readme = (ROOT / "server" / "README.md").read_text()
    codes = {error.exit_code for error in vars(errors).values() if isinstance(error, type)}
    for code in codes | {0, INTERRUPTED}:
        assert f"\n  {code} " in help_text
        assert f"\n| {code} |" in readme
    for code, what in ((errors.InfeasibleError.exit_code, "no plan"), (errors.DataError.exit_code, "a data set")):
        assert re.search(rf"\n  {code} +{what}", help_text)
        assert f"\n| {code} | {what}" in readme


def test_commands_are_documented() -> None:
    readme = (ROOT / "server" / "README.md").read_text()
    parser = cli.build_parser()
    (action,) = (a for a in parser._actions if a.dest == "command")
    for command in action.choices:
        assert f"`{command} " in readme or f"`{command}`" in readme, command


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run"], 2, "run needs either RUN.toml or --resume RUN_DIR"),
        (["run", "none.toml"], 2, "none.toml"),
        (["report", "nowhere"], 4, "nowhere is not a run directory"),
        (["devices", "--out", "nowhere"], 4, "no device has enrolled yet"),
        (["run", "--resume", "nowhere"], 4, "nowhere is not a run directory"),
        (["run", "--resume", "nowhere", "--fresh"], 2, "for new samples: fimi-server synth --fresh RUN_DIR"),
        (["synth-pool", "--out", "x", "--workers", "2"], 2, "--workers: is a number from 1 up, beside --ray"),
        (["synth-pool", "--out", "x", "--ray", "auto", "--workers", "0"], 2, "--workers: is a number from 1 up"),
        (["synth-pool", "--status", "--out", "x"], 4, "no pool of synthetic samples at x; make one with"),
    ],
)
def test_an_error_is_one_sentence_on_stderr(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("fimi-server: ")
    assert said.count("\n") == 1


def test_a_run_that_is_refused_at_once_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run.toml"
    run.write_text('strategy = "tfl"\n[data]\nsource = "nowhere"\n[fleet]\ndevices = 2\n')
    for command in ("run", "devices"):
        assert cli.main([command, str(run), "--out", str(tmp_path / "runs")]) == 4
        said = capsys.readouterr()
        assert "no data set 'nowhere'" in said.err
        assert "the run directory is removed again" in said.out
        assert list((tmp_path / "runs").iterdir()) == []


def test_more_samples_than_there_are_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run = write_world(tmp_path / "world", rounds=1, strategies=["tfl"], local_samples=100)
    run.write_text(run.read_text().replace("local_samples = 100", "local_samples = 500"))
    assert cli.main(["run", str(run), "--out", str(tmp_path / "runs")]) == 4
    assert list((tmp_path / "runs").iterdir()) == []


def test_new_samples_stay_new_when_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_world(tmp_path / "world", rounds=1, strategies=["tfl"], local_samples=20)
    begun = pipeline.new_run(run, tmp_path / "runs", Progress())
    drawn: list[bool] = []

    def make_shards(run: Run, *_: object, anew: bool, make: object) -> dict[str, bytes]:
        drawn.append(run.config.synth.fresh and anew)
        return {}

    monkeypatch.setattr(steps, "make_shards", make_shards)
    monkeypatch.setattr(RunDir, "plan", lambda *_: None)
    assert cli.main(["synth", str(begun.folder.path)]) == 0
    assert not pipeline.open_run(begun.folder.path, Progress()).config.synth.fresh
    assert cli.main(["synth", "--fresh", str(begun.folder.path)]) == 0
    assert drawn == [False, True]
    assert pipeline.open_run(begun.folder.path, Progress()).config.synth.fresh


def test_a_missing_extra_has_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(arguments: object) -> None:
        raise ModuleNotFoundError("No module named 'diffusers.models'", name="diffusers.models")

    monkeypatch.setattr(cli, "report_command", without)
    assert cli.main(["report", "x"]) == 7
    assert "pip install 'fimi[server]'" in capsys.readouterr().err


def test_without_ray_synthesis_on_a_cluster_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    run = write_world(tmp_path / "world", rounds=1, strategies=["tfl"], local_samples=20)
    run.write_text(run.read_text().replace("[synth]", '[synth]\ngenerator = "g.safetensors"'))
    begun = pipeline.new_run(run, tmp_path / "runs", Progress())
    assert cli.main(["synth", "--ray", "auto", str(begun.folder.path)]) == 7
    assert "pip install 'fimi[ray]'" in capsys.readouterr().err


def test_the_status_of_the_pool_that_ships(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["synth-pool", "--status", "--out", str(ASSETS / "fashion-mnist")]) == 0
    said = capsys.readouterr().out
    assert re.fullmatch(
        r"generator [0-9a-f]{16}, seeds of 0, black below 8, blocks of \d+: (\d+)0 samples, \1 of each of 10 classes, "
        r"\d\.\d MB\n",
        said,
    ), said


def test_an_unforeseen_module_error_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: object) -> None:
        raise ModuleNotFoundError("No module named 'sever'", name="sever")

    monkeypatch.setattr(cli, "report_command", broken)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["report", "x"])


def full_registry() -> sqlite3.OperationalError:
    with closing(sqlite3.connect(":memory:")) as registry:
        registry.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as full:
            registry.execute("CREATE TABLE devices (id TEXT)")
    return full.value


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "x", "runs/a.json"),
            "No space left on device for runs/a.json; make room: what was done",
        ),
        (OSError(errno.EDQUOT, "x"), "Disk quota exceeded; make room"),
        (full_registry(), "No space left on device for the registry of devices; make room"),
        (OSError(errno.ENOMEM, "x"), "memory ran out ([Errno 12] x); free some, or ask for less at once"),
        (MemoryError(), "memory ran out (MemoryError)"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to"), "memory ran out (CUDA out of memory);"),
    ],
)
def test_a_disk_or_a_memory_that_is_full_is_8(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(arguments: object) -> None:
        raise error

    monkeypatch.setattr(cli, "report_command", full)
    assert cli.main(["report", "x"]) == 8
    assert capsys.readouterr().err.startswith(f"fimi-server: {said}")


@pytest.mark.parametrize("kind", [FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError])
def test_a_place_that_will_not_do_is_2(
    kind: type[OSError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(arguments: object) -> None:
        raise kind(errno.EEXIST, "what the system says", "out/afile")

    monkeypatch.setattr(cli, "report_command", refused)
    assert cli.main(["report", "x"]) == 2
    assert capsys.readouterr().err == "fimi-server: out/afile: what the system says; choose another place\n"


def test_another_error_of_the_system_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(cli, "report_command", broken)
    with pytest.raises(OSError, match="input/output"):
        cli.main(["report", "x"])


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "report_command", interrupted)
    assert cli.main(["report", "x"]) == 130
    assert "what was written is kept" in capsys.readouterr().err


def test_partition_writes_a_file_a_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    from edge_client.training.data import load

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (60, 8, 8, 1)).astype(np.uint8), np.arange(60) % 3
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    run = tmp_path / "run.toml"
    run.write_text('strategy = "tfl"\n[data]\nsource = "d.npz"\nlocal_samples = 10\n[fleet]\ndevices = 2\n')
    assert cli.main(["partition", str(run), "--out", str(tmp_path / "parts")]) == 0
    parts = [load(tmp_path / "parts" / f"device-{i}.npz") for i in (1, 2)]
    assert sum(len(part.labels) for part in parts) == 20
    assert all(part.n_classes == 3 for part in parts)
    run.write_text('strategy = "tfl"\n[data]\nsource = "d.npz"\nlocal_samples = 100\n[fleet]\ndevices = 2\n')
    assert cli.main(["partition", str(run), "--out", str(tmp_path / "parts")]) == 4
    assert "2 devices of 100 samples need 200, the private part of d has 30" in capsys.readouterr().err
