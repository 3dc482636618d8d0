"""The seam between a graph trainer and what does its graphs: state by name, and parts that change it.

State is what outlives a call: p.NAME and m.NAME of each weight, s.NAME of sums, g.NAME of the global model. A part
reads the state that it has inputs for, and what it gives as next.NAME replaces NAME.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from edge_client.errors import TrainingError
from edge_client.protocol.graphs import Bundle, unpack_program
from edge_client.training import numpy_engine

Arrays = dict[str, np.ndarray]


class Engine(Protocol):
    """Does the parts of one bundle."""

    def put(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace what is held under these names."""

    def get(self, name: str) -> np.ndarray:
        """What is held under a name; not to be written to."""

    def run(self, part: str, given: Mapping[str, np.ndarray]) -> Arrays:
        """Do a part with `given` beside the state; returns its outputs that are no state."""

    def rest(self, images: Mapping[str, np.ndarray]) -> None:
        """Let go of memory that only a next batch would want; `images`: what "evaluate" takes, for whom that helps."""


class NumpyEngine:
    """Anywhere, slowly."""

    def __init__(self, bundle: Bundle) -> None:
        self._programs = {part: unpack_program(blob) for part, blob in bundle.parts.items()}
        self._state: Arrays = {}

    def put(self, state: Mapping[str, np.ndarray]) -> None:
        self._state |= {name: np.asarray(array, dtype=np.float32) for name, array in state.items()}

    def get(self, name: str) -> np.ndarray:
        return self._state[name]

    def run(self, part: str, given: Mapping[str, np.ndarray]) -> Arrays:
        if part not in self._programs:
            raise TrainingError(f"the bundle has no graph {part}")
        program = self._programs[part]
        known = {name: self._state[name] for name in program.inputs if name in self._state}
        outputs = numpy_engine.run(program, known | dict(given))
        return taken_over(outputs, self._state)

    def rest(self, images: Mapping[str, np.ndarray]) -> None:
        """It holds nothing between calls."""


def taken_over(outputs: Arrays, state: Arrays) -> Arrays:
    """next.NAME of the outputs into the state; returns the others."""
    for name in [own for own in outputs if own.startswith("next.")]:
        state[name.removeprefix("next.")] = outputs.pop(name)
    return outputs
