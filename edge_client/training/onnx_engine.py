"""The runtime "onnx": plain onnxruntime. Weights and momenta stay where they are from step to step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort

from edge_client.errors import TrainingError
from edge_client.protocol.graphs import Bundle
from edge_client.runtimes import LEAST_ONNXRUNTIME, numbers
from edge_client.training.engines import Arrays


class OnnxEngine:
    """A session for each part that is used, made when it first is.

    State is written where it is read: each of its values is replaced by one element-wise operation, and whatever else
    reads it is done before that, because the new value depends on it. For a whole step that holds by way of the
    gradient's norm, which needs every layer's gradient; without a bound on the norm a second set is written, and the
    two change places.
    """

    def __init__(self, bundle: Bundle, threads: int) -> None:
        version = numbers(ort.__version__)
        if version < LEAST_ONNXRUNTIME:
            least = ".".join(map(str, LEAST_ONNXRUNTIME))
            raise TrainingError(f"onnxruntime {ort.__version__} is too old for these graphs; install {least} or newer")
        self._parts = bundle.parts
        self._threads = threads
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._arrays: Arrays = {}
        self._state: dict[str, ort.OrtValue] = {}  # in the arrays' memory
        self._spare: dict[str, ort.OrtValue] | None = None if "clip_norm" in bundle.terms else {}

    def put(self, state: Mapping[str, np.ndarray]) -> None:
        for name, array in state.items():
            held = self._arrays.get(name)
            if held is not None and held.shape == array.shape and self._spare is None:
                np.copyto(held, array)
                continue
            self._arrays[name] = np.array(array, dtype=np.float32, order="C")
            self._state[name] = ort.OrtValue.ortvalue_from_numpy(self._arrays[name])

    def get(self, name: str) -> np.ndarray:
        return self._state[name].numpy() if self._spare is not None else self._arrays[name]

    def run(self, part: str, given: Mapping[str, np.ndarray]) -> Arrays:
        session = self._session(part)
        binding = session.io_binding()
        # a value shares the array's memory, and the binding keeps neither
        values = {name: ort.OrtValue.ortvalue_from_numpy(np.asarray(own, order="C")) for name, own in given.items()}
        for wanted in session.get_inputs():
            held = values.get(wanted.name) or self._held(wanted.name, part)
            binding.bind_ortvalue_input(wanted.name, held)
        replaced, others = [], []
        for output in session.get_outputs():
            name = output.name.removeprefix("next.")
            if name == output.name:
                binding.bind_output(name)
                others.append(name)
                continue
            binding.bind_ortvalue_output(output.name, self._sink(name))
            replaced.append(name)
        try:
            session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime's own classes of error share no other root
            raise TrainingError(f"onnxruntime could not do {part}: {_first_line(error)}") from error
        if self._spare is not None:
            for name in replaced:
                self._state[name], self._spare[name] = self._spare[name], self._state[name]
        names = [own.name for own in session.get_outputs()]
        found = dict(zip(names, binding.get_outputs(), strict=True))
        return {name: found[name].numpy() for name in others}

    def _held(self, name: str, part: str) -> ort.OrtValue:
        try:
            return self._state[name]
        except KeyError:
            raise TrainingError(f"the graph {part} wants {name}, which nobody gave") from None

    def _sink(self, name: str) -> ort.OrtValue:
        """Where the next value goes."""
        if self._spare is None:
            return self._state[name]
        if name not in self._spare:
            self._spare[name] = ort.OrtValue.ortvalue_from_shape_and_type(self._state[name].shape(), np.float32)
        return self._spare[name]

    def _session(self, part: str) -> ort.InferenceSession:
        if part not in self._sessions:
            options = ort.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
            options.log_severity_level = 3
            # A plan of where each value goes needs half as much memory again here, and is no faster.
            options.enable_mem_pattern = False
            try:
                self._sessions[part] = ort.InferenceSession(
                    self._parts[part], options, providers=["CPUExecutionProvider"]
                )
            except KeyError:
                raise TrainingError(f"the bundle has no graph {part}") from None
            except Exception as error:  # as above
                raise TrainingError(f"onnxruntime does not take the graph {part}: {_first_line(error)}") from error
        return self._sessions[part]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
