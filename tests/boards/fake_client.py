"""Stands in for fimi-client in tests of the boards: connects to the broker, runs a worker, ends on SIGTERM.

The worker's command line holds the marker that the governor looks for. It burns CPU without pause and writes
"<monotonic seconds> <samples done>" lines to <root>/../<id>.samples; a "sample" is a fixed amount of CPU time.
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

SAMPLE_S = 0.002


def burn(path: Path) -> None:
    with path.open("w", buffering=1, encoding="ascii") as out:
        done = 0
        while True:
            start = time.process_time()
            while time.process_time() - start < SAMPLE_S:
                pass
            done += 1
            out.write(f"{time.monotonic():.6f} {done}\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("broker", "fleet", "id", "root", "data", "state-dir", "storage-samples", "config"):
        parser.add_argument(f"--{name}")
    arguments = parser.parse_args(sys.argv[2:])
    host, port = arguments.broker.removeprefix("mqtt://").split(":")
    samples = Path(arguments.root).parent / f"{arguments.id}.samples"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    worker = None
    try:
        with socket.create_connection((host, int(port))) as connection:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # not between the start and its name
            worker = subprocess.Popen([sys.executable, __file__, "edge_client.training.worker", str(samples)])
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            while connection.recv(4096):
                pass
    finally:
        if worker is not None:
            worker.kill()
            worker.wait(5)


if __name__ == "__main__":
    if sys.argv[1] == "edge_client.training.worker":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # inherited
        burn(Path(sys.argv[2]))
    else:
        main()
