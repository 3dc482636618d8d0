from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from server.config import load_config
from server.report import build_report
from tests.report.run_directory import write_run
from tools import demo, demo_seeds


def report_of(tmp_path: Path, **more: Any) -> tuple[Path, dict[str, Any]]:
    path = write_run(tmp_path / "small-1", **more)
    build_report(path)
    return path, demo.read_report(path)


class TestSeed:
    def test_only_the_seed_changes(self) -> None:
        text = '# a run\nname = "x"\nseed = 0\n[data]\nsplit_seed = 0\n'
        assert demo.seed_of(text) == 0
        assert demo.with_seed(text, 12) == '# a run\nname = "x"\nseed = 12\n[data]\nsplit_seed = 0\n'

    def test_a_file_without_one(self) -> None:
        assert demo.with_seed('name = "x"\n', 3) == 'seed = 3\nname = "x"\n'

    @pytest.mark.parametrize("name", ["demo.toml", "demo-quick.toml"])
    def test_the_shipped_files_take_one(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_text(demo.with_seed((demo.HERE / name).read_text(), 5))
        config = load_config(tmp_path / name)
        assert config.seed == 5
        assert config.strategies == ("tfl", "fill", "fimi")
        assert [board.profile for board in config.boards].count("jetson-nano") == 2


class TestShow:
    def shown(self, path: Path, report: dict[str, Any]) -> str:
        console = Console(width=160, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
        with console.file:
            demo.show(report, path, console)
        return console.export_text()

    def test_the_table_and_the_path(self, tmp_path: Path) -> None:
        path, report = report_of(tmp_path)
        text = self.shown(path, report)
        assert "Joules to accuracy 60.0%, where tfl ends" in text
        assert "0.48" in text  # 240 J of fimi over 500 J of tfl
        assert str(path / "report.html") in text
        assert "virtual boards" in text

    def test_no_ratio_where_nothing_may_be_compared(self, tmp_path: Path) -> None:
        text = self.shown(*report_of(tmp_path, starved=True))
        assert "0.48" not in text
        assert "No comparison: 10.0% of the training windows were starved" in text


class TestServe:
    def stand_in(self, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        """Another child in the server's place."""
        popen = subprocess.Popen
        monkeypatch.setattr(
            subprocess, "Popen", lambda _command, **more: popen([sys.executable, "-c", code], text=True, **more)
        )

    def test_the_exit_code_is_the_servers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stand_in(monkeypatch, "raise SystemExit(5)")
        assert demo.serve("run") == 5

    def test_a_signal_is_handed_on_and_the_end_awaited(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        ready = tmp_path / "ready"
        os.mkfifo(ready)
        self.stand_in(
            monkeypatch,
            "import signal, sys\n"
            "signal.signal(signal.SIGINT, lambda *_: (print('stopping'), sys.exit(130)))\n"
            f"open({str(ready)!r}, 'w').close()\n"
            "signal.pause()\n",
        )

        def press() -> None:
            with ready.open():
                os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=press)
        thread.start()
        assert demo.serve("run") == 130
        thread.join()
        assert "stopping" in capfd.readouterr().out
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def seed_report(
    fimi: float | None, *, comparable: bool = True, whole: bool = True, tfl: float = 100.0
) -> dict[str, Any]:
    def strategy(added: float | None) -> dict[str, Any]:
        return {
            "energy_added_j": 500.0,
            "energy_board_j": 900.0,
            "joules_to_common_accuracy": added,
            "board_joules_to_common_accuracy": None if added is None else 2 * added,
            "joules_to_hold_common_accuracy": None if added is None or added == tfl else 3 * added,
            "board_joules_to_hold_common_accuracy": None if added is None else 6 * added,
            "full_accuracy": 0.5 if whole else None,
        }

    return {
        "run": "r",
        "comparable": comparable,
        "not_comparable_because": None if comparable else "starved",
        "strategies": {"tfl": strategy(tfl), "fimi": strategy(fimi)},
    }


class TestSeeds:
    def test_median_and_range_by_hand(self) -> None:
        spreads = demo_seeds.compare([seed_report(40.0), seed_report(60.0), seed_report(45.0)])
        held = ["added, until held", "whole board, until held"]
        assert [(s.strategy, s.basis) for s in spreads] == [
            ("fimi", basis) for basis in ("added", "whole board", *held)
        ]
        assert spreads[0].ratios == (0.4, 0.6, 0.45)
        assert spreads[0].median == 0.45
        assert spreads[1].median == 0.45
        # plain FL never held it, so its whole 500 J stand for it; 3 * 40, 3 * 60 and 3 * 45 J over them
        assert spreads[2].ratios == (0.24, 0.36, 0.27)
        assert spreads[3].ratios == (0.4, 0.6, 0.45)

    def test_never_is_worse_than_any_number(self) -> None:
        spread = demo_seeds.compare([seed_report(40.0), seed_report(None), seed_report(None)])[0]
        assert demo_seeds.text(spread.median) == "never"
        assert demo_seeds.text(min(spread.ratios)) == "0.40"

    def test_unknown_joules_are_not_never(self) -> None:
        report = seed_report(None)
        report["strategies"]["fimi"]["energy_added_j"] = None
        assert [spread.basis for spread in demo_seeds.compare([report])] == [
            "whole board",
            "whole board, until held",
        ]

    def test_a_finished_seed_is_not_run_again_and_a_starved_one_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        import json

        reports = {0: seed_report(40.0), 1: seed_report(10.0, comparable=False), 2: seed_report(50.0)}
        for seed in (0, 1):
            folder = tmp_path / f"demo-seed-{seed}" / "demo-1"
            folder.mkdir(parents=True)
            (folder / "report.json").write_text(json.dumps(reports[seed]))
        ran = []

        def run(_template: Path, *, seed: int, out: Path) -> tuple[int, Path]:
            ran.append(seed)
            (out / "demo-1").mkdir(parents=True)
            (out / "demo-1" / "report.json").write_text(json.dumps(reports[seed]))
            return 0, out / "demo-1"

        monkeypatch.setattr(demo, "run", run)
        assert demo_seeds.main(["0", "1", "2", "--out", str(tmp_path)]) == 1
        assert ran == [2]
        assert "Seed 1 is left out: starved." in capsys.readouterr().out
        summary = json.loads((tmp_path / "demo-summary.json").read_text())
        assert summary["ratios"]["fimi, added"] == [0.4, 0.5]

    def test_an_interrupted_seed_is_taken_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "demo-seed-0" / "demo-1").mkdir(parents=True)
        (tmp_path / "demo-seed-0" / "demo-1" / "devices.json").write_text("[]")
        asked = []
        monkeypatch.setattr(demo, "serve", lambda *arguments: asked.append(arguments) or 130)
        assert demo_seeds.main(["0", "--out", str(tmp_path)]) == 130
        assert asked == [("run", "--resume", str(tmp_path / "demo-seed-0" / "demo-1"))]

    def test_a_report_of_half_a_run_is_not_finished(self, tmp_path: Path) -> None:
        import json

        (tmp_path / "r").mkdir()
        (tmp_path / "r" / "report.json").write_text(json.dumps(seed_report(1.0, whole=False)))
        assert demo_seeds.finished(tmp_path) is None
        assert demo_seeds.finished(tmp_path / "none") is None


def test_another_seed_is_run_from_beside_the_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = tmp_path / "mine.toml"
    template.write_text('seed = 0\nname = "x"\n')
    asked = []

    def serve(*arguments: str) -> int:
        file = Path(arguments[1])
        asked.append((file.parent, file.read_text(), arguments[2:]))
        (tmp_path / "runs" / "x-1").mkdir()
        (tmp_path / "runs" / "x-1" / "config.toml").touch()
        return 0

    monkeypatch.setattr(demo, "serve", serve)
    assert demo.run(template, seed=4, out=tmp_path / "runs") == (0, tmp_path / "runs" / "x-1")
    assert asked == [(tmp_path, 'seed = 4\nname = "x"\n', ("--out", str(tmp_path / "runs")))]
    assert list(tmp_path.glob(".*")) == []
