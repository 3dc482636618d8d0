"""What may be imported where; the direction between packages is import-linter's (see pyproject.toml)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = (
    "torch", "diffusers", "cvxpy", "clarabel", "scipy", "matplotlib", "rich", "PIL", "onnxruntime", "onnx",
    "ai_edge_litert", "tflite_runtime", "flatbuffers", "jtop",
)  # fmt: skip
TORCH_TRAINER = ROOT / "edge_client" / "training" / "torch_trainer.py"

# Imports every module named on the command line in an interpreter that has no package of any extra.
IMPORT_WITHOUT_EXTRAS = f"""
import importlib, sys
from importlib.abc import MetaPathFinder

class NotInstalled(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(name, "needs", error.name)
"""


def python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_of(*packages: str) -> list[str]:
    files = [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]
    return [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]


def top_level_imports(tree: ast.Module) -> Iterator[str]:
    """Packages imported when a module is loaded: not those inside functions or under TYPE_CHECKING."""
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += list(ast.iter_child_nodes(node))


def test_the_client_loads_nothing_heavy() -> None:
    unwanted = (*EXTRAS, "server", "tools")
    loaded = python("-c", f"import sys, edge_client.cli; print(*[m for m in {unwanted} if m in sys.modules])")
    assert loaded.split() == []


def test_what_runs_on_a_board_needs_no_extra() -> None:
    modules = modules_of("edge_client", "firmware_profiles", "tools/boards", "tools/calibrate")
    for runtime in ("torch_trainer", "onnx_engine", "tflite_engine"):
        modules.remove(f"edge_client.training.{runtime}")
    modules.remove("tools.calibrate.figure")
    modules.remove("tools.calibrate.radio_figure")
    assert python("-c", IMPORT_WITHOUT_EXTRAS, *modules) == ""


def test_the_server_command_starts_without_its_extra_so_that_it_can_name_it() -> None:
    assert python("-c", IMPORT_WITHOUT_EXTRAS, "server.cli") == ""


@pytest.mark.parametrize("file", sorted((ROOT / "edge_client").rglob("*.py")), ids=lambda file: file.name)
def test_torch_stays_behind_its_trainer(file: Path) -> None:
    if file != TORCH_TRAINER:
        assert "torch" not in set(top_level_imports(ast.parse(file.read_text())))
