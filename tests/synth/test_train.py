"""Training a generator: killed and gone on with, on two processes, out of memory, and what is refused."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.unet import UNetShape
from server.errors import DataError, ResourceError
from server.synth import train as training
from server.synth.augment import augmented
from server.synth.checkpoint import read_checkpoint
from server.synth.hardware import Hardware
from server.synth.train import Progress, TrainSettings, check_batch, learning_rate, train

SHAPE = UNetShape(image_size=8, channels=1, n_classes=2, widths=(32, 32), layers=1)
SETTINGS = TrainSettings(steps=12, batch=4, warmup_steps=2, mirror=True, shift=1, bfloat16=False)
SETTINGS_OF_TWO = replace(SETTINGS, steps=3)
SETTINGS_OF_BFLOAT16 = replace(SETTINGS, bfloat16=True)
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "1"}

PROGRAM = """
import sys
from pathlib import Path
import torch
from server.synth import train as training
from tests.synth.test_train import SETTINGS, SHAPE, images
torch.set_num_threads(1)
training.SAVE_EVERY_S = 0.0  # after each step
training.train(*images(), SHAPE, SETTINGS, Path(sys.argv[1]), lambda p: print(p.step, flush=True))
"""


def images() -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(20) % 2
    return np.random.default_rng(0).integers(0, 255, (20, 8, 8, 1), dtype=np.uint8), labels


def start(out: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", PROGRAM, str(out)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def steps_of(out: Path, kill_at: int | None = None) -> list[int]:
    """The steps that a training reported; killed in the step after `kill_at`, at whatever it does then."""
    seen: list[int] = []
    with start(out) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(int(line))
            if kill_at is not None and seen[-1] >= kill_at:
                process.kill()
                break
    assert process.returncode == (0 if kill_at is None else -9)
    return seen


@pytest.mark.slow
def test_a_training_killed_five_times_ends_with_the_bits_of_an_unbroken_one(tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "a" / "g.safetensors", tmp_path / "b" / "g.safetensors"
    assert steps_of(unbroken) == list(range(1, 13))
    seen = []
    for step in sorted(random.Random(1).sample(range(1, 11), 5)):
        seen += steps_of(broken, kill_at=step)
    seen += steps_of(broken)
    assert broken.read_bytes() == unbroken.read_bytes()
    assert not broken.with_suffix(".state").exists()
    assert len(seen) <= 12 + 5  # it went on each time, and did not begin anew


def launch(processes: int, program: Path, out: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*words, str(program), str(out)], cwd=ROOT, capture_output=True, text=True, env=ENVIRONMENT, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done


LOSING = """
import os, signal, sys
from pathlib import Path
import torch
from server.synth import train as training
from tests.synth.test_train import SETTINGS_OF_BFLOAT16, SHAPE, images
torch.set_num_threads(2)
seconds = iter(range(10_000))
training.time.monotonic = lambda: next(seconds)  # one a step, and some more when it saves: it does so now and then
training.SAVE_EVERY_S = 3.5
last = int(sys.argv[2])
def killed(step, settings, real=training.learning_rate):
    print(step, flush=True)
    if step == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(step, settings)
training.learning_rate = killed
training.train(*images(), SHAPE, SETTINGS_OF_BFLOAT16, Path(sys.argv[1]), lambda _: None)
"""


@pytest.mark.slow
def test_steps_that_a_kill_lost_are_made_again_bit_for_bit_in_bfloat16_on_two_threads(tmp_path: Path) -> None:
    def steps(out: Path, kill_at: int) -> list[int]:
        words = [sys.executable, "-c", LOSING, str(out), str(kill_at)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == (0 if kill_at < 0 else -9), done.stderr[-2000:]
        return [int(step) for step in done.stdout.split()]

    unbroken, broken = tmp_path / "a" / "g.safetensors", tmp_path / "b" / "g.safetensors"
    assert steps(unbroken, -1) == list(range(12))
    assert steps(broken, 6)[0] == 0
    again = steps(broken, 10)
    assert 0 < again[0] <= 6  # the kill lost some
    steps(broken, -1)
    assert broken.read_bytes() == unbroken.read_bytes()


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """Both see the images that one would; each draws the noise of its own half."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("SETTINGS", "SETTINGS_OF_TWO"))
    weights = []
    for n in (1, 2):
        out = tmp_path / f"{n}.safetensors"
        done = launch(n, program, out)
        assert done.stdout.split() == ["1", "2", "3"]  # one of them speaks
        weights.append(load_file(out))
    one, two = weights
    far = max(float((one[name].float() - two[name].float()).abs().max()) for name in one)
    assert 0 < far < 3 * 2 * SETTINGS_OF_TWO.lr  # other noise, but no more than three steps of AdamW apart


KEPT = """
import os
def kept(averaged, unet, keep, real=training._average):
    real(averaged, unet, keep)
    torch.save(unet.state_dict(), sys.argv[1] + os.environ["RANK"])
training._average = kept
"""
TIGHT = """
def tight(unet, schedule, clean, *more, real=training.training_loss):
    if os.environ["RANK"] == "1" and len(clean) > 1:
        raise torch.OutOfMemoryError
    return real(unet, schedule, clean, *more)
training.training_loss = tight
"""


@pytest.mark.slow
def test_a_process_that_runs_out_of_memory_keeps_the_others_company(tmp_path: Path) -> None:
    """One of two takes its half of the batch in pieces: nobody waits for ever, and all make the same steps."""
    made = []
    for name, more in (("roomy", KEPT), ("tight", KEPT + TIGHT)):
        program, out = tmp_path / f"{name}.py", tmp_path / f"{name}.safetensors"
        one_step = PROGRAM.replace("SETTINGS", "SETTINGS_OF_TWO").replace("training.train(", more + "\ntraining.train(")
        program.write_text(one_step)
        done = launch(2, program, out)
        assert ("images at once do not fit into memory" in done.stderr) == (name == "tight")
        first, second = (torch.load(f"{out}{rank}", weights_only=True) for rank in (0, 1))
        assert all(torch.equal(first[weight], second[weight]) for weight in first)  # they saw other images
        made.append(second)
    roomy, tight = made
    far = max(float((roomy[weight] - tight[weight]).abs().max()) for weight in roomy)
    assert far < learning_rate(0, SETTINGS_OF_TWO)  # AdamW would move by twice the rate for another gradient's sign


SHARING = """
import os, sys
import torch
from server.synth import train as training
from server.synth.hardware import Hardware
from tests.synth.test_train import SETTINGS, SHAPE, images
accelerator = training.accelerator_on(Hardware.here("cpu"), bfloat16=False)
model = torch.nn.Linear(3, 2)
step_of = training._Stepper(model, SETTINGS, SHAPE, accelerator, *images())
model.weight.grad = torch.full((2, 3), 1.0 + accelerator.process_index)  # 1 here, 2 there
model.bias.grad = torch.tensor([10.0, 30.0 * accelerator.process_index])
step_of._share_gradients()
torch.save([model.weight.grad, model.bias.grad], sys.argv[1] + os.environ["RANK"])
accelerator.end_training()
"""


@pytest.mark.slow
def test_processes_go_on_with_the_mean_of_their_gradients(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SHARING)
    launch(2, program, tmp_path / "grad")
    for rank in (0, 1):
        weight, bias = torch.load(tmp_path / f"grad{rank}", weights_only=True)
        assert torch.equal(weight, torch.full((2, 3), 1.5))
        assert bias.tolist() == [10.0, 15.0]


TIMING = """
import os, sys
from pathlib import Path
from server.synth import train as training
from server.synth.hardware import Hardware
from tests.synth.test_train import SETTINGS, SHAPE, images
training.TIMED_STEPS = 2
steps = training.steps_in(60.0 if os.environ["RANK"] == "0" else 1.0, *images(), SHAPE, SETTINGS, Hardware.here("cpu"))
Path(sys.argv[1] + os.environ["RANK"]).write_text(str(steps))
training.accelerator_on(Hardware.here("cpu"), bfloat16=False).end_training()
"""


@pytest.mark.slow
def test_all_processes_take_as_many_steps_as_the_first_one_finds_time_for(tmp_path: Path) -> None:
    program, out = tmp_path / "program.py", tmp_path / "steps"
    program.write_text(TIMING)
    launch(2, program, out)
    first, second = ((tmp_path / f"steps{rank}").read_text() for rank in (0, 1))
    assert first == second
    assert int(first) > 1


def test_a_batch_that_cannot_be_dealt_evenly_is_refused() -> None:
    check_batch(6, 3)
    with pytest.raises(DataError, match="--batch 5 cannot be dealt to 2 processes evenly"):
        check_batch(5, 2)


def test_out_of_memory_halves_what_is_done_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = training.training_loss

    def tight(unet: object, schedule: object, clean: torch.Tensor, *more: object, **options: object) -> torch.Tensor:
        if len(clean) > 1:
            raise torch.OutOfMemoryError
        sizes.append(len(clean))
        return real(unet, schedule, clean, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "training_loss", tight)
    train(*images(), SHAPE, replace(SETTINGS, steps=2), tmp_path / "g.safetensors", lambda _: None)
    assert sizes == [1] * 8  # two steps of four images, once four and two had been too many

    def full(*_: object, **__: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(training, "training_loss", full)
    with pytest.raises(ResourceError, match="no memory for a single image: use smaller --widths"):
        train(*images(), SHAPE, SETTINGS, tmp_path / "h.safetensors", lambda _: None)


def test_samples_are_shown_from_the_first_save_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)
    shown: list[int] = []
    out, settings = tmp_path / "g.safetensors", replace(SETTINGS, steps=4)
    train(*images(), SHAPE, settings, out, lambda _: None, show=lambda _, step: shown.append(step))
    assert shown == [1, 4]


@pytest.mark.parametrize("said", ["CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", "CUDA error: out of memory"])
def test_a_full_gpu_has_several_ways_to_say_so(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = training.training_loss

    def tight(unet: object, schedule: object, clean: torch.Tensor, draws: object) -> torch.Tensor:
        if len(clean) > 2:
            raise RuntimeError(said)
        return real(unet, schedule, clean, draws)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "training_loss", tight)
    train(*images(), SHAPE, replace(SETTINGS, steps=1), tmp_path / "g.safetensors", lambda _: None)
    monkeypatch.setattr(training, "training_loss", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):  # no matter of memory
        train(*images(), SHAPE, replace(SETTINGS, steps=1), tmp_path / "h.safetensors", lambda _: None)


def test_pieces_give_the_gradient_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the batch at once, once the whole has been too much: each piece with its own part of the same noise."""
    real = training.training_loss

    def fitting(most: int) -> Callable[..., torch.Tensor]:
        def loss(unet: object, schedule: object, clean: torch.Tensor, draws: object) -> torch.Tensor:
            if len(clean) > most:
                raise torch.OutOfMemoryError
            return real(unet, schedule, clean, draws)  # type: ignore[arg-type]

        return loss

    weights = []
    for most in (4, 2):
        monkeypatch.setattr(training, "training_loss", fitting(most))
        out = tmp_path / f"{most}.safetensors"
        train(*images(), SHAPE, replace(SETTINGS, steps=1), out, lambda _: None)
        weights.append(load_file(out))
    whole, halves = weights
    # AdamW moves each weight by the rate in the sign of its gradient, so another gradient would show as twice the rate
    far = [float((whole[name].float() - halves[name].float()).abs().max()) for name in whole]
    assert max(far) < learning_rate(0, SETTINGS)


def test_weights_that_are_not_finite_end_it_and_what_was_saved_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)
    out = tmp_path / "g.safetensors"
    seen: list[int] = []

    def report(progress: Progress) -> None:
        seen.append(progress.step)
        if progress.step == 3:
            monkeypatch.setattr(training, "learning_rate", lambda *_: float("nan"))

    with pytest.raises(DataError, match=r"not finite any more at step 4 .* train with a lower --lr"):
        train(*images(), SHAPE, SETTINGS, out, report)
    monkeypatch.setattr(training, "learning_rate", learning_rate)
    seen.clear()
    train(*images(), SHAPE, SETTINGS, out, report=lambda p: seen.append(p.step))
    assert seen[0] == 4  # gone on with from the third step


def test_weights_that_are_not_finite_at_the_very_end_spoil_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "g.safetensors"
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)

    def rarely(progress: Progress) -> None:
        if progress.step == 3:  # saved here, and not again before the end
            monkeypatch.setattr(training, "SAVE_EVERY_S", 1e6)
            monkeypatch.setattr(training, "learning_rate", lambda *_: float("nan"))

    with pytest.raises(DataError, match=f"not finite any more at step {SETTINGS.steps} "):
        train(*images(), SHAPE, SETTINGS, out, rarely)
    read_checkpoint(out)
    seen: list[int] = []
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(training, "learning_rate", learning_rate)
    train(*images(), SHAPE, SETTINGS, out, report=lambda p: seen.append(p.step))
    assert seen[0] == 4


def test_a_state_of_other_settings_or_a_broken_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "g.safetensors"
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*images(), SHAPE, SETTINGS, out, interrupt)
    with pytest.raises(DataError, match="belongs to other data or settings"):
        train(*images(), SHAPE, replace(SETTINGS, lr=1.0), out, lambda _: None)
    pixels, labels = images()
    with pytest.raises(DataError, match="belongs to other data or settings"):
        train(255 - pixels, labels, SHAPE, SETTINGS, out, lambda _: None)
    state = out.with_suffix(".state")
    torch.save([1], state)
    with pytest.raises(DataError, match="belongs to other data or settings"):
        train(*images(), SHAPE, SETTINGS, out, lambda _: None)
    out.with_suffix(".state").write_bytes(b"PK\3\4 cut short")
    with pytest.raises(DataError, match="cannot be read .* remove it to begin anew"):
        train(*images(), SHAPE, SETTINGS, out, lambda _: None)


def test_the_rate_rises_in_a_line_and_falls_in_half_a_cosine() -> None:
    settings = TrainSettings(steps=110, warmup_steps=10, lr=2.0)
    assert [learning_rate(step, settings) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert learning_rate(60, settings) == pytest.approx(2.0 * (0.01 + 0.99 * 0.5))  # half way down
    assert learning_rate(110, settings) == pytest.approx(0.02)


def test_images_are_mirrored_and_moved_by_their_edges() -> None:
    image = torch.arange(9, dtype=torch.uint8).reshape(1, 3, 3, 1)
    many = image.expand(400, 3, 3, 1)
    draws = torch.Generator().manual_seed(0)
    plain = augmented(many, draws, mirror=False, shift=0)
    assert torch.equal(plain, many)
    mirrored = augmented(many, draws, mirror=True, shift=0)
    kinds = {tuple(own.flatten().tolist()) for own in mirrored}
    assert kinds == {(0, 1, 2, 3, 4, 5, 6, 7, 8), (2, 1, 0, 5, 4, 3, 8, 7, 6)}
    moved = {tuple(own.flatten().tolist()) for own in augmented(many, draws, mirror=False, shift=1)}
    assert len(moved) == 9  # three places each way
    assert (0, 0, 1, 0, 0, 1, 3, 3, 4) in moved  # down and to the right by one, the edge repeated


def test_hardware_is_named_and_a_gpu_that_is_not_there_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    assert Hardware.here() == Hardware("cpu", channels_last=False, compile=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert Hardware.here() == Hardware("cpu", channels_last=False, compile=False, half=torch.bfloat16)
    assert Hardware.here("cpu").describe() == f"CPU, {torch.get_num_threads()} threads"
    for device, words in (("cuda", "PyTorch sees no GPU here"), ("tpu", "use auto, cpu or cuda")):
        with pytest.raises(Exception, match=words):
            Hardware.here(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Hardware.here() == Hardware("cuda", channels_last=True, compile=True, half=torch.float16)
    assert not Hardware.here(compile=False).compile
