"""Training runtimes: which there are, which of them work here, and which a client may choose from.

Looking imports nothing: an import takes seconds on a board, and memory that a client which trains elsewhere has not.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from edge_client.errors import MissingExtraError

Name = Literal["onnx", "tflite", "torch", "numpy"]
Wanted = Literal["auto", "onnx", "tflite", "torch", "numpy"]

MODULES: Mapping[Name, tuple[tuple[str, ...], str]] = {
    "onnx": (("onnxruntime",), "pip install 'fimi[onnx]'"),
    "tflite": (("ai_edge_litert", "tflite_runtime"), "pip install 'fimi[litert]'"),
    "torch": (("torch",), "pip install 'fimi[torch]'"),
    "numpy": (("numpy",), "pip install fimi"),
}
"""The modules of which one must be there, and the command that installs it; in the order of preference where nothing
was measured: numpy trains anything, and slowly."""

LEAST_ONNXRUNTIME = (1, 15)
"""The first that reads opset 17 and the models' form on all boards."""


@dataclass(frozen=True)
class Obstacle:
    """Why a runtime does not work here, and what mends it."""

    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.why}; {self.remedy}"


@dataclass(frozen=True)
class Python:
    """This interpreter's packages. `there(module)`: could it be imported? `version(package)`: None where not known."""

    there: Callable[[str], bool]
    version: Callable[[str], str | None]

    def module_of(self, name: Name) -> str | None:
        """The module that the runtime would be imported by."""
        return next(filter(self.there, MODULES[name][0]), None)

    def obstacle(self, name: Name) -> Obstacle | None:
        """None where the runtime works, as far as can be seen from outside."""
        module, install = self.module_of(name), MODULES[name][1]
        if module is None:
            return Obstacle(f'training runtime "{name}" is not installed', f"install it with: {install}")
        numpy = self.version("numpy")
        if module == "tflite_runtime" and numpy is not None and numbers(numpy) >= (2, 0):
            return Obstacle(
                f"tflite-runtime is built for NumPy 1 and fails with NumPy {numpy}, though it can be imported",
                "run: pip install 'numpy<2' (not where fimi-server is), or take its successor: "
                "pip install 'fimi[litert]'",
            )
        own = self.version("onnxruntime") if name == "onnx" else None
        if own is not None and numbers(own) < LEAST_ONNXRUNTIME:
            least = ".".join(map(str, LEAST_ONNXRUNTIME))
            return Obstacle(
                f"onnxruntime {own} is too old, training needs {least}", f"run: pip install 'onnxruntime>={least}'"
            )
        return None

    def working(self) -> tuple[Name, ...]:
        """By preference."""
        return tuple(name for name in MODULES if self.obstacle(name) is None)

    def choice(self, wanted: Wanted) -> tuple[Name, ...]:
        """What a client may train with: the runtime asked for; of "auto" all that work, numpy only where nothing else
        does. Raises MissingExtraError where the one that is asked for does not."""
        if wanted == "auto":
            found = self.working()
            return tuple(name for name in found if name != "numpy") or found
        if (obstacle := self.obstacle(wanted)) is not None:
            raise MissingExtraError(str(obstacle))
        return (wanted,)

    def versions(self, names: tuple[Name, ...]) -> dict[str, str]:
        """Of the packages behind these runtimes."""
        modules = {name: self.module_of(name) for name in names}
        return {name: self.version(module) or "" for name, module in modules.items() if module is not None}


def numbers(version: str) -> tuple[int, int]:
    """ "2.14.0" -> (2, 14)."""
    first, _, rest = version.partition(".")
    second = rest.partition(".")[0]
    return (int(first) if first.isdecimal() else 0, int(second) if second.isdecimal() else 0)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return None


def _there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


HERE = Python(_there, _version)
"""The interpreter that runs this."""
