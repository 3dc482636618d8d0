"""Where a generator is trained and sampled, and what pays there: measured once, chosen here and nowhere else.

On a CPU channels-last made this U-Net slower, and torch.compile needs a C++ compiler and longer than it saves in a
short training; on a GPU both pay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from server.errors import ConfigError


@dataclass(frozen=True)
class Hardware:
    """`device` is "cpu" or "cuda"; several GPUs are a matter of `accelerate launch`."""

    device: str
    channels_last: bool
    compile: bool

    @classmethod
    def here(cls, device: str = "auto", *, compile: bool | None = None) -> Hardware:
        """What this machine has, unless named; raises ConfigError for a GPU that is not there."""
        if device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"--device: {device!r}; use auto, cpu or cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device cuda: PyTorch sees no GPU here; use cpu, or install a CUDA build of PyTorch")
        gpu = device != "cpu" and torch.cuda.is_available()
        return cls("cuda" if gpu else "cpu", channels_last=gpu, compile=gpu if compile is None else compile)

    def compiled(self, network: Any) -> Any:
        """The network, compiled where that pays; it shares its parameters with the one given."""
        return torch.compile(network) if self.compile else network

    def describe(self) -> str:
        """For cards: "NVIDIA H200" or "CPU, 2 threads"."""
        if self.device == "cuda":
            return torch.cuda.get_device_name()
        return f"CPU, {torch.get_num_threads()} threads"


def accelerator_on(hardware: Hardware, *, bfloat16: bool) -> Accelerator:
    """accelerate's view of it: mixed precision, and as many processes as it was launched with."""
    return Accelerator(mixed_precision="bf16" if bfloat16 else "no", cpu=hardware.device == "cpu")


def placed(network: Any, hardware: Hardware, device: torch.device) -> Any:
    """The network on its device, in the layout that is fastest there."""
    if hardware.channels_last:
        return network.to(device, memory_format=torch.channels_last)
    return network.to(device)
