"""How a checkpoint of ours is sampled. Apart from the sampler, because a configuration is checked without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Solver = Literal["dpm++", "ddim"]
SOLVERS: tuple[Solver, ...] = get_args(Solver)
MOST_STEPS = 100
NOISE_STEPS = 1000
"""Levels of noise that the network knows, 999 the noisiest."""


@dataclass(frozen=True)
class Sampling:
    """The `solver`'s `steps` (one pass of the network each, two with guidance) and `guidance` (1: none)."""

    steps: int = 20
    guidance: float = 1.25
    solver: Solver = "dpm++"

    @property
    def name(self) -> str:
        """For tables and logs: "20 steps, guidance 1.25", with the solver where it is not the usual one."""
        solver = "" if self.solver == "dpm++" else f" of {self.solver}"
        return f"{self.steps} steps{solver}, guidance {self.guidance:g}"
