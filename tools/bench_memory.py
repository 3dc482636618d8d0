"""What a client holds in memory while it trains VGG-9: `python -m tools.bench_memory [RUNTIME ...]`.

A server with one virtual board runs a round of 500 images in batches of 32, once for each runtime; five times a second
the proportional set sizes (PSS, memory that several processes share counts once) of agent and trainer are read and
added. Then the client is started ten times without work. How much of the disk an install takes, `make arm64` measures.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

SHAPE = (32, 32, 3)
LOOK_S = 0.2
RUN = """name = "memory"
strategy = "tfl"
[data]
source = "images.npz"
local_samples = 500
test_samples_per_round = 100
[network]
name = "vgg9"
[training]
rounds = 2
batch_size = 32
clip_norm = 5.0
[profile]
window_s = 1.0
settle_s = 0.5
[[boards]]
id = "pi5-1"
profile = "raspberry-pi-5"
runtime = "{runtime}"
"""


def pss_mb(word: str) -> float:
    """Of the processes with this word in their command line."""
    found = 0.0
    for process in psutil.process_iter(["cmdline"]):
        if word in " ".join(process.info["cmdline"] or []):
            try:
                found += process.memory_full_info().pss / 1e6
            except psutil.Error:  # it has just ended
                continue
    return found


def peak(runtime: str, folder: Path) -> tuple[float, float, float]:
    """The largest sum, and the agent's and the trainer's part of it."""
    rng = np.random.default_rng(0)
    np.savez(
        folder / "images.npz",
        x_train=rng.integers(0, 256, (2000, *SHAPE), dtype=np.uint8),
        y_train=rng.integers(0, 10, 2000),
        x_test=rng.integers(0, 256, (200, *SHAPE), dtype=np.uint8),
        y_test=rng.integers(0, 10, 200),
    )
    (folder / "run.toml").write_text(RUN.format(runtime=runtime))
    command = [sys.executable, "-m", "server.cli", "run", str(folder / "run.toml"), "--out", str(folder / "runs")]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        most = (0.0, 0.0, 0.0)
        while server.poll() is None:
            agent, trainer = pss_mb("edge_client.cli run"), pss_mb("edge_client.training.worker")
            most = max(most, (agent + trainer, agent, trainer))
            time.sleep(LOOK_S)
    if server.returncode:
        raise SystemExit(f"the run with {runtime} has failed:\n{(folder / 'log').read_text()}")
    return most


def start_s() -> float:
    """Median seconds until a command of the client has started and ended."""
    took = []
    for _ in range(10):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "edge_client.cli", "--version"], check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench_memory", description=__doc__)
    parser.add_argument("runtimes", nargs="*", default=["onnx", "tflite", "torch"])
    for runtime in parser.parse_args().runtimes:
        with tempfile.TemporaryDirectory() as folder:
            whole, agent, trainer = peak(runtime, Path(folder))
        print(f"{runtime}: {whole:.0f} MB at most, agent {agent:.0f}, trainer {trainer:.0f}", flush=True)
    print(f"fimi-client starts in {start_s():.2f} s")


if __name__ == "__main__":
    main()
