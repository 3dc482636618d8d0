"""Where a generator is trained and sampled, and what pays there: chosen here and nowhere else.

Measured on a CPU (two cores, PyTorch 2.13, a training step of 64 images of 32x32x3) channels-last takes 236 ms in place
of 210, and torch.compile 188 ms after 48 s of compiling, for which it needs a C++ compiler: five minutes of an hour's
training are not worth that. On a GPU both are taken to pay, which was not measured. Batches of 50 guided samples fit a
CPU's caches: of 200, each takes a tenth more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from server.errors import ConfigError
from server.synth.settings import NOISE_STEPS


@dataclass(frozen=True)
class Hardware:
    """`device` is "cpu" or "cuda"; several GPUs are a matter of `accelerate launch`."""

    device: str
    channels_last: bool
    compile: bool
    half: torch.dtype | None = None
    """What the sampler may use in place of float32, at noise levels under `half_below`."""

    @classmethod
    def here(cls, device: str = "auto", *, compile: bool | None = None) -> Hardware:
        """What this machine has, unless named; raises ConfigError for a GPU that is not there."""
        if device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"--device: {device!r}; use auto, cpu or cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device cuda: PyTorch sees no GPU here; use cpu, or install a CUDA build of PyTorch")
        gpu = device != "cpu" and torch.cuda.is_available()
        return cls(
            "cuda" if gpu else "cpu",
            channels_last=gpu,
            compile=gpu if compile is None else compile,
            half=torch.float16 if gpu else torch.bfloat16 if _multiplies_bfloat16() else None,
        )

    @property
    def trains_in_bfloat16(self) -> bool:
        """Whether a training's passes are in bfloat16: where it has instructions, for emulated it is slower."""
        return torch.cuda.is_bf16_supported() if self.device == "cuda" else _multiplies_bfloat16()

    @property
    def half_below(self) -> int:
        """The noise level under which the sampler uses `half`.

        Measured on a CPU with an earlier generator of Fashion-MNIST, 200 samples, against float32: float16 throughout
        moves no channel by more than 1 of 255 levels; bfloat16, three bits coarser, moves 0.8 % of them by more than 2
        when used throughout, because errors in the noisiest levels grow, and 0.007 % when used under level 700.
        """
        return NOISE_STEPS if self.half == torch.float16 else 700

    @property
    def samples_at_once(self) -> int:
        """The sampler's batch, halved where memory runs out."""
        return 1000 if self.device == "cuda" else 50

    def compiled(self, network: Any) -> Any:
        """The network, compiled where that pays; it shares its parameters with the one given."""
        return torch.compile(network) if self.compile else network

    def describe(self) -> str:
        """For cards: "NVIDIA H200" or "CPU, 2 threads"."""
        if self.device == "cuda":
            return torch.cuda.get_device_name()
        return f"CPU, {torch.get_num_threads()} threads"


def _multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for it; emulated it is slower than float32."""
    if not hasattr(torch.cpu, "get_capabilities"):  # before PyTorch 2.10
        return False
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def accelerator_on(hardware: Hardware, *, bfloat16: bool) -> Accelerator:
    """accelerate's view of it: mixed precision, and as many processes as it was launched with."""
    return Accelerator(mixed_precision="bf16" if bfloat16 else "no", cpu=hardware.device == "cpu")


def on_each_process(accelerator: Accelerator, network: Any) -> Any:
    """The network in mixed precision, alike on all processes and not wrapped to average gradients in each backward
    pass: `train` does that itself, once a step, however many passes a process needs for its memory."""
    return accelerator.prepare_model(network, evaluation_mode=True)


def placed(network: Any, hardware: Hardware, device: torch.device) -> Any:
    """The network on its device, in the layout that is fastest there."""
    if hardware.channels_last:
        return network.to(device, memory_format=torch.channels_last)
    return network.to(device)
