"""A virtual board in a process of its own, to be swept by another: `fimi-board fleet` with a sink for a broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
CALIBRATE = (sys.executable, "-m", "tools.calibrate.cli")


def start(*command: str, **more: Any) -> subprocess.Popen[str]:
    """A process in the repository's environment, its output read here."""
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Poll what no event announces."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def write_images(path: Path, count: int = 40) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    np.savez(path, x=images, y=rng.integers(0, 3, count), n_classes=np.int64(3))


@contextmanager
def virtual_board(folder: Path, profile: str = "raspberry-pi-4b", radio: str = "") -> Iterator[dict[str, Any]]:
    """What "ready" says of the board (its `root`, the `port` of its way to the sink) while it runs."""
    write_images(folder / "board.npz")
    sink = start(*CALIBRATE, "radio-sink", "--listen", "127.0.0.1:0")
    assert sink.stdout is not None
    port = sink.stdout.readline().rpartition(":")[2].strip()
    (folder / "FLEET.toml").write_text(
        f'broker = "127.0.0.1:{port}"\nfleet = "t"\n[[board]]\nid = "b"\nprofile = "{profile}"\ndata = "board.npz"\n'
        + (f"[board.radio]\n{radio}" if radio else "")
    )
    fleet = start(sys.executable, "-m", "tools.boards.cli", "fleet", str(folder / "FLEET.toml"))
    assert fleet.stdout is not None
    try:
        ready = json.loads(fleet.stdout.readline())
        yield ready["boards"][0]
    finally:
        for process in (fleet, sink):
            process.send_signal(signal.SIGTERM)
        for process in (fleet, sink):
            process.communicate(timeout=30)
