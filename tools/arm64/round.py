"""One federated round: broker and server on this machine, the one client inside the root.

The client is given a board's cpufreq files, so that it has a clock to set and to give back. Nothing obeys them, as no
emulated processor would.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from server.run_dir import RoundRecord, RunDir
from tools.arm64.enter import Entrance
from tools.arm64.trouble import Trouble
from tools.arm64.watched import Child, end_all, say, started, tail

DEVICE = "arm64-1"
SAMPLES = 24
SIDE, N_CLASSES = 12, 4
LIMIT_S = 1800.0
"""Of the whole run: emulation is some 200 times slower than the processor itself."""

EXIT_S = 60.0
"""For the client to restore its board and end."""

POLICY = "sys/devices/system/cpu/cpufreq/policy0"
GOVERNOR = "schedutil"
UNSET = "<unsupported>"  # what the kernel says of a speed where no governor takes one
_KHZ = (600000, 900000, 1200000)

RUN_TOML = """name = "arm64"
strategy = "tfl"                # nothing synthetic: one board, its own samples
[data]
source = "images.npz"
local_samples = {samples}
test_samples_per_round = 32
[network]
name = "tiny"
[training]
rounds = 1
batch_size = 8
[profile]
window_s = 1.0
settle_s = 0.0
[broker]
port = {port}
[fleet]
name = "arm64"
devices = 1
enrol_timeout_s = 600
round_deadline_s = 900
"""


@dataclass(frozen=True)
class Outcome:
    """What the run directory says of the round, and how the client ended."""

    seconds: float  # the whole run, enrolment and profile included
    round_s: float
    accuracy: float
    samples: int  # trained
    run_dir: Path


def write_world(folder: Path, port: int) -> Path:
    """Data of server and client, a board's files, the run file; returns the run file."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    y_train, y_test = (rng.integers(0, N_CLASSES, n) for n in (4 * SAMPLES, 32))
    np.savez(folder / "images.npz", x_train=_images(y_train, rng), y_train=y_train, x_test=_images(y_test, rng),
             y_test=y_test)  # fmt: skip
    own = np.arange(SAMPLES) % N_CLASSES
    np.savez(folder / "device.npz", x=_images(own, rng), y=own, n_classes=N_CLASSES)
    policy = folder / "board" / POLICY
    policy.mkdir(parents=True)
    for name, text in {
        "affected_cpus": "0",
        "scaling_available_frequencies": " ".join(map(str, _KHZ)),
        "scaling_available_governors": f"userspace performance {GOVERNOR}",
        "scaling_governor": GOVERNOR,
        "scaling_setspeed": UNSET,
        "scaling_min_freq": _KHZ[0],
        "scaling_max_freq": _KHZ[-1],
        "scaling_cur_freq": _KHZ[-1],
    }.items():
        (policy / name).write_text(f"{text}\n")
    file = folder / "RUN.toml"
    file.write_text(RUN_TOML.format(samples=SAMPLES, port=port))
    return file


def _images(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise with one bright quarter, which tells the class."""
    x = rng.integers(0, 160, (len(labels), SIDE, SIDE, 1))
    for label in range(N_CLASSES):
        row, column = (SIDE // 2 * at for at in divmod(label, 2))
        x[labels == label, row : row + SIDE // 2, column : column + SIDE // 2] += 60
    return x.astype(np.uint8)


def one_round(folder: Path, entrance: Entrance, runtime: str, limit_s: float = LIMIT_S) -> Outcome:
    """Run it anew below `folder`; raises Trouble that says what was not as it must be."""
    folder = folder.resolve()  # seen under the same path inside: proot 5.1 leaves paths of access(2) as they are
    shutil.rmtree(folder, ignore_errors=True)
    config = write_world(folder, port := _free_port())
    words: list[str | Path] = ["fimi-client", "run", "--broker", f"mqtt://127.0.0.1:{port}", "--runtime", runtime]
    words += ["--fleet", "arm64", "--id", DEVICE, "--data", folder / "device.npz", "--root", folder / "board"]
    begun = time.monotonic()
    with (folder / "client.log").open("w") as log:
        server = started(
            [sys.executable, "-m", "server.cli", "run", config, "--out", folder / "runs"],
            subprocess.PIPE,
            {**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        client: Child | None = None
        try:
            listening = _followed(server, begun, folder / "server.log")
            _await(server, listening, limit_s)
            client = started(entrance.command(words, {folder: str(folder)}), log)
            _await_end(server, client, begun + limit_s, folder)
            status = _end(client, entrance)
        finally:
            end_all(server)
            if client is not None:
                end_all(client)
    return check(folder, status, time.monotonic() - begun)


def check(folder: Path, status: int, seconds: float) -> Outcome:
    """What must hold of a run that has ended; raises Trouble with all that does not."""
    (path,) = (one for one in (folder / "runs").iterdir() if (one / "config.toml").is_file())
    wrong: list[str] = []
    rounds = RunDir.open(path).rounds("tfl")
    record: RoundRecord | None = rounds[0] if len(rounds) == 1 else None
    if record is None:
        wrong.append(f"{len(rounds)} rounds are on record, not one")
    else:
        if record.status != "complete" or record.lost:
            wrong.append(f"the round is {record.status}, lost: {', '.join(record.lost) or 'nobody'}")
        if record.verdicts != {DEVICE: "accepted"}:
            wrong.append(f"verdicts are {record.verdicts}, not accepted alone")
        if [closed.device for closed in record.closed] != [DEVICE]:
            wrong.append("the client's last word on its task is missing")
    trained = sum(segment.samples for update in record.updates for segment in update.segments) if record else 0
    if trained != SAMPLES:
        wrong.append(f"{trained} samples were trained, not {SAMPLES}")
    if status != 0:
        wrong.append(f"the client ended with status {status}, not 0")
    policy = folder / "board" / POLICY
    if (policy / "scaling_setspeed").read_text().strip() == UNSET:
        wrong.append("the client never set a clock, so nothing shows that it restores one")
    governor = (policy / "scaling_governor").read_text().strip()
    if governor != GOVERNOR:
        wrong.append(f"the client left the governor {governor}, not {GOVERNOR}")
    if list((folder / "board").rglob("settings.json")):
        wrong.append("the client left settings.json: something is not restored")
    if wrong or record is None:
        raise Trouble(f"{'; '.join(wrong)}; {path}, the client's log:\n{tail(folder / 'client.log')}")
    return Outcome(seconds, record.duration_s, record.accuracy, trained, path)


def _followed(server: Child, begun: float, log: Path) -> threading.Event:
    """Show what the server says; the event is set once its broker listens, or the server has ended."""
    listening = threading.Event()

    def follow() -> None:
        assert server.stdout is not None
        with log.open("w") as kept:
            for line in server.stdout:
                kept.write(line)
                say(f"  {time.monotonic() - begun:.0f} s: {line.strip()}")
                if line.startswith("broker at"):
                    listening.set()
        listening.set()

    threading.Thread(target=follow, daemon=True).start()
    return listening


def _await(server: Child, listening: threading.Event, limit_s: float) -> None:
    if not listening.wait(limit_s) or server.poll() is not None:
        raise Trouble(f"the server did not come up (status {server.poll()}); what it said is above")


def _await_end(server: Child, client: Child, end: float, folder: Path) -> None:
    """Until the server has ended well."""
    while server.poll() is None:
        if client.poll() is not None:
            raise Trouble(f"the client ended with status {client.returncode} before the round was over:\n"
                          f"{tail(folder / 'client.log')}")  # fmt: skip
        if time.monotonic() > end:
            raise Trouble(f"the run took too long; the client's log:\n{tail(folder / 'client.log')}")
        time.sleep(0.2)
    if server.returncode != 0:
        raise Trouble(f"the server ended with status {server.returncode}; the client's log:\n"
                      f"{tail(folder / 'client.log')}")  # fmt: skip


def _end(client: Child, entrance: Entrance) -> int:
    """Ask it to end, as systemd would; returns its status."""
    try:
        entrance.process(client).send_signal(signal.SIGTERM)
        return client.wait(EXIT_S)
    except psutil.NoSuchProcess:
        return client.wait(EXIT_S)
    except subprocess.TimeoutExpired:
        raise Trouble(f"the client did not end within {EXIT_S:.0f} s of being asked to") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
