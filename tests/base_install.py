"""What a base install must do: run by CI with the Python of an empty environment that holds the wheel alone.

Not a test for pytest: there is none in that environment.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

SCRIPTS = Path(sys.executable).parent
HEAVY = ("torch", "diffusers", "cvxpy", "scipy", "matplotlib", "rich", "PIL", "server", "tools")


def check(what: str, passed: bool, seen: str = "") -> None:
    """One line a check; the first that fails ends the script."""
    print(f"{'ok' if passed else 'FAILED'}: {what}", flush=True)
    if not passed:
        sys.exit(seen or 1)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A console command of the wheel, its output kept."""
    return subprocess.run([SCRIPTS / command[0], *command[1:]], capture_output=True, text=True, timeout=60)


loaded = subprocess.run(
    [sys.executable, "-c", f"import sys, edge_client.cli; print(*[m for m in {HEAVY} if m in sys.modules])"],
    capture_output=True,
    text=True,
)
check("edge_client.cli loads nothing heavy", loaded.returncode == 0 and not loaded.stdout.strip(), str(loaded))

check("torch is not installed", util.find_spec("torch") is None)
check("the wheel holds no data set", not any("assets" in str(f) for f in metadata.files("fimi") or []))
check("the wheel holds no tests", not any(str(f).startswith("tests/") for f in metadata.files("fimi") or []))
check(
    "the wheel holds board profiles", any(str(f).startswith("firmware_profiles/") for f in metadata.files("fimi") or [])
)

version = run("fimi-client", "--version")
check("fimi-client --version", version.returncode == 0 and metadata.version("fimi") in version.stdout, str(version))

boards = run("fimi-board", "list")
check("fimi-board list", boards.returncode == 0 and "jetson-nano" in boards.stdout, str(boards))

place = ("--broker", "mqtt://127.0.0.1:1", "--fleet", "f", "--id", "d", "--data", "none.npz")
client = run("fimi-client", "run", *place, "--runtime", "torch")
check(
    "fimi-client run names the missing extra",
    client.returncode == 7 and "pip install 'fimi[torch]'" in client.stderr and "Traceback" not in client.stderr,
    str(client),
)

for step in ("plan", "run"):
    answer = run("fimi-server", step, "none.toml")
    check(
        f"fimi-server {step} names the missing extra",
        answer.returncode == 7 and "pip install 'fimi[server]'" in answer.stderr and "Traceback" not in answer.stderr,
        str(answer),
    )
