"""A worker of another program that was started below a board's root is that board's too."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tools.boards.processes import WorkerFinder

_HOST = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()', 'edge_client.training.worker'])"


def test_a_sweep_below_a_root_is_governed(tmp_path: Path) -> None:
    root = tmp_path / "board"
    root.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _HOST, "--root", "board"], cwd=tmp_path, stdin=subprocess.PIPE
    ) as host:
        try:
            finder, found = WorkerFinder(), {}
            late = time.monotonic() + 20
            while 42 not in found.values() and time.monotonic() < late:
                found = finder.scan([1 << 30], {root.resolve(): 42})
            assert [client for client in found.values() if client == 42] == [42]
            other = WorkerFinder().scan([1 << 30], {(tmp_path / "other"): 42})
            assert 42 not in other.values()
        finally:
            host.communicate(b"\n")
