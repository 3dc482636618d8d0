"""The doctor trains for a moment with each runtime."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_client import cli
from edge_client.doctor import trial
from edge_client.protocol import graphs
from edge_client.protocol.messages import RuntimeTrial
from server.export.bundle import make_bundle
from server.export.step import Options
from tests.edge_client import trees


@pytest.mark.slow
def test_each_runtime_is_timed_and_the_best_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees.nano(tmp_path)
    assert cli.main(["doctor", "--trial", "--json", "--root", str(tmp_path), "--state-dir", str(tmp_path / "s")]) == 0
    found = json.loads(capsys.readouterr().out)["checks"]
    lines = {check["name"]: check for check in found if check["name"].startswith("trial ")}
    assert lines.keys() == {"trial onnx", "trial tflite", "trial torch"}  # NumPy has no graphs here, and no chance
    assert all(check["status"] == "ok" and "mJ a sample" in check["message"] for check in lines.values()), lines
    assert sum(check["message"].endswith("; the best here") for check in lines.values()) == 1


def test_lines_of_trials() -> None:
    def of(runtime: str, s: float | None, j: float | None = None, problem: str = "") -> RuntimeTrial:
        return RuntimeTrial(runtime=runtime, s_per_sample=s, j_per_sample=j, samples=9, duration_s=1.0, problem=problem)

    lines = list(trial.checks([of("onnx", 0.004), of("torch", 0.005), of("tflite", None, problem="no luck")]))
    assert [(line.name, line.status) for line in lines] == [
        ("trial onnx", "ok"), ("trial torch", "ok"), ("trial tflite", "degraded")
    ]  # fmt: skip
    assert lines[0].message == "VGG-9, batches of 16: 4 ms a sample; the best here"
    assert lines[1].message == "VGG-9, batches of 16: 5 ms a sample"
    assert lines[2].message == "no luck"
    (alone,) = trial.checks([of("onnx", 0.004, 0.02)])
    assert alone.message == "VGG-9, batches of 16: 4 ms, 20 mJ a sample"


@pytest.mark.parametrize(("runtime", "batch"), [("onnx", None), ("tflite", trial.BATCH)])
def test_the_graphs_that_ship_are_what_the_exporter_makes(runtime: graphs.Runtime, batch: int | None) -> None:
    """Where this fails: fimi-server export-step --model vgg9 --runtime RUNTIME, see doctor/trial.py."""
    shipped = graphs.unpack((trial.SHIPPED / f"vgg9-{runtime}.fimi").read_bytes())
    made = make_bundle(trial.NETWORK, runtime, Options(), batch=batch)
    assert (shipped.network, shipped.batch, shipped.terms) == (made.network, made.batch, made.terms)
    assert shipped.weights == made.weights
    assert {part: len(blob) for part, blob in shipped.parts.items()} == pytest.approx(
        {part: len(blob) for part, blob in made.parts.items()}, rel=0.02
    )  # to the byte only with the versions of onnx and flatbuffers that wrote them
