"""Which runtime a board trains with: the rule, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge_client.agent.choice import Choice, Terms, best, told
from edge_client.errors import MissingExtraError, TrainingError
from edge_client.protocol.messages import NetworkSpec, RuntimeTrial
from edge_client.runtimes import Name, Python, numbers

TERMS = Terms(
    board="Pi",
    meter="ina3221",
    network=NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=3),
    batch_size=16,
    threads=1,
    bfloat16=False,
    memory_bytes=None,
    cpus=None,
    versions={"onnx": "1.22", "torch": "2.10"},
)


def trial(runtime: str, s: float | None, j: float | None = None, problem: str = "") -> RuntimeTrial:
    return RuntimeTrial(runtime=runtime, s_per_sample=s, j_per_sample=j, samples=100, duration_s=3.0, problem=problem)


def test_the_least_joules_win_over_the_fastest() -> None:
    assert best([trial("torch", 0.010, 0.09), trial("onnx", 0.011, 0.05)]) == "onnx"


def test_where_one_has_no_joules_the_fastest_wins() -> None:
    assert best([trial("torch", 0.010, None), trial("onnx", 0.011, 0.05)]) == "torch"


@pytest.mark.parametrize(("joules", "uncertainty"), [(0.0, None), (0.05, 0.4)])
def test_joules_that_say_nothing_decide_nothing(joules: float, uncertainty: float | None) -> None:
    """Of a meter too coarse for a few seconds: 0 J, or next to nothing known."""
    vague = msgspec.structs.replace(trial("torch", 0.010, joules), uncertainty=uncertainty)
    assert best([vague, trial("onnx", 0.005, 0.06)]) == "onnx"
    assert best([vague, trial("onnx", 0.011, 0.06)]) == "torch"


def test_what_does_not_train_is_not_chosen() -> None:
    broken = trial("tflite", None, problem="no graphs")
    assert best([broken, trial("torch", 1.0)]) == "torch"
    with pytest.raises(TrainingError, match="^tflite: no graphs$"):
        best([broken])


def test_a_trial_as_people_read_it() -> None:
    assert told(trial("onnx", 0.0031, 0.012)) == "onnx 3.1 ms, 12 mJ a sample"
    assert told(trial("torch", None, problem="died")) == "torch does not train (died)"


class Attempts:
    """Counts what was tried; torch takes less."""

    def __init__(self) -> None:
        self.names: list[Name] = []

    async def __call__(self, name: Name) -> RuntimeTrial:
        self.names.append(name)
        return trial(name, {"onnx": 0.02, "torch": 0.01}[name])


BOTH: tuple[Name, ...] = ("onnx", "torch")


async def test_one_candidate_is_not_tried(tmp_path: Path) -> None:
    attempt = Attempts()
    kept = await Choice(tmp_path / "r.json").settle(("onnx",), TERMS, attempt)
    assert (kept.runtime, kept.trials, attempt.names) == ("onnx", (), [])
    assert not (tmp_path / "r.json").exists()


async def test_a_choice_holds_as_long_as_its_terms(tmp_path: Path) -> None:
    attempt = Attempts()
    choice = Choice(tmp_path / "r.json")
    assert choice.likely(BOTH) == "onnx"  # nothing is known yet: by preference
    kept = await choice.settle(BOTH, TERMS, attempt)
    assert (kept.runtime, [t.runtime for t in kept.trials]) == ("torch", ["onnx", "torch"])
    again = Choice(tmp_path / "r.json")  # the client was started again
    assert again.likely(BOTH) == "torch"
    assert await again.settle(BOTH, TERMS, attempt) == kept
    assert attempt.names == ["onnx", "torch"]
    for change in ({"versions": {"onnx": "1.23", "torch": "2.10"}}, {"meter": "plug"}, {"memory_bytes": 1 << 28}):
        await again.settle(BOTH, msgspec.structs.replace(TERMS, **change), attempt)
    assert attempt.names == ["onnx", "torch"] * 4
    assert again.likely(("onnx",)) == "onnx"  # torch is gone, or this server has graphs alone


async def test_one_that_could_not_train_is_tried_again_next_time(tmp_path: Path) -> None:
    attempt, broken = Attempts(), {"onnx"}

    async def sometimes(name: Name) -> RuntimeTrial:
        found = await attempt(name)
        return msgspec.structs.replace(found, s_per_sample=None, problem="killed") if name in broken else found

    choice = Choice(tmp_path / "r.json")
    assert (await choice.settle(BOTH, TERMS, sometimes)).runtime == "torch"
    assert not (tmp_path / "r.json").exists()
    broken.clear()
    kept = await choice.settle(BOTH, TERMS, sometimes)
    assert [t.problem for t in kept.trials] == ["", ""]
    assert attempt.names == ["onnx", "torch"] * 2
    assert Choice(tmp_path / "r.json").likely(BOTH) == "torch"


async def test_a_file_that_is_none_is_tried_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "r.json").write_text('{"runtime": "onnx"}')
    choice = Choice(tmp_path / "r.json")
    assert "runtimes are tried anew" in caplog.text
    assert (await choice.settle(BOTH, TERMS, Attempts())).runtime == "torch"


def python(**versions: str) -> Python:
    return Python(versions.__contains__, versions.get)


@pytest.mark.parametrize(
    ("here", "wanted", "names"),
    [
        (python(numpy="2.1", torch="2.10", onnxruntime="1.22"), "auto", ("onnx", "torch")),
        (python(numpy="2.1"), "auto", ("numpy",)),
        (python(numpy="2.1", onnxruntime="1.22"), "numpy", ("numpy",)),
        (python(numpy="2.1", tflite_runtime="2.14.0"), "auto", ("numpy",)),
        (python(numpy="1.26.4", tflite_runtime="2.14.0"), "auto", ("tflite",)),
        (python(numpy="2.1", tflite_runtime="2.14.0", ai_edge_litert="2.1"), "tflite", ("tflite",)),
    ],
)
def test_what_a_client_may_choose_from(here: Python, wanted: str, names: tuple[str, ...]) -> None:
    assert here.choice(wanted) == names  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("here", "wanted", "said"),
    [
        (python(numpy="2.1"), "onnx", "is not installed; install it with: pip install 'fimi[onnx]'"),
        (python(numpy="2.1", onnxruntime="1.9"), "onnx", "onnxruntime 1.9 is too old, training needs 1.15; run: pip"),
        (python(numpy="2.1", tflite_runtime="2.14"), "tflite", "fails with NumPy 2.1, though it can be imported"),
    ],
)
def test_one_that_does_not_work_is_named_with_its_remedy(here: Python, wanted: str, said: str) -> None:
    with pytest.raises(MissingExtraError, match=said.replace("[", r"\[").replace(".", r"\.")):
        here.choice(wanted)  # type: ignore[arg-type]


def test_versions_compare_as_numbers() -> None:
    assert [numbers(v) for v in ("2.14.0", "1.9", "3", "1.15rc1.2", "")] == [(2, 14), (1, 9), (3, 0), (1, 0), (0, 0)]
