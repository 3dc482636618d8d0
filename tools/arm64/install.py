"""FIMI's wheel with the extra `onnx` in a virtual environment inside the root, and what that comes to.

Wheels are chosen and fetched by the host's pip, with the host's own settings (index, certificates, proxies), and
installed inside without any network. Markers are then those of the host's processor; neither the base install nor
`onnx` has one that asks for it. (The extra `torch` has: of that, pip would have to be run inside.)
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.arm64.debian import root_of
from tools.arm64.enter import VENV, Entrance
from tools.arm64.trouble import Trouble
from tools.arm64.watched import answer, say, watched

EXTRA = "onnx"
LIMIT_MB = 145.0

_PYTHON = "3.11"  # Debian 12's
_GLIBC = range(17, 37)  # manylinux_2_N that its glibc 2.36 takes
_OF_VENV = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
_WHEELS = "/wheels"


@dataclass(frozen=True)
class Size:
    """Of site-packages in MB (10^6 bytes), without pip and setuptools, with which every virtual environment begins."""

    files_mb: float  # what the wheels hold
    bytecode_mb: float  # what pip, or Python in use, has compiled of it

    @property
    def installed_mb(self) -> float:
        return self.files_mb + self.bytecode_mb


def newest_wheel(dist: Path) -> Path:
    """What `make wheel` has made; raises Trouble."""
    wheels = sorted(dist.glob("fimi-*.whl"), key=lambda wheel: wheel.stat().st_mtime)
    if not wheels:
        raise Trouble(f"{dist} has no fimi-*.whl; make it with: make wheel")
    return wheels[-1]


def install(folder: Path, entrance: Entrance, wheel: Path, *, bytecode: bool = False) -> None:
    """Fetch and install, unless this very wheel is installed; raises Trouble. Without `bytecode`, as the README has
    boards do it, Python makes what it uses of it when it first does."""
    log, done = folder / "log", folder / "install.done"
    how = "" if bytecode else "--no-compile "
    wanted = f"{EXTRA} {how}{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    if done.is_file() and done.read_text() == wanted:
        say(f"{wheel.name} is installed")
        return
    done.unlink(missing_ok=True)
    wheels, fresh = folder / "wheels", folder / "wheels.part"
    shutil.rmtree(fresh, ignore_errors=True)
    tags = ["manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in _GLIBC)]
    fetch: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    fetch += ["--dest", fresh, "--only-binary=:all:", "--implementation=cp", f"--python-version={_PYTHON}"]
    fetch += [f"--platform={tag}" for tag in tags]
    watched([*fetch, f"{wheel}[{EXTRA}]"], log, f"fetching the wheels of fimi[{EXTRA}] for aarch64")
    shutil.rmtree(wheels, ignore_errors=True)
    fresh.rename(wheels)

    shutil.rmtree(root_of(folder) / VENV.lstrip("/"), ignore_errors=True)
    watched(entrance.command(["python3", "-m", "venv", VENV]), log, "a virtual environment inside: a quarter minute")
    pip = ["pip", "--disable-pip-version-check", "install", "--no-index", f"--find-links={_WHEELS}"]
    pip += [] if bytecode else ["--no-compile"]
    inside = entrance.command([*pip, f"fimi[{EXTRA}] @ file://{_WHEELS}/{wheel.name}"], {wheels: _WHEELS})
    seconds = watched(inside, log, f"installing fimi[{EXTRA}] inside: half a minute")
    done.write_text(wanted)
    say(f"installed in {seconds:.0f} s")


def size(folder: Path) -> Size:
    """What the install takes; raises Trouble where there is none."""
    sites = list((root_of(folder) / VENV.lstrip("/")).glob("lib/python3*/site-packages"))
    if len(sites) != 1:
        raise Trouble(f"{folder}: no virtual environment inside; run the stage install")
    mb = {False: 0.0, True: 0.0}
    for file in _files(sites[0]):
        mb[file.suffix == ".pyc"] += file.lstat().st_size / 1e6
    return Size(files_mb=round(mb[False], 1), bytecode_mb=round(mb[True], 1))


def _files(site: Path) -> Iterator[Path]:
    for top in site.iterdir():
        if not top.name.startswith(_OF_VENV):
            yield from (file for file in (top.rglob("*") if top.is_dir() else [top]) if not file.is_dir())


def startup_s(entrance: Entrance) -> float:
    """Least seconds of three that `fimi-client --version` takes, entering included."""
    command = entrance.command(["fimi-client", "--version"])
    taken = []
    for _ in range(3):
        begun = time.monotonic()
        answer(command, "fimi-client --version")
        taken.append(time.monotonic() - begun)
    return min(taken)


def doctor(entrance: Entrance, runtime: str) -> str:
    """What the client inside says of a training runtime; raises Trouble where that is not ok."""
    report = json.loads(answer(entrance.command(["fimi-client", "doctor", "--json"]), "fimi-client doctor"))
    found = {check["name"]: check for check in report["checks"]}.get(f"runtime {runtime}")
    if found is None or found["status"] != "ok":
        said = found["message"] if found else "it does not name it"
        raise Trouble(f"the doctor inside does not find the runtime {runtime}: {said}")
    return str(found["message"])


def versions(folder: Path) -> dict[str, str]:
    """Of what is installed inside, by name."""
    found = {}
    for top in (root_of(folder) / VENV.lstrip("/")).glob("lib/python3*/site-packages/*.dist-info"):
        name, _, version = top.name.removesuffix(".dist-info").partition("-")
        if not name.startswith(_OF_VENV):
            found[name] = version
    return dict(sorted(found.items()))
