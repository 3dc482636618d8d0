"""The runtime "onnx": plain onnxruntime. Weights stay in its memory; a step writes a second set, and they swap."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort

from edge_client.errors import TrainingError
from edge_client.protocol.graphs import Bundle
from edge_client.training.engines import Arrays

LEAST = (1, 15)
"""The first version that reads opset 17 and the models' form on all boards."""


class OnnxEngine:
    """A session for each part that is used, made when it first is."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        version = tuple(int(own) for own in ort.__version__.split(".")[:2])
        if version < LEAST:
            raise TrainingError(
                f"onnxruntime {ort.__version__} is too old for these graphs; install {LEAST[0]}.{LEAST[1]} or newer"
            )
        self._parts = bundle.parts
        self._threads = threads
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._state: dict[str, ort.OrtValue] = {}
        self._spare: dict[str, ort.OrtValue] = {}

    def put(self, state: Mapping[str, np.ndarray]) -> None:
        for name, array in state.items():
            self._state[name] = ort.OrtValue.ortvalue_from_numpy(np.array(array, dtype=np.float32, order="C"))

    def get(self, name: str) -> np.ndarray:
        return self._state[name].numpy()

    def run(self, part: str, given: Mapping[str, np.ndarray]) -> Arrays:
        session = self._session(part)
        binding = session.io_binding()
        # a value shares the array's memory, and the binding does not keep the array
        values = {name: ort.OrtValue.ortvalue_from_numpy(np.asarray(own, order="C")) for name, own in given.items()}
        for wanted in session.get_inputs():
            if wanted.name in values:
                binding.bind_ortvalue_input(wanted.name, values[wanted.name])
            else:
                binding.bind_ortvalue_input(wanted.name, self._held(wanted.name, part))
        replaced, others = [], []
        for output in session.get_outputs():
            name = output.name.removeprefix("next.")
            if name == output.name:
                binding.bind_output(name)
                others.append(name)
                continue
            if name not in self._spare:
                self._spare[name] = ort.OrtValue.ortvalue_from_shape_and_type(self._state[name].shape(), np.float32)
            binding.bind_ortvalue_output(output.name, self._spare[name])
            replaced.append(name)
        try:
            session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime's own classes of error share no other root
            raise TrainingError(f"onnxruntime could not do {part}: {_first_line(error)}") from error
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

    def _session(self, part: str) -> ort.InferenceSession:
        if part not in self._sessions:
            options = ort.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
            options.log_severity_level = 3
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
