"""What the project says about itself holds: extras, commands, make targets, licence, shipped settings."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from packaging.requirements import Requirement

if sys.version_info < (3, 11):
    pytest.skip("the server's side needs Python 3.11", allow_module_level=True)

import tomllib

from edge_client.config import ClientConfig
from firmware_profiles.loader import load_profile
from server.config import load_config
from server.endings import EXTRA_OF

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("edge_client", "server", "models", "firmware_profiles", "tools")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()  # type: ignore[index]
SOURCES = [file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.suffix in (".py", ".sh", ".md")]
SETTINGS = [
    file
    for file in sorted(ROOT.rglob("*.toml"))
    if file.relative_to(ROOT).parts[0] in (*PACKAGES, "examples") and "fixtures" not in file.parts
]


def test_every_extra_that_is_named_exists() -> None:
    extras = PROJECT["project"]["optional-dependencies"].keys()
    assert extras >= {"torch", "onnx", "tflite", "jetson", "server", "text2image", "dev"}
    named = {
        extra
        for file in [*SOURCES, *ROOT.glob("*.md")]
        for group in re.findall(r"fimi\[([a-z0-9]+(?:,[a-z0-9]+)*)\]", file.read_text())
        for extra in group.split(",")
    }
    runtimes = set(get_args(get_type_hints(ClientConfig)["runtime"])) - {"auto", "numpy"}
    assert named | set(EXTRA_OF.values()) | runtimes <= extras


@pytest.mark.parametrize("command", PROJECT["project"]["scripts"])
def test_every_command_has_its_function(command: str) -> None:
    module, function = PROJECT["project"]["scripts"][command].split(":")
    assert callable(getattr(import_module(module), function))


def test_every_target_of_make_is_in_its_help() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(TARGETS) <= set(re.findall(r"^  ([a-z0-9-]+)  +\S", listed, re.MULTILINE))
    for value in re.findall(r"^([A-Z0-9_]+) \?=", MAKEFILE, re.MULTILINE):
        assert f"  {value}=" in listed


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_says_a_word_of_help(target: str) -> None:
    assert re.search(rf"^{target}:.*## \S", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_shipped_setting_loads(file: Path) -> None:
    """A new kind of settings file belongs in this list."""
    if file.parent.name == "firmware_profiles":
        load_profile(file)
    else:
        load_config(file)


def test_settings_are_found() -> None:
    assert {file.stem for file in SETTINGS} >= {
        "jetson-nano",
        "raspberry-pi-4b",
        "raspberry-pi-5",
        "demo",
        "demo-quick",
    }


def test_the_server_is_installed_so_that_it_finds_what_ships_with_the_source() -> None:
    """The wheel leaves server/assets out."""
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"] == ["server/assets", "tools/evidence"]
    for line in re.findall(r"pip install [^`\n]*\[server[^`\n]*", (ROOT / "README.md").read_text() + MAKEFILE):
        assert re.search(r"(-e|--editable) '\.\[server", line), line


def test_a_server_keeps_the_pytorch_that_make_sets_up() -> None:
    """Whatever its processor: pip must not put another version in its place."""
    version = re.search(r"^TORCH \?= ([0-9.]+)$", MAKEFILE, re.MULTILINE)[1]  # type: ignore[index]
    asked = [
        requirement
        for requirement in map(Requirement, PROJECT["project"]["optional-dependencies"]["server"])
        if requirement.name == "torch"
    ]
    for machine in ("x86_64", "aarch64"):
        here = [one for one in asked if one.marker is None or one.marker.evaluate({"platform_machine": machine})]
        assert len(here) == 1
        assert here[0].specifier.contains(version)


def test_the_licence_is_the_one_that_is_named() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_base_dependencies_have_an_upper_bound() -> None:
    """A board is set up once and left alone for years: what it gets must be what was meant."""
    for requirement in PROJECT["project"]["dependencies"]:
        assert "<" in requirement.partition(";")[0], requirement


def test_the_direction_of_imports_names_every_package() -> None:
    rules = PROJECT["tool"]["importlinter"]
    assert set(rules["root_packages"]) == set(PACKAGES)
    layers = {name for layer in rules["contracts"][0]["layers"] for name in layer.split(" | ")}
    assert layers == set(PACKAGES)
