"""Training the generator on the public part: EMA, bfloat16, one or several processors of either kind, resumable.

The step is written once; accelerate places it: on a GPU where there is one, on several when started by `accelerate
launch`, else on the CPU. What a step draws (which images, how they are augmented, noise and its levels) depends on
(seed, step) alone, never on when the training was interrupted; on a CPU a training that was killed ends with the bits
of one that was not.
"""

from __future__ import annotations

import copy
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from diffusers import UNet2DModel

from models.unet import UNetShape, build_unet
from server.data.dataset import images_digest
from server.errors import DataError, ResourceError
from server.resources import unless_out_of_memory
from server.synth.augment import augmented
from server.synth.checkpoint import state_path
from server.synth.diffusion import draw, noise_schedule, save_checkpoint, to_network, training_loss
from server.synth.hardware import Hardware, accelerator_on, on_each_process, placed
from server.synth.train_state import TrainState, load_state, save_state

LOG = logging.getLogger(__name__)

SAVE_EVERY_S = 45.0
SHOW_EVERY_S = 600.0
TIMED_STEPS = 20
_LEAST_BATCH = 1


@dataclass(frozen=True)
class TrainSettings:
    """`steps` of `batch` images; `lr` is the peak of a warm-up and cosine decay; `ema` the averaging factor.

    `mirror` shows every other image mirrored, left for right: more variety for things, wrong for signs and letters.
    `shift` moves each image by up to so many pixels either way, its edge repeated: the samples move as well.
    """

    steps: int = 20_000
    batch: int = 64
    lr: float = 1.0e-3
    warmup_steps: int = 300
    ema: float = 0.999
    mirror: bool = False
    shift: int = 0
    seed: int = 0
    bfloat16: bool = True


@dataclass(frozen=True)
class Progress:
    """What a long training reports now and then."""

    step: int
    steps: int
    loss: float
    images_per_s: float
    left_s: float


Show = Callable[[UNet2DModel, int], None]
"""Called now and then with the averaged network and the step: draws samples."""


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then half a cosine down to 1 % of the peak."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.lr * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done))))


def check_batch(batch: int, processes: int) -> None:
    """Raise DataError unless all processes get the same number of images."""
    if batch % processes:
        raise DataError(f"--batch {batch} cannot be dealt to {processes} processes evenly")


def train(
    images: np.ndarray,
    labels: np.ndarray,
    shape: UNetShape,
    settings: TrainSettings,
    out: Path,
    report: Callable[[Progress], None],
    *,
    hardware: Hardware | None = None,
    show: Show | None = None,
) -> str:
    """Train on images (N, H, W, C) uint8 with labels (N,); writes `out`, returns its digest.

    The state lies in `out`.state and is renewed every 45 s and on SIGTERM or Ctrl-C: the same call goes on from there.
    Raises DataError where the weights are not finite any more (what was saved before is kept), or the state is of other
    settings; KeyboardInterrupt after a signal.
    """
    hardware = hardware or Hardware.here()
    accelerator = accelerator_on(hardware, bfloat16=settings.bfloat16)
    check_batch(settings.batch, accelerator.num_processes)
    torch.manual_seed(settings.seed)
    unet = placed(build_unet(shape), hardware, accelerator.device)
    averaged = copy.deepcopy(unet).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=settings.lr, weight_decay=0.01, fused=True)
    state = TrainState(state_path(out), settings, shape, images_digest(images, labels))
    first = load_state(state, unet, averaged, optimizer)
    if len(set(gather_object([first]))) > 1:
        raise DataError(f"the processes found different states to go on from: {out.parent} must be one folder for all")
    model = on_each_process(accelerator, hardware.compiled(unet))
    step_of = _Stepper(model, settings, shape, accelerator, images, labels)

    def keep(step: int) -> None:
        if accelerator.is_main_process:
            save_state(state, step, unet, averaged, optimizer)
            save_checkpoint(out, averaged, shape)
        accelerator.wait_for_everyone()

    out.parent.mkdir(parents=True, exist_ok=True)
    started = saved = time.monotonic()
    shown: float | None = None
    smooth_loss = math.nan
    with _asked_to_stop() as stopping:
        for step in range(first, settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, settings)
            loss = step_of(step)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            _average(averaged, unet, min(settings.ema, (step + 1) / (step + 10)))
            now = time.monotonic()
            if not _agreed(accelerator, stopping() or now - saved > SAVE_EVERY_S):
                continue
            value = float(loss)
            smooth_loss = value if math.isnan(smooth_loss) else 0.7 * smooth_loss + 0.3 * value
            keep(step + 1)
            saved = time.monotonic()
            rate = (step + 1 - first) * settings.batch / (now - started)
            if accelerator.is_main_process:
                left_s = (settings.steps - step - 1) * settings.batch / rate
                report(Progress(step + 1, settings.steps, smooth_loss, rate, left_s))
                if show is not None and (shown is None or now - shown > SHOW_EVERY_S):
                    show(averaged, step + 1)
                    shown = time.monotonic()
            if _agreed(accelerator, stopping()):
                raise KeyboardInterrupt
    digest = ""
    if accelerator.is_main_process:
        save_state(state, settings.steps, unet, averaged, optimizer)  # refuses weights that are not finite
        digest = save_checkpoint(out, averaged, shape)
        state.path.unlink()
        if show is not None:
            show(averaged, settings.steps)
    accelerator.wait_for_everyone()
    if accelerator.num_processes > 1:
        accelerator.end_training()  # the process group's threads must not outlive it
    return digest


def steps_in(
    minutes: float,
    images: np.ndarray,
    labels: np.ndarray,
    shape: UNetShape,
    settings: TrainSettings,
    hardware: Hardware,
) -> int:
    """How many steps fit: timed on steps that are thrown away, the first ones (compilation, warm-up) left out.

    Of several processes each times its own; all get what the first one found.
    """
    accelerator = accelerator_on(hardware, bfloat16=settings.bfloat16)
    unet = placed(build_unet(shape), hardware, accelerator.device)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=settings.lr, fused=True)
    model = on_each_process(accelerator, hardware.compiled(unet))
    step_of = _Stepper(model, settings, shape, accelerator, images, labels)

    def timed(n: int) -> float:
        started = time.monotonic()
        for step in range(n):
            float(step_of(step))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return time.monotonic() - started

    timed(TIMED_STEPS // 2)
    fitting = [max(1, int(60 * minutes * TIMED_STEPS / timed(TIMED_STEPS)))]
    return int(broadcast_object_list(fitting)[0])


class _Stepper:
    """Forward and backward of one step on this process's share of the batch; the whole data set lies on its device."""

    def __init__(
        self,
        model: torch.nn.Module,
        settings: TrainSettings,
        shape: UNetShape,
        accelerator: Accelerator,
        images: np.ndarray,
        labels: np.ndarray,
    ) -> None:
        self._model = model
        self._settings = settings
        self._shape = shape
        self._accelerator = accelerator
        self._schedule = noise_schedule()
        self._pixels = torch.from_numpy(np.ascontiguousarray(images)).to(accelerator.device)
        self._classes = torch.from_numpy(labels.astype(np.int64)).to(accelerator.device)
        self._share = settings.batch // accelerator.num_processes
        self._at_once = self._share

    def __call__(self, step: int) -> torch.Tensor:
        """The mean loss; gradients are left in the parameters. Out of a GPU's memory: smaller pieces from here on."""
        while (loss := unless_out_of_memory(partial(self._tried, step))) is None:
            if self._at_once == _LEAST_BATCH:
                raise ResourceError(
                    "the GPU has no memory for a single image: use smaller --widths, into another --out"
                )
            LOG.warning("%d images at once do not fit into memory: going on with half of them", self._at_once)
            self._at_once = max(_LEAST_BATCH, self._at_once // 2)
            self._model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
        self._share_gradients()
        return loss

    def _tried(self, step: int) -> torch.Tensor:
        settings, accelerator = self._settings, self._accelerator
        rng = np.random.default_rng((settings.seed, step))
        luck = torch.Generator(accelerator.device).manual_seed(int(rng.integers(2**62)) + accelerator.process_index)
        pick = rng.integers(0, len(self._pixels), settings.batch)
        mine = pick[accelerator.process_index * self._share :][: self._share]
        index = torch.from_numpy(mine).to(accelerator.device)
        images = augmented(self._pixels[index], luck, mirror=settings.mirror, shift=settings.shift)
        clean = to_network(images, self._shape.patch)
        draws = draw(clean, self._classes[index], luck, self._shape.n_classes)
        total = torch.zeros((), device=accelerator.device)
        for start in range(0, self._share, self._at_once):
            piece = slice(start, start + self._at_once)
            part = len(clean[piece]) / self._share
            loss = part * training_loss(self._model, self._schedule, clean[piece], draws.piece(piece))
            accelerator.backward(loss)
            total += loss.detach()
        return total

    def _share_gradients(self) -> None:
        """The mean over all processes, once a step and not in each backward pass: how many of those a process needs is
        its own affair, and one that ran out of memory would leave the others waiting in the middle of theirs."""
        if self._accelerator.num_processes == 1:
            return
        own = [weights.grad for weights in self._model.parameters() if weights.grad is not None]
        mean = self._accelerator.reduce(torch.cat([grad.flatten() for grad in own]), reduction="mean")
        for grad, part in zip(own, mean.split([grad.numel() for grad in own]), strict=True):
            grad.copy_(part.view_as(grad))


def _average(averaged: UNet2DModel, unet: UNet2DModel, keep: float) -> None:
    """A young average must not remember the random start: its memory grows with the step (as in EDM2)."""
    with torch.no_grad():
        torch._foreach_lerp_(list(averaged.parameters()), list(unet.parameters()), 1.0 - keep)


def _agreed(accelerator: Accelerator, wish: bool) -> bool:
    """Whether any process wishes it; all must do the same, or they would wait for each other for ever."""
    if accelerator.num_processes == 1:
        return wish
    votes = accelerator.reduce(torch.tensor(int(wish), device=accelerator.device))
    return bool(votes.item())


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """SIGTERM and Ctrl-C ask instead of ending, inside the context."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    previous = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
