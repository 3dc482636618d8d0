"""A fleet whose boards train with different runtimes: one model, as good as with one runtime, all on record."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.run_dir import RunDir
from tests.e2e.test_three_clients import LIMIT_S, run_of, serve
from tests.e2e.world import BOARDS, write_world

pytestmark = pytest.mark.slow
MIXED = {"nano-1": "onnx", "pi4-1": "tflite", "pi5-1": "auto"}


def world(folder: Path, runtimes: dict[str, str]) -> Path:
    config = write_world(folder, rounds=3, strategies=["tfl"], local_samples=400, local_epochs=2)
    text = config.read_text()
    for board, runtime in runtimes.items():
        text = text.replace(f'id = "{board}"\n', f'id = "{board}"\nruntime = "{runtime}"\n')
    more = "prox = 0.01\nweight_decay = 0.0001\nclip_norm = 5.0\nevaluate_on_devices = true\n"
    config.write_text(text.replace("batch_size = 32\n", "batch_size = 32\n" + more))
    return config


def finished(folder: Path, runtimes: dict[str, str]) -> RunDir:
    process = serve("run", str(world(folder / "world", runtimes)), "--out", str(folder / "runs"))
    said, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    return run_of(folder / "runs")


@pytest.mark.timeout(420)
def test_a_mixed_fleet_learns_what_one_of_torch_alone_learns(tmp_path: Path) -> None:
    mixed = finished(tmp_path / "mixed", MIXED)
    torch = finished(tmp_path / "torch", dict.fromkeys(BOARDS, "torch"))

    profiles = {device.id: device.profile for device in mixed.devices()}
    assert {board: profiles[board].runtime for board in ("nano-1", "pi4-1")} == {"nano-1": "onnx", "pi4-1": "tflite"}
    assert profiles["nano-1"].trials == ()  # there was no choice
    tried = {trial.runtime: trial for trial in profiles["pi5-1"].trials}
    assert tried.keys() == {"onnx", "tflite", "torch"}
    joules = {runtime: trial.j_per_sample for runtime, trial in tried.items()}
    assert profiles["pi5-1"].runtime == min(joules, key=lambda runtime: joules[runtime] or 0.0)

    # same data, batches and first weights: what differs is rounding, and it stays small over these few steps
    for one, other in zip(mixed.rounds("tfl"), torch.rounds("tfl"), strict=True):
        assert one.status == other.status == "complete"
        assert one.accuracy == pytest.approx(other.accuracy, abs=0.02)
        assert one.loss == pytest.approx(other.loss, rel=0.02)
        for a, b in zip(sorted(one.updates, key=str), sorted(other.updates, key=str), strict=True):
            assert a.local_accuracy is not None and b.local_accuracy is not None
            assert a.local_accuracy == pytest.approx(b.local_accuracy, abs=0.03)

    for board in MIXED:  # each bundle came once, and stayed
        log = (mixed.path / "boards" / f"{board}.client.log").read_text()
        fetched = re.findall(r"graphs for runtime (\w+)", log)
        assert len(fetched) == len(set(fetched)) > 0
        kept = list((mixed.path / "boards" / f"{board}.state" / "graphs").glob("*.fimi"))
        assert len(kept) == len(fetched)
