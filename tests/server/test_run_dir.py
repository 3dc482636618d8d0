"""Files of a run: whole or not at all, typed, and mended after a crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import NetworkSpec
from edge_client.protocol.weights import digest, pack
from server.errors import DataError
from server.plan.problem import DevicePlan, PlannedSegment, PlanRecord
from server.run_dir import Origin, PlannedWork, RoundRecord, RunDir, RunInfo, StrategyPlan
from tests.rounds.fake_device import closed_of, update_of
from tests.rounds.test_live import task_of

TASK = task_of(5, blob_ref(b"model", 64), None, 4)


def run_dir(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "r", now=0.0)


def weights(value: float) -> dict[str, np.ndarray]:
    return {"w": np.full(3, value, np.float32)}


def record(number: int, model: dict[str, np.ndarray]) -> RoundRecord:
    return RoundRecord(
        strategy="tfl",
        round=number,
        wire_round=number,
        status="complete",
        started_at=1.5,
        duration_s=2.0,
        accuracy=0.5,
        loss=1.0,
        test_samples=10,
        verdicts={"a": "accepted"},
        updates=(update_of(TASK, "a", blob_ref(b"u", 64)),),
        closed=(closed_of(TASK, "a"),),
        stray=(),
        lost=(),
        planned={"a": PlannedWork(compute_j=1.0, upload_j=0.5, compute_s=1.0, upload_s=0.1, samples=4)},
        model_digest=digest(pack(model)),
    )


def test_two_runs_of_one_second_get_two_directories(tmp_path: Path) -> None:
    names = [RunDir.create(tmp_path, "r", now=0.0).path.name for _ in range(2)]
    assert names == ["r-19700101-000000", "r-19700101-000000-2"]


def test_only_a_directory_in_which_nothing_was_done_is_removed(tmp_path: Path) -> None:
    folder = RunDir.begin(tmp_path, "r", b'name = "r"', Origin(base_dir="/there"))
    assert RunDir.open(folder.path).origin() == Origin(base_dir="/there", fresh=False)
    folder.save("run.json", {})
    assert not folder.remove_untouched()
    folder.remove("run.json")
    assert folder.remove_untouched()
    assert not folder.path.exists()


def test_a_directory_from_before_there_was_an_origin(tmp_path: Path) -> None:
    folder = run_dir(tmp_path)
    assert folder.origin().base_dir == str(folder.path)
    network = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=3)
    folder.save(
        "run.json", RunInfo(id="r", created="", base_dir="/there", network=network, class_names=(), versions={})
    )
    assert folder.origin() == Origin(base_dir="/there")


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no config\.toml"):
        RunDir.open(tmp_path)


def test_a_plan_comes_back_as_it_was_and_numpy_numbers_are_numbers(tmp_path: Path) -> None:
    device = DevicePlan(
        id="a",
        samples=3.5,
        compute_s=1.0,
        upload_s=0.5,
        bandwidth_hz=0.0,
        tx_power_w=None,
        compute_j=np.float64(2.0),
        upload_j=0.25,
        executed_samples=4,
        segments=(PlannedSegment(1e9, 3), PlannedSegment(5e8, 1)),
        executed_compute_s=1.0,
        executed_compute_j=2.0,
        synth_counts=(0, 1),
    )
    plan = PlanRecord("dual", "added", 2.25, 2.25, 0.0, 2.25, 0.0, 0.1, 0.0, 0.01, (device,))
    saved = StrategyPlan(strategy="fimi", round_s=np.float64(3.0), target_error=0.1, plan=plan, certified=True)
    folder = run_dir(tmp_path)
    folder.save_plan(saved)
    assert folder.plan("fimi") == saved


def test_a_missing_and_a_broken_file_are_named(tmp_path: Path) -> None:
    folder = run_dir(tmp_path)
    with pytest.raises(DataError, match=r"plan-fimi\.json is missing"):
        folder.plan("fimi")
    (folder.path / "plan-fimi.json").write_text('{"strategy": 3}')
    with pytest.raises(DataError, match=r"plan-fimi\.json: Expected `str`"):
        folder.plan("fimi")
    with pytest.raises(DataError, match=r"x\.npz is missing"):
        folder.load_arrays("x.npz")
    (folder.path / "x.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="not a complete .npz"):
        folder.load_arrays("x.npz")


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    folder = run_dir(tmp_path)
    folder.save("a.json", [1])
    with pytest.raises(TypeError, match="object cannot be kept"):
        folder.save("a.json", object())
    assert folder.load("a.json", list[int]) == [1]


def test_arrays_come_back(tmp_path: Path) -> None:
    folder = run_dir(tmp_path)
    folder.save_arrays("shards/fimi/a.npz", x=np.arange(6, dtype=np.uint8), n=3)
    back = folder.load_arrays("shards/fimi/a.npz")
    np.testing.assert_array_equal(back["x"], np.arange(6))
    assert int(back["n"]) == 3


def test_rounds_and_model_go_together(tmp_path: Path) -> None:
    folder = run_dir(tmp_path)
    assert folder.model("tfl") is None
    for number in (1, 2):
        folder.save_round(record(number, weights(number)), weights(number))
    assert folder.rounds("tfl") == (record(1, weights(1)), record(2, weights(2)))
    model = folder.model("tfl")
    assert model is not None
    np.testing.assert_array_equal(model["w"], weights(2)["w"])
    with pytest.raises(ValueError, match="another model"):
        folder.save_round(record(3, weights(3)), weights(4))


def test_a_crash_between_record_and_model_is_mended(tmp_path: Path) -> None:
    folder = run_dir(tmp_path)
    folder.save_round(record(1, weights(1)), weights(1))
    new = folder.path / "model-tfl.safetensors.next"
    new.write_bytes(pack(weights(2)))  # crashed before the record: round 1 stands
    model = folder.model("tfl")
    assert model is not None
    assert model["w"][0] == 1.0
    folder._append("rounds-tfl.jsonl", [record(2, weights(2))])  # crashed after it: round 2 stands
    model = folder.model("tfl")
    assert model is not None
    assert model["w"][0] == 2.0
    new.unlink()
    with pytest.raises(DataError, match="not the model of round 2"):
        folder.model("tfl")


def test_a_line_cut_short_is_left_out_and_written_over(tmp_path: Path) -> None:
    folder = run_dir(tmp_path)
    folder.save_round(record(1, weights(1)), weights(1))
    with (folder.path / "rounds-tfl.jsonl").open("ab") as file:
        file.write(b'{"strategy":"tfl","rou')
    assert len(folder.rounds("tfl")) == 1
    folder.save_round(record(2, weights(2)), weights(2))
    assert [r.round for r in folder.rounds("tfl")] == [1, 2]


def test_stray_words_are_taken_up_once(tmp_path: Path) -> None:
    folder = run_dir(tmp_path)
    closed = closed_of(TASK, "b", "aborted")
    folder.save_stray("tfl", [])
    assert not folder.has("stray-tfl.jsonl")
    folder.save_stray("tfl", [closed])
    assert folder.take_stray("tfl") == (closed,)
    import msgspec

    folder.save_round(msgspec.structs.replace(record(1, weights(1)), stray=(closed,)), weights(1))
    assert folder.take_stray("tfl") == ()


def test_an_event_that_a_crash_cut_short_spoils_no_other(tmp_path: Path) -> None:
    RunDir(tmp_path).event("started", attempt=1)
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"t": 1.0, "eve')
    again = RunDir(tmp_path)
    again.event("started", attempt=2)
    again.event("joined")
    assert [event["event"] for event in again.events()] == ["started", "started", "joined"]


def test_events_are_lines(tmp_path: Path) -> None:
    folder = run_dir(tmp_path)
    folder.event("joined", device="a")
    folder.event("task-closed", message=closed_of(TASK, "a"))
    assert [event["event"] for event in folder.events()] == ["joined", "task-closed"]
    assert folder.events()[1]["message"]["outcome"] == "done"
