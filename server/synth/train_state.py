"""The state of a training on disk: whole or not at all, and only of finite numbers."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.unet import UNetShape
from server.errors import DataError
from server.files import write_atomic

if TYPE_CHECKING:
    from server.synth.train import TrainSettings


@dataclass(frozen=True)
class TrainState:
    """Where it lies, and which training it belongs to."""

    path: Path
    settings: TrainSettings
    shape: UNetShape
    data: str
    """Digest of the images: weights that have seen others are not gone on with."""

    @property
    def key(self) -> dict[str, Any]:
        return {**asdict(self.settings), **asdict(self.shape), "widths": list(self.shape.widths), "data": self.data}


def load_state(state: TrainState, unet: Any, averaged: Any, optimizer: torch.optim.Optimizer) -> int:
    """Fill the three from the file; the step to go on with, 0 where there is none. Raises DataError."""
    if not state.path.exists():
        return 0
    try:
        held = torch.load(state.path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no one class for a broken file
        raise DataError(f"{state.path} cannot be read ({error}); remove it to begin anew") from error
    if not isinstance(held, dict) or held.get("settings") != state.key:
        raise DataError(f"{state.path} belongs to other data or settings; move it away or train with the same ones")
    unet.load_state_dict(held["unet"])
    averaged.load_state_dict(held["averaged"])
    optimizer.load_state_dict(held["optimizer"])
    return int(held["step"])


def save_state(state: TrainState, step: int, unet: Any, averaged: Any, optimizer: torch.optim.Optimizer) -> None:
    """Write it; raises DataError where a weight is not finite, and leaves what was saved before."""
    weights, means = unet.state_dict(), averaged.state_dict()
    every = [*weights.items(), *means.items()]
    if odd := [name for name, own in every if not bool(torch.isfinite(own).all())]:
        raise DataError(
            f"the weights are not finite any more at step {step} ({odd[0]}); what was saved before is kept in "
            f"{state.path.parent}: train with a lower --lr, into another --out"
        )
    held = {
        "settings": state.key,
        "step": step,
        "unet": weights,
        "averaged": means,
        "optimizer": optimizer.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(held, buffer)
    write_atomic(state.path, buffer.getvalue())
