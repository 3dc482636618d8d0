"""`make ci-full`: each extra in an environment of its own, installed from the wheel and looked at, then `make arm64`.

    python -m tools.ci_full [ENVIRONMENT ...] [--again]

What an environment came to is kept in build/ci-full/NAME.json and not found out again for the same wheel and Python,
unless it failed or --again is said; so an interrupted series goes on. The result, with date and versions, goes to
tools/evidence/ci-full.json and .md, which are committed: neither holds a path, an address or a host's name. Status 1:
an environment failed. One that this Python or this machine has no packages for is named and is no failure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).resolve().parents[1]
CHECK = HERE / "tests" / "extra_install.py"
BUILD = HERE / "build" / "ci-full"
EVIDENCE = HERE / "tools" / "evidence"
ARM64 = "arm64"

ENVIRONMENTS: Mapping[str, str] = {
    "base": "",
    "torch": "[torch]",
    "onnx": "[onnx]",
    "tflite": "[tflite]",
    "litert": "[litert]",
    "jetson": "[jetson]",
    "server": "[server,text2image,ray]",
}
"""Extras by the environment's name; `tflite` and `server` want different numpys and could not share one."""

GRAPHS = {"base": "numpy", "onnx": "onnx", "tflite": "tflite", "litert": "tflite"}
"""The runtime for which graphs are exported, where one trains by them; there is no exporter in the environment."""

WITH_TORCH = ("torch", "server")
"""PyTorch comes first and alone there: a range would take the newest build, and with it CUDA."""

_NOT_HERE = ("No matching distribution found", "requires a different Python", "requires Python")
"""What pip says where no package fits this Python or machine."""

_SHOWN = (
    "numpy", "torch", "onnxruntime", "tflite-runtime", "ai-edge-litert", "jetson-stats", "onnx", "diffusers",
    "transformers", "ray", "cvxpy", "clarabel",
)  # fmt: skip
_LIST = (
    "import importlib.metadata as m, json; print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
)
_PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet")

Status = Literal["ok", "failed", "not available"]


@dataclass(frozen=True)
class Result:
    """What became of an environment. `mb`: 10^6 bytes of site-packages, without pip and setuptools."""

    name: str
    status: Status
    reason: str = ""
    mb: float | None = None
    seconds: float = 0.0
    checks: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.ci_full", description=__doc__.partition("\n")[0])
    known = (*ENVIRONMENTS, ARM64)
    parser.add_argument("names", nargs="*", metavar="ENVIRONMENT", help=f"{', '.join(known)} (default: all)")
    parser.add_argument("--again", action="store_true", help="also what is known of this very wheel")
    parser.add_argument("--torch", default="2.13.0", metavar="VERSION", help="of PyTorch")
    parser.add_argument("--torch-index", metavar="URL", help="where pip takes PyTorch from")
    parser.add_argument("--dist", type=Path, default=HERE / "dist", help="folder of FIMI's wheel")
    where = HERE / "build" / "arm64-root"
    parser.add_argument("--arm64-root", type=Path, default=where, metavar="DIR", help="of make arm64")
    arguments = parser.parse_args(argv)
    if unknown := sorted(set(arguments.names) - set(known)):
        parser.error(f"no environment {', '.join(unknown)}; there are {', '.join(known)}")
    wheels = sorted(arguments.dist.glob("fimi-*.whl"))
    if len(wheels) != 1:
        parser.error(f"{arguments.dist} has {len(wheels)} wheels of fimi, not one; make it with: make wheel")
    BUILD.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    for name in arguments.names or known:
        if not arguments.again and (old := _known(name, digest)) is not None and old.status != "failed":
            print(f"{name}: {old.status}, known", flush=True)
            continue
        print(f"{name}: installing and looking", flush=True)
        if name == ARM64:
            result = arm64(arguments.arm64_root)
        else:
            result = environment(name, wheels[0], arguments.torch, arguments.torch_index)
        _keep(result, digest)
        print(f"{name}: {result.status}{': ' * bool(result.reason)}{result.reason}", flush=True)
    results = [held for name in known if (held := _known(name, digest)) is not None]
    write(results, digest)
    return int(any(result.status == "failed" for result in results))


def environment(name: str, wheel: Path, torch: str, torch_index: str | None) -> Result:
    """Make it, install, look, and remove it again."""
    folder, begun = BUILD / name, time.monotonic()
    python = folder / "bin" / "python"
    try:
        steps: list[list[str]] = [[sys.executable, "-m", "venv", "--clear", str(folder)]]
        if name in WITH_TORCH:
            index = ["--index-url", torch_index] if torch_index else []
            steps.append([str(python), *_PIP, *index, f"torch=={torch}"])
        steps.append([str(python), *_PIP, f"{wheel}{ENVIRONMENTS[name]}"])
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return Result(name, *_why_pip_failed(done.stderr), seconds=_since(begun))
            if "does not provide the extra" in done.stderr:  # pip installs the rest all the same
                return Result(name, "failed", public(_last_line(done.stderr)), seconds=_since(begun))
        words: list[str | Path] = [python, "-", name, *_graphs(name)]
        with CHECK.open() as script:  # from another folder, so that nothing of the source tree is imported
            looked = subprocess.run(words, stdin=script, cwd=folder, capture_output=True, text=True, check=False)
        versions = json.loads(subprocess.run([python, "-c", _LIST], stdout=subprocess.PIPE, check=True).stdout)
        lines = looked.stdout.splitlines()
        bad = next((line for line in lines if line.startswith("FAILED")), None)
        reason = ""
        if looked.returncode != 0:
            reason = f"{bad or 'the check broke off'}: {_last_line(looked.stderr)}"
        return Result(
            name,
            "ok" if looked.returncode == 0 else "failed",
            public(reason),
            mb=round(_size_mb(folder), 1),
            seconds=_since(begun),
            checks=sum(line.startswith("ok") for line in lines),
            versions={one: versions[one] for one in sorted(versions) if one not in ("pip", "setuptools")},
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _graphs(name: str) -> list[Path]:
    """The file with which the environment trains, made here; none where it needs none."""
    if name not in GRAPHS:
        return []
    runtime, out = GRAPHS[name], BUILD / "graphs"
    words = ["export-step", "--model", "tiny", "--runtime", runtime, "--image-shape", "12,12,1", "--classes", "4"]
    batch = ["--batch", "8"] if runtime == "tflite" else []
    subprocess.run([sys.executable, "-m", "server.cli", *words, *batch, "--out", str(out)], cwd=HERE, check=True)
    return [out / f"tiny-{runtime}.fimi"]


def arm64(folder: Path) -> Result:
    """What `make arm64` finds; without root it is not run, which is no failure of what is tested."""
    if os.geteuid() != 0:
        return Result(ARM64, "not available", "root only")
    begun = time.monotonic()
    (folder / "result.json").unlink(missing_ok=True)
    ready = subprocess.run([HERE / "tools" / "set_up.sh", "emulator"], check=False)
    if ready.returncode != 0:
        return Result(ARM64, "failed", "its tools are not installed: tools/set_up.sh emulator")
    run = subprocess.run(
        [sys.executable, "-m", "tools.arm64", "--folder", folder.resolve()],
        cwd=HERE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    found: dict[str, Any] = {}
    if (folder / "result.json").is_file():
        found = json.loads((folder / "result.json").read_text())
    return Result(
        ARM64,
        "ok" if run.returncode == 0 else "failed",
        public(run.stderr.partition("\n")[0].removeprefix("arm64: ")) if run.returncode != 0 else "",
        mb=found.pop("installed_mb", None),
        seconds=_since(begun),
        versions=found.pop("versions", {}),
        more=found,
    )


def _why_pip_failed(said: str) -> tuple[Status, str]:
    """Status and reason from what pip printed."""
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    reason = public(errors[-1] if errors else _last_line(said))
    return ("not available" if any(word in said for word in _NOT_HERE) else "failed"), reason


def public(text: str) -> str:
    """Without addresses and paths, which belong to the machine and not to the result."""
    text = re.sub(r"\b(?:https?|file|git\+\w+)://\S+", "(address)", text)
    return re.sub(r"(?<![\w.)])/[\w.+@~-]+(?:/[\w.+@~-]+)+/?", "(path)", text)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def _size_mb(folder: Path) -> float:
    """Of all that pip has put there; `lib64` is a link to `lib`."""
    (site,) = (folder / "lib").glob("python3*/site-packages")
    own = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
    tops = [top for top in site.iterdir() if not top.name.startswith(own)]
    files = (file for top in tops for file in (top.rglob("*") if top.is_dir() else [top]))
    return sum(file.lstat().st_size for file in files if not file.is_dir()) / 1e6


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 1)


def _keep(result: Result, digest: str) -> None:
    held = {"of": _of(digest), "date": time.strftime("%Y-%m-%d", time.gmtime()), "result": asdict(result)}
    (BUILD / f"{result.name}.json").write_text(json.dumps(held, indent=2) + "\n")


def _known(name: str, digest: str) -> Result | None:
    file = BUILD / f"{name}.json"
    held = json.loads(file.read_text()) if file.is_file() else {}
    return Result(**held["result"]) if held.get("of") == _of(digest) else None


def _of(digest: str) -> str:
    return f"{digest} {platform.python_version()}"


# ---- what is committed -------------------------------------------------------------------------------------------


def write(results: Sequence[Result], digest: str) -> None:
    """tools/evidence/ci-full.json and .md."""
    system = platform.freedesktop_os_release()
    head = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "fimi": next((result.versions["fimi"] for result in results if "fimi" in result.versions), None),
        "wheel_sha256": digest,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": f"{system.get('NAME', 'Linux')} {system.get('VERSION_ID', '')}".strip(),
    }
    content = {**head, "environments": [asdict(result) for result in results]}
    EVIDENCE.mkdir(exist_ok=True)
    (EVIDENCE / "ci-full.json").write_text(json.dumps(content, indent=2) + "\n")
    (EVIDENCE / "ci-full.md").write_text(table(head, results))
    print(f"written: {EVIDENCE.relative_to(HERE)}/ci-full.json, ci-full.md", flush=True)


def table(head: Mapping[str, Any], results: Sequence[Result]) -> str:
    """The result for people."""
    lines = [
        f"# `make ci-full`, {head['date']}",
        "",
        f"FIMI {head['fimi']}, Python {head['python']}, {head['system']}, {head['machine']}. Sizes are those of "
        "site-packages without pip and setuptools, with pip's bytecode; arm64's has only what a round made of it.",
        "",
        "| environment | result | MB | seconds | versions |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        shown = ", ".join(f"{name} {result.versions[name]}" for name in _SHOWN if name in result.versions)
        told = f"{result.status}: {result.reason}" if result.reason else result.status
        mb = "" if result.mb is None else f"{result.mb:.1f}"
        extras = ENVIRONMENTS.get(result.name, "[onnx], emulated")
        what = f"{result.name} {extras}".strip()
        lines.append(f"| {what} | {told.replace('|', '/')} | {mb} | {result.seconds:.0f} | {shown} |")
    for result in results:
        if (round_ := result.more.get("round")) is not None:
            lines += [
                "",
                f"arm64: Debian 12 under qemu ({result.more['entered_by']}); the client starts in "
                f"{result.more['startup_s']} s; one round with the runtime {round_['runtime']}, "
                f"{round_['samples']} samples, took {round_['round_s']} s, its whole run {round_['run_s']} s.",
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
