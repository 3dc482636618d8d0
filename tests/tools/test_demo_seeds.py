"""A series of demos over seeds: which runs of an earlier one count, and medians by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.config import RunConfig
from tools import demo, demo_seeds

RUN_FILE = 'name = "demo"\nseed = 0\nstrategy = ["tfl", "fimi"]  # fill is left out\n'


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


def keep(run_dir: Path, report: dict[str, Any] | None, run_file: str) -> Path:
    """A run directory: enrolled, and with its report where there is one."""
    run_dir.mkdir(parents=True)
    (run_dir / "config.toml").write_text(run_file)
    (run_dir / "devices.json").write_text("[]")
    if report is not None:
        (run_dir / "report.json").write_text(json.dumps(report))
    return run_dir


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """demo.toml of a series."""
    path = tmp_path / "demo.toml"
    path.write_text(RUN_FILE)
    return path


class TestSeeds:
    def test_median_and_range_by_hand(self) -> None:
        spreads = demo_seeds.compare([seed_report(40.0), seed_report(60.0), seed_report(45.0)])
        bases = ("added", "whole board", "added, until held", "whole board, until held")
        assert [(s.strategy, s.basis) for s in spreads] == [("fimi", basis) for basis in bases]
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
        self, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        reports = {0: seed_report(40.0), 1: seed_report(10.0, comparable=False), 2: seed_report(50.0)}
        for seed in (0, 1):
            keep(tmp_path / f"demo-seed-{seed}" / "demo-1", reports[seed], demo.with_seed(RUN_FILE, seed))
        ran = []

        def run(_template: Path, *, seed: int, out: Path) -> tuple[int, Path]:
            ran.append(seed)
            return 0, keep(out / "demo-1", reports[seed], demo.with_seed(RUN_FILE, seed))

        monkeypatch.setattr(demo, "run", run)
        assert demo_seeds.main(["0", "1", "2", "--out", str(tmp_path), "--config", str(config)]) == 1
        assert ran == [2]
        assert "Seed 1 is left out: starved." in capsys.readouterr().out
        summary = json.loads((tmp_path / "demo-summary.json").read_text())
        assert summary["ratios"]["fimi, added"] == [0.4, 0.5]

    def test_an_interrupted_seed_is_taken_up(
        self, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = keep(tmp_path / "demo-seed-0" / "demo-1", None, RUN_FILE)
        keep(tmp_path / "demo-seed-0" / "demo-2", None, RUN_FILE + "[training]\nrounds = 9\n")  # newer, not ours
        asked = []
        monkeypatch.setattr(demo, "serve", lambda *arguments: asked.append(arguments) or 130)
        assert demo_seeds.main(["0", "--out", str(tmp_path), "--config", str(config)]) == 130
        assert asked == [("run", "--resume", str(begun))]

    @pytest.mark.parametrize(
        "earlier",
        [
            pytest.param(RUN_FILE + "[training]\nrounds = 9\n", id="another run file"),
            pytest.param(demo.with_seed(RUN_FILE, 7), id="another seed"),
            pytest.param("strategy = [", id="no TOML"),
        ],
    )
    def test_runs_of_another_run_file_do_not_count(
        self, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, earlier: str
    ) -> None:
        keep(tmp_path / "demo-seed-0" / "demo-1", seed_report(40.0), earlier)
        ran = []
        monkeypatch.setattr(demo, "run", lambda _template, *, seed, out: ran.append((seed, out)) or (130, None))
        assert demo_seeds.main(["0", "--out", str(tmp_path), "--config", str(config)]) == 130
        assert ran == [(0, tmp_path / "demo-seed-0")]

    def test_comments_and_order_do_not_make_another_run_file(self, tmp_path: Path, config: Path) -> None:
        again = '# tidied up\nstrategy = ["tfl", "fimi"]\nseed = 0\nname = "demo"\n'
        done = keep(tmp_path / "s" / "demo-1", seed_report(40.0), again)
        assert demo_seeds.finished(tmp_path / "s", demo_seeds.settings(config, 0)) == done

    def test_a_report_of_half_a_run_is_not_finished(self, tmp_path: Path, config: Path) -> None:
        wanted = demo_seeds.settings(config, 0)
        keep(tmp_path / "r", seed_report(1.0, whole=False), RUN_FILE)
        assert demo_seeds.finished(tmp_path, wanted) is None
        assert demo_seeds.finished(tmp_path / "none", wanted) is None

    def test_a_report_of_the_first_strategy_alone_is_not_finished(self, tmp_path: Path, config: Path) -> None:
        """A report lists only what has begun: each of its strategies is final, and one is not there."""
        report = seed_report(1.0)
        del report["strategies"]["fimi"]
        keep(tmp_path / "r", report, RUN_FILE)
        assert demo_seeds.finished(tmp_path, demo_seeds.settings(config, 0)) is None

    def test_what_a_run_file_without_strategies_names(self) -> None:
        assert RunConfig().strategies == demo_seeds.STRATEGIES
        assert not demo_seeds.whole(seed_report(1.0), {})  # no fill
        assert demo_seeds.whole(seed_report(1.0), {"strategy": "fimi"})

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (None, "demo_seeds: {}: no such file; give the path of a TOML file\n"),
            ("seed =\n", "demo_seeds: {}: Invalid value (at line 1, column 7); it must be valid TOML\n"),
        ],
    )
    def test_a_run_file_that_cannot_be_read_gets_one_sentence(
        self, tmp_path: Path, text: str | None, sentence: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "mine.toml"
        if text is not None:
            file.write_text(text)
        assert demo_seeds.main(["0", "--out", str(tmp_path), "--config", str(file)]) == 2
        assert capsys.readouterr().err == sentence.format(file)
