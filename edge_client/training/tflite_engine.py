"""The runtime "tflite": tflite-runtime or its successor ai-edge-litert, whichever is installed. Batches of one size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_client.errors import MissingExtraError, TrainingError
from edge_client.protocol.graphs import Bundle
from edge_client.training.engines import Arrays

try:
    from ai_edge_litert.interpreter import Interpreter

    _NEW = True
except ImportError:
    from tflite_runtime.interpreter import Interpreter

    _NEW = False


class TfliteEngine:
    """An interpreter for each part that is used, made when it first is."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        check_numpy()
        self._parts = bundle.parts
        # tflite-runtime's second thread waits spinning: 1.67 processors for the speed of one (VGG-9, batches of 32)
        self._threads = threads if _NEW else 1
        self._interpreters: dict[str, Any] = {}
        self._state: Arrays = {}

    def put(self, state: Mapping[str, np.ndarray]) -> None:
        self._state |= {name: np.array(array, dtype=np.float32, order="C") for name, array in state.items()}

    def get(self, name: str) -> np.ndarray:
        return self._state[name]

    def run(self, part: str, given: Mapping[str, np.ndarray]) -> Arrays:
        interpreter, inputs, outputs = self._opened(part)
        try:
            for name, index in inputs.items():
                interpreter.set_tensor(index, given[name] if name in given else self._state[name])
            interpreter.invoke()
        except KeyError as error:
            raise TrainingError(f"the graph {part} wants {error.args[0]}, which nobody gave") from None
        except (RuntimeError, ValueError) as error:
            raise TrainingError(f"TFLite could not do {part}: {error}") from error
        others: Arrays = {}
        for name, index in outputs.items():
            held = name.removeprefix("next.")
            if held == name:
                others[name] = interpreter.get_tensor(index)
            else:
                self._state[held] = interpreter.get_tensor(index)
        return others

    def rest(self, images: Mapping[str, np.ndarray]) -> None:  # noqa: ARG002
        self._interpreters.clear()  # made anew in some milliseconds, and half of what this process holds

    def _opened(self, part: str) -> tuple[Any, dict[str, int], dict[str, int]]:
        if part not in self._interpreters:
            try:
                interpreter = Interpreter(model_content=self._parts[part], num_threads=self._threads)
                interpreter.allocate_tensors()
            except KeyError:
                raise TrainingError(f"the bundle has no graph {part}") from None
            except (RuntimeError, ValueError) as error:
                raise TrainingError(f"TFLite does not take the graph {part}: {error}") from error
            inputs = {own["name"]: own["index"] for own in interpreter.get_input_details()}
            outputs = {own["name"]: own["index"] for own in interpreter.get_output_details()}
            self._interpreters[part] = (interpreter, inputs, outputs)
        return self._interpreters[part]


def check_numpy() -> None:
    """tflite-runtime is built for NumPy 1: with NumPy 2 it can be imported, and fails where an interpreter is made."""
    if not _NEW and int(np.__version__.split(".")[0]) >= 2:
        raise MissingExtraError(
            f"tflite-runtime does not work with NumPy {np.__version__}; run: pip install 'numpy<2', in an environment "
            "without FIMI's server, or take its successor: pip install 'fimi[litert]'"
        )
