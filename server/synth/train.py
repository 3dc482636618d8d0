"""Training the generator on the public part: EMA, bfloat16 where the processor has it, resumable within a minute."""

from __future__ import annotations

import copy
import io
import math
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from models.unet import UNetShape, build_unet
from server.files import write_atomic
from server.synth.diffusion import noise_schedule, save_checkpoint, to_network, training_loss

SAVE_EVERY_S = 45.0


@dataclass(frozen=True)
class TrainSettings:
    """`steps` of `batch` images; `lr` is the peak of a warm-up and cosine decay; `ema` the averaging factor.

    `mirror` shows every other image mirrored, left for right: more variety for things, wrong for signs and letters.
    """

    steps: int = 20_000
    batch: int = 64
    lr: float = 1.0e-3
    warmup_steps: int = 300
    ema: float = 0.999
    mirror: bool = False
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


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then half a cosine down to 1 % of the peak."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.lr * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done))))


def train(
    images: np.ndarray,
    labels: np.ndarray,
    shape: UNetShape,
    settings: TrainSettings,
    out: Path,
    report: Callable[[Progress], None],
) -> str:
    """Train on images (N, H, W, C) uint8 with labels (N,); writes `out`, returns its digest.

    The state lies in `out`.state and is renewed every 45 s and on SIGTERM or Ctrl-C: the same call goes on from
    there. Every step seeds its own random draws with (seed, step), so that a resumed run sees the same noise.
    """
    torch.manual_seed(settings.seed)
    unet = build_unet(shape)
    averaged = copy.deepcopy(unet).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=settings.lr, weight_decay=0.01, fused=True)
    schedule = noise_schedule()
    state_path = out.with_suffix(".state")
    settings_key = {**asdict(settings), **asdict(shape), "widths": list(shape.widths)}
    first = 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        if state["settings"] != settings_key:
            raise ValueError(f"{state_path} belongs to other settings; move it away or train with the same ones")
        unet.load_state_dict(state["unet"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]

    def save_state(step: int) -> None:
        state = {
            "settings": settings_key,
            "step": step,
            "unet": unet.state_dict(),
            "averaged": averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomic(state_path, buffer.getvalue())
        save_checkpoint(out, averaged, shape)

    stop = False

    def ask_to_stop(*_: object) -> None:
        nonlocal stop
        stop = True

    out.parent.mkdir(parents=True, exist_ok=True)
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    classes = torch.from_numpy(labels.astype(np.int64))
    previous = {s: signal.signal(s, ask_to_stop) for s in (signal.SIGTERM, signal.SIGINT)}
    started = saved = time.monotonic()
    smooth_loss = math.nan
    try:
        for step in range(first, settings.steps):
            rng = np.random.default_rng((settings.seed, step))
            torch.manual_seed(int(rng.integers(2**62)))
            pick = torch.from_numpy(rng.integers(0, len(pixels), settings.batch))
            batch = pixels[pick]
            if settings.mirror:
                flip = torch.from_numpy(rng.random(settings.batch) < 0.5)
                batch = torch.where(flip[:, None, None, None], batch.flip(2), batch)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, settings)
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
                loss = training_loss(unet, schedule, to_network(batch, shape.patch), classes[pick])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            # A young average must not remember the random start: its memory grows with the step (as in EDM2).
            keep = min(settings.ema, (step + 1) / (step + 10))
            with torch.no_grad():
                for mean, value in zip(averaged.parameters(), unet.parameters(), strict=True):
                    mean.lerp_(value, 1.0 - keep)
            value = float(loss.detach())
            smooth_loss = value if math.isnan(smooth_loss) else 0.99 * smooth_loss + 0.01 * value
            now = time.monotonic()
            if stop or now - saved > SAVE_EVERY_S:
                save_state(step + 1)
                saved = now
                rate = (step + 1 - first) * settings.batch / (now - started)
                left_s = (settings.steps - step - 1) * settings.batch / rate
                report(Progress(step + 1, settings.steps, smooth_loss, rate, left_s))
            if stop:
                raise KeyboardInterrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    digest = save_checkpoint(out, averaged, shape)
    state_path.unlink(missing_ok=True)
    return digest
