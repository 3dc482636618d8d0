"""Does a fleet that mixes runtimes learn as well as one of PyTorch alone? `python -m tools.bench_mixed --out DIR`.

Plain FL of tools/demo.toml, six virtual boards and VGG-9, once with PyTorch on all of them and once with onnxruntime,
TFLite and PyTorch by turns, for each seed: equal data, first weights and batches. What is compared is the accuracy on
all test images at the end, and the mean of the last three rounds. Finished runs are not run again.
"""

from __future__ import annotations

import argparse
import itertools
import re
import statistics
import subprocess
import sys
from pathlib import Path

from server.run_dir import RunDir

DEMO = Path(__file__).parent / "demo.toml"
FLEETS = {"torch": ("torch",), "mixed": ("onnx", "tflite", "torch")}
LAST = 3


def variant(text: str, seed: int, rounds: int, runtimes: tuple[str, ...]) -> str:
    """The demo's run file as plain FL of one seed, its boards given these runtimes in turn."""
    text = re.sub(r"^seed = .*$", f"seed = {seed}", text, flags=re.MULTILINE)
    text = re.sub(r"^strategy = .*$", 'strategy = "tfl"', text, flags=re.MULTILINE)
    text = re.sub(r"^rounds = .*$", f"rounds = {rounds}", text, flags=re.MULTILINE)
    text = re.sub(r"^stop_at = .*$\n", "", text, flags=re.MULTILINE)
    turn = itertools.cycle(runtimes)
    return re.sub(r"^\[\[boards\]\]$", lambda _: f'[[boards]]\nruntime = "{next(turn)}"', text, flags=re.MULTILINE)


def finished(folder: Path) -> RunDir | None:
    """The run in a folder, if it has come to its end."""
    runs = [RunDir.open(path) for path in sorted(folder.glob("*")) if path.is_dir()]
    return next((run for run in runs if run.has("final-tfl.json")), None)


def run(folder: Path, text: str) -> RunDir:
    """Run it, or take it as it is."""
    if (done := finished(folder)) is not None:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "run.toml"
    config.write_text(text)
    subprocess.run([sys.executable, "-m", "server.cli", "run", str(config), "--out", str(folder)], check=True)
    done = finished(folder)
    if done is None:
        raise SystemExit(f"{folder}: the run has left no result")
    return done


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench_mixed", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=24)
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in FLEETS}
    text = DEMO.read_text()
    lines = []
    for seed in arguments.seeds:
        for name, runtimes in FLEETS.items():
            done = run(arguments.out / f"{name}-{seed}", variant(text, seed, arguments.rounds, runtimes))
            accuracies = [record.accuracy for record in done.rounds("tfl")]
            last, end = statistics.mean(accuracies[-LAST:]), done.final("tfl").accuracy
            found[name].append(last)
            trained = sorted({device.profile.runtime or "?" for device in done.devices()})
            lines.append(f"seed {seed}, {'+'.join(trained):18} last {LAST} rounds {last:.4f}, at the end {end:.4f}")
    print("\n".join(lines))
    for name, values in found.items():
        print(f"{name}: mean {statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})")
    apart = [abs(a - b) for a, b in zip(found["torch"], found["mixed"], strict=True)]
    print(f"apart with equal seeds: {', '.join(f'{value:.4f}' for value in apart)}")


if __name__ == "__main__":
    main()
