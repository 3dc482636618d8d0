"""What of `make ci-full` is committed: reasons without addresses and paths, and a table."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tools import ci_full
from tools.ci_full import Result

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("see https://user:word@example.org/simple/x for more", "see (address) for more"),
        ("[Errno 2] No such file: '/home/me/.venv/bin/python'", "[Errno 2] No such file: '(path)'"),
        ("torch 2.13.0+cpu and/or numpy<2 are fine", "torch 2.13.0+cpu and/or numpy<2 are fine"),
    ],
)
def test_a_reason_names_no_place_of_this_machine(said: str, told: str) -> None:
    assert ci_full.public(said) == told


def test_what_has_no_package_here_is_no_failure() -> None:
    none = "ERROR: Could not find a version\nERROR: No matching distribution found for tflite-runtime==2.14.0\n"
    assert ci_full._why_pip_failed(none) == (
        "not available",
        "No matching distribution found for tflite-runtime==2.14.0",
    )
    assert ci_full._why_pip_failed("ERROR: disk full\n") == ("failed", "disk full")


def test_the_table_has_a_line_for_each_environment_and_the_round() -> None:
    results = [
        Result("tflite", "not available", "no package | here"),
        Result("arm64", "ok", mb=144.0, seconds=70.4, versions={"numpy": "2.4.6"},
               more={"entered_by": "binfmt", "startup_s": 1.5,
                     "round": {"runtime": "onnx", "samples": 24, "round_s": 0.3, "run_s": 11.0}}),
    ]  # fmt: skip
    head = {"date": "2026-01-02", "fimi": "0.1.0", "python": "3.11.7", "system": "Debian 12", "machine": "x86_64"}
    lines = ci_full.table(head, results).splitlines()
    assert "| tflite [tflite] | not available: no package / here |  | 0 |  |" in lines
    assert "| arm64 [onnx], emulated | ok | 144.0 | 70 | numpy 2.4.6 |" in lines
    assert "runtime onnx, 24 samples, took 0.3 s" in lines[-1]


def test_every_environment_is_looked_at() -> None:
    spec = importlib.util.spec_from_file_location("extra_install", ROOT / "tests" / "extra_install.py")
    assert spec is not None and spec.loader is not None
    looked = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(looked)
    assert looked.MODULES.keys() == ci_full.ENVIRONMENTS.keys()
    assert looked.RUNTIMES.keys() < looked.MODULES.keys()
