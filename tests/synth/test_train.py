"""Training a generator: out of memory, not finite any more, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from server.errors import DataError, ResourceError
from server.synth import train as training
from server.synth.augment import augmented
from server.synth.checkpoint import read_checkpoint
from server.synth.hardware import Hardware
from server.synth.train import Progress, TrainSettings, check_batch, learning_rate, train
from tests.synth.small_training import SETTINGS, SHAPE, images


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
