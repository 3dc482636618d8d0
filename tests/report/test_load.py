from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from server.errors import DataError
from server.report import tables
from server.report.load import load_run, round_row, settle
from server.report.values import WindowRow
from server.run_dir import RunDir
from tests.report import run_directory as small


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return small.write_run(tmp_path / "small-1")


class TestLoadRun:
    def test_what_the_files_say(self, run_dir: Path) -> None:
        data = load_run(run_dir)
        assert (data.id, data.name, data.seed, data.energy_basis) == ("small-1", "small", 7, "added")
        assert [run.name for run in data.strategies] == ["tfl", "fimi"]
        assert [device.label_counts for device in data.devices] == [(30, 10, 0), (0, 5, 35)]
        fimi = data.strategies[1]
        assert fimi.plan is not None
        assert fimi.plan.synth_counts == small.FILL
        assert (fimi.plan.samples, fimi.plan.energy_j, fimi.plan.gap) == (80, 84.0, 0.0)
        assert (fimi.full_accuracy, fimi.test_samples) == (0.55, 100)
        task = fimi.rounds[0].tasks[0]
        assert task.board_j == 60 + 2 * 20  # added joules and the idle floor of the task's 20 s
        assert task.planned_j == 42
        assert task.work_j == pytest.approx(54)  # nine tenths of 60 J went into training and upload
        assert task.windows == (WindowRow(1e9, 1e9, 1e9, 0.0, None, False),)

    def test_on_the_board_basis_the_floor_belongs_to_the_work(self, tmp_path: Path) -> None:
        config = small.CONFIG + '[plan]\nenergy_basis = "board"\n'
        run = load_run(small.write_run(tmp_path / "r", config=config)).strategies[0]
        assert run.rounds[0].tasks[0].work_j == pytest.approx(0.9 * 50 + 2 * (16 + 1))

    def test_the_run_file_is_shown_without_the_password(self, tmp_path: Path) -> None:
        config = small.CONFIG + '[broker]\nurl = "mqtts://me:s3c%40ret@host:99"  # ours\n'
        text = load_run(small.write_run(tmp_path / "r", config=config)).config_text
        assert text == small.CONFIG + '[broker]\nurl = "mqtts://...@host:99"  # ours\n'

    def test_images_of_both_kinds(self, run_dir: Path) -> None:
        data = load_run(run_dir)
        assert data.real is not None
        assert data.synthetic is not None
        assert data.real.images.shape == (80, 8, 8, 1)
        assert data.synthetic.images.shape == (75, 8, 8, 1)

    def test_a_run_on_hardware_has_no_images_of_the_devices(self, run_dir: Path) -> None:
        for file in (run_dir / "data").iterdir():
            file.unlink()
        assert load_run(run_dir).real is None

    def test_a_strategy_that_has_not_begun_is_left_out_and_said(self, run_dir: Path) -> None:
        (run_dir / "rounds-fimi.jsonl").unlink()
        data = load_run(run_dir)
        assert [run.name for run in data.strategies] == ["tfl"]
        assert "fimi: 0 of 5 rounds are on record." in data.notes

    def test_the_learning_curve_of_the_plans_is_shown(self, run_dir: Path) -> None:
        assert load_run(run_dir).learning is None
        content = {"alpha": 1.5, "beta": 0.5, "gamma": 0.1, "eta": 0.75, "intervals": {"eta": [0.5, 1.0]}}
        (run_dir / "learning.json").write_text(json.dumps(content))
        shown = tables.learning(load_run(run_dir))
        assert shown is not None
        assert shown.rows[0] == ("alpha", "1.500", "–")
        assert shown.rows[3] == ("eta", "0.750", "0.500 to 1.000")

    def test_no_meter(self, tmp_path: Path) -> None:
        data = load_run(small.write_run(tmp_path / "r", metered=False))
        assert data.strategies[0].rounds[0].tasks[1].added_j is None
        assert any(note.startswith("No power could be measured on b") for note in data.notes)

    def test_a_run_that_was_taken_up_again_says_what_may_be_missing(self, run_dir: Path) -> None:
        folder = RunDir(run_dir)
        folder.event("started", attempt=1)
        assert not any("attempts" in note for note in load_run(run_dir).notes)
        folder.event("started", attempt=2)
        (note,) = (note for note in load_run(run_dir).notes if "attempts" in note)
        assert note.startswith("The run was interrupted and taken up again, in 2 attempts.")
        assert note.endswith("where the server was killed, their joules of that moment may be missing.")

    def test_an_upload_that_was_planned_as_free_is_named(self, run_dir: Path) -> None:
        folder = RunDir(run_dir)
        assert not any("as free" in note for note in load_run(run_dir).notes)
        a, b = folder.devices()
        folder.save("devices.json", (a, msgspec.structs.replace(b, link=msgspec.structs.replace(b.link, power_w=None))))
        assert "The upload power of b could not be measured; plans count it as free." in load_run(run_dir).notes

    def test_a_board_that_did_not_keep_its_clock_is_named(self, run_dir: Path) -> None:
        folder = RunDir(run_dir)
        a, b = folder.devices()
        point = msgspec.structs.replace(
            b.profile.points[0], freq_hz=6.144e8, verified_hz=1.479e9, verified_by="work", finding="not_applied"
        )
        profile = msgspec.structs.replace(b.profile, points=(point,))
        folder.save("devices.json", (a, msgspec.structs.replace(b, profile=profile)))
        (note,) = (note for note in load_run(run_dir).notes if "keep its clock" in note)
        assert note == (
            "b did not keep its clock when it was profiled: 614 MHz was 1479 MHz by work (not applied). "
            "Plans count on what it did."
        )

    def test_a_folder_that_is_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="not a run directory"):
            load_run(tmp_path)


class TestLastWords:
    def test_a_late_one_counts_for_its_own_round(self) -> None:
        first = msgspec.structs.replace(small.record("tfl", 1, 1), closed=(), lost=("a",))
        second = msgspec.structs.replace(small.record("tfl", 2, 2), stray=(small.closed("a", 1, 9.0),))
        got = settle([first, second], [])
        assert [c.energy.added_j for c in got[1]] == [9.0]
        assert len(got[2]) == 2

    def test_one_of_an_interrupted_round_counts_for_the_record_that_took_it_up(self) -> None:
        record = msgspec.structs.replace(small.record("tfl", 1, 4), stray=(small.closed("a", 3, 9.0, aborted=True),))
        assert sorted((c.device, c.round) for c in settle([record], [])[4]) == [("a", 3), ("a", 4), ("b", 4)]

    def test_one_after_the_last_record_counts_for_the_last(self) -> None:
        got = settle([small.record("tfl", 1, 1)], [small.closed("a", 2, 9.0, aborted=True)])
        assert len(got[1]) == 3

    def test_each_counts_once(self) -> None:
        record = small.record("tfl", 1, 1)
        assert len(settle([record], record.closed)[1]) == 2

    def test_a_word_of_another_attempt_neither_displaces_nor_passes_for_the_one_of_this_round(self) -> None:
        old = msgspec.structs.replace(small.closed("a", 1, 7.0), run="small.0")
        record = small.record("tfl", 1, 1)
        for first in ((old, *record.closed), (*record.closed, old)):
            got = settle([msgspec.structs.replace(record, closed=record.closed, stray=first)], [])
            assert sorted(c.energy.added_j or 0.0 for c in got[1]) == [7.0, 50.0, 50.0]
            row = round_row(record, got[1], "added")
            assert sum(task.accepted for task in row.tasks) == 2
            assert [task.work_j for task in row.tasks if task.added_j == 7.0] == [None]

    def test_a_word_on_an_earlier_round_does_not_hide_that_this_one_is_unknown(self) -> None:
        record = small.record("tfl", 1, 4)
        silent = msgspec.structs.replace(
            record, closed=record.closed[1:], lost=("a",), stray=(small.closed("a", 3, 9.0, aborted=True),)
        )
        row = round_row(silent, settle([silent], [])[4], "added")
        assert [(task.device, task.added_j) for task in row.tasks] == [("b", 50.0), ("a", 9.0), ("a", None)]

    def test_a_silent_device_leaves_the_round_unknown(self, run_dir: Path) -> None:
        record = small.record("tfl", 5, 5)
        silent = msgspec.structs.replace(record, closed=record.closed[:1], lost=("b",))
        (run_dir / "rounds-tfl.jsonl").unlink()
        small.append(run_dir, "tfl", silent)
        run = load_run(run_dir).strategies[0]
        assert [(task.device, task.added_j) for task in run.rounds[0].tasks] == [("a", 50.0), ("b", None)]
