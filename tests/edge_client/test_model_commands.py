"""What a board can do with the model that it was last sent: evaluate it, and write it for use without FIMI."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from edge_client import cli
from edge_client.protocol import graphs, weights
from edge_client.protocol.messages import NetworkSpec
from edge_client.training.model_file import keep_network
from models.networks import build, from_arrays, initial_weights, normalise
from server.export.bundle import make_bundle
from server.export.step import Options

NET = NetworkSpec(name="small", image_shape=(12, 12, 3), n_classes=4)
OWN = initial_weights("small", NET.image_shape, 4, 7)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder after a task: the model, its graphs, and those of another run."""
    folder = tmp_path / "state"
    (folder / "graphs").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights.pack(OWN))
    other = NetworkSpec(name="tiny", image_shape=(12, 12, 3), n_classes=4)
    for number, net in enumerate((NET, other)):  # the other's are newer
        path = folder / "graphs" / f"{number:064d}.fimi"
        path.write_bytes(graphs.pack(make_bundle(net, "onnx", Options())))
        os.utime(path, (number, number))
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "d.npz", x=rng.integers(0, 256, (37, 12, 12, 3), dtype=np.uint8), y=np.arange(37) % 4, n_classes=4
    )
    return folder


def logits(images: np.ndarray) -> np.ndarray:
    module = build("small", NET.image_shape, 4)
    from_arrays(module, OWN)
    with torch.no_grad():
        return module(torch.from_numpy(normalise(images))).numpy()


def command(*words: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, (out if status == 0 else err).strip()


def test_the_model_is_evaluated_on_the_boards_own_samples(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="the runtime is not installed")
    data = state.parent / "d.npz"
    status, said = command("evaluate", "--state-dir", state, "--data", data, capsys=capsys)
    with np.load(data) as held:
        found, labels = logits(held["x"]), held["y"]
    right = float((found.argmax(axis=1) == labels).mean())
    loss = float(torch.nn.functional.cross_entropy(torch.from_numpy(found), torch.from_numpy(labels)))
    assert (status, said) == (0, f"small by onnx: accuracy {right:.4f}, loss {loss:.4f} on 37 samples")


def test_an_onnx_model_has_its_weights_inside(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ort = pytest.importorskip("onnxruntime", reason="the runtime is not installed")
    out = state.parent / "out" / "model.onnx"
    status, said = command("export", "--state-dir", state, "--out", out, capsys=capsys)
    assert status == 0, said
    assert said.endswith("images (N, 12, 12, 3) uint8 -> logits (N, 4) float32")
    images = np.random.default_rng(1).integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)
    session = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images})
    np.testing.assert_allclose(found, logits(images), rtol=1e-4, atol=1e-5)


def test_a_tflite_model_has_its_weights_inside(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="the runtime is not installed")
    own = state.parent / "own.fimi"
    own.write_bytes(graphs.pack(make_bundle(NET, "tflite", Options(), batch=3)))
    out = state.parent / "model.tflite"
    status, said = command("export", "--state-dir", state, "--graphs", own, "--out", out, capsys=capsys)
    assert status == 0, said
    assert said.endswith("images (3, 12, 12, 3) uint8 -> logits (3, 4) float32")
    interpreter = litert.Interpreter(model_path=str(out))
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    images = np.random.default_rng(1).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    interpreter.set_tensor(given["index"], images)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_tensor(result["index"]), logits(images), rtol=1e-4, atol=1e-5)


def test_where_pytorch_trains_the_network_is_known_and_the_graphs_are_asked_for(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (state / "graphs").iterdir():
        path.unlink()
    place, data = ("--state-dir", state, "--runtime", "torch"), state.parent / "d.npz"
    status, said = command("evaluate", *place, "--data", data, capsys=capsys)
    assert (status, "holds no graphs of this model for torch; the first task" in said) == (2, True)
    keep_network(state / "model.safetensors", NET)  # as a task does
    status, said = command("evaluate", *place, "--data", data, capsys=capsys)
    assert status == 0, said
    assert said.startswith("small by torch: accuracy ")
    status, said = command("export", *place, "--out", "m.onnx", capsys=capsys)
    assert status == 2
    assert "give some made by: fimi-server export-step --model small --runtime onnx" in said


def test_damaged_graphs_are_a_sentence(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = make_bundle(NET, "numpy", Options())
    junk = state.parent / "junk.fimi"
    junk.write_bytes(graphs.pack(msgspec.structs.replace(whole, parts={"evaluate": b"junk"})))
    status, said = command(
        "evaluate", "--state-dir", state, "--graphs", junk, "--data", state.parent / "d.npz", capsys=capsys
    )
    assert status == 2
    assert "the graphs are damaged: these bytes are no program" in said
    pytest.importorskip("ai_edge_litert", reason="the runtime is not installed")
    junk.write_bytes(
        graphs.pack(msgspec.structs.replace(whole, runtime="tflite", batch=1, parts={"evaluate": b"junk"}))
    )
    status, said = command("export", "--state-dir", state, "--graphs", junk, "--out", "m.tflite", capsys=capsys)
    assert (status, "the graphs are damaged" in said) == (2, True)


def test_what_is_missing_or_does_not_fit_is_said(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--state-dir", state)
    numpy_only = state.parent / "n.fimi"
    numpy_only.write_bytes(graphs.pack(make_bundle(NET, "numpy", Options())))
    other = state.parent / "other.npz"
    np.savez(other, x=np.zeros((2, 8, 8, 1), np.uint8), y=np.array([0, 1]), n_classes=2)
    (state.parent / "junk").write_bytes(b"junk")
    for words, status, why in (
        (("evaluate", *place), 2, "data is missing; give --data"),
        (
            ("evaluate", *place, "--data", other),
            3,
            "has images (8, 8, 1) of 2 classes, the model is for (12, 12, 3) and 4",
        ),
        (("export", *place, "--out", "m.tflite"), 2, "--out m.tflite: a model for onnx ends with .onnx"),
        (
            ("export", *place, "--out", "m.x", "--graphs", numpy_only),
            8,
            "runtime numpy has no form of models of its own",
        ),
        (
            ("export", *place, "--out", "m.onnx", "--model", "none"),
            2,
            "none: No such file or directory; the first task of a run brings",
        ),
        (
            ("export", *place, "--out", "m.onnx", "--model", state.parent / "junk"),
            2,
            "junk: these bytes are no safetensors weights",
        ),
        (("export", *place, "--out", "m.onnx", "--graphs", state.parent / "junk"), 2, "these bytes are no bundle"),
        (("export", *place, "--out", "m.onnx", "--graphs", state.parent / "no"), 2, "No such file or directory"),
        (
            ("export", *place, "--out", "m.onnx", "--graphs", state / "graphs" / f"{1:064d}.fimi"),
            2,
            "of another network",
        ),
        (("export", *place, "--out", "m.tflite", "--runtime", "numpy"), 2, "holds no graphs of this model for numpy"),
    ):
        assert command(*words, capsys=capsys)[0] == status, words
        assert why in command(*words, capsys=capsys)[1], words
