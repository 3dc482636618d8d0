"""What metering costs: `python -m tools.bench_metering [--seconds 20] [--rate 10 --rate 20]`.

Each meter is polled by the client's own sampler on the files of a captured board, in a process that does nothing else:
its CPU seconds (children that it starts, as vcgencmd, included) over wall seconds are the cost, as a share of one core.
The aim is half a per cent. "(nothing)" is the sampler's own share: waking a thread so often. `vcgencmd` is the way to a
Raspberry Pi's PMIC where its mailbox may not be opened; it is shown, not judged. Last, the resident memory of a client
that waits for its broker and has no trainer yet.

Files in memory answer quicker than a chip on a bus, but a process that waits for a bus uses no CPU; the kernel's own
work for a transfer is not seen here.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from edge_client.hardware import meters
from edge_client.hardware.interfaces import Meter, MeterInfo
from edge_client.hardware.mailbox import Mailbox, request
from edge_client.hardware.meters import Wanted
from edge_client.hardware.plug import PlugSettings
from edge_client.hardware.pmic import COMMAND, Pmic
from edge_client.hardware.sampler import Sampler
from edge_client.hardware.sysfs import SysFs, run_command
from edge_client.hardware.vcgencmd import Vcgencmd
from edge_client.protocol.joining import Address
from firmware_profiles import trees

LIMIT = 0.005
"""Share of one core that metering may take."""

LIMIT_BYTES = 60_000_000
"""Resident memory of the agent without a trainer that is aimed at."""

BOARDS = (
    ("ina3221", "jetson-nano"),
    ("ina3221", "jetson-orin-nano"),
    ("hwmon", "raspberry-pi-4b"),
    ("pmic", "raspberry-pi-5"),
    ("vcgencmd", "raspberry-pi-5"),
    ("rapl", "x86-rapl"),
    ("rapl", "x86-two-sockets"),
    ("modelled", "raspberry-pi-4b"),
)

_PLUG = """
import sys
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
client = mqtt.Client(CallbackAPIVersion.VERSION2)
client.on_connect = lambda client, *_: client.subscribe("cmnd/bench/STATUS")
client.on_message = lambda client, *_: client.publish("stat/bench/STATUS10", '{"StatusSNS":{"ENERGY":{"Power":5.2}}}')
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_forever()
"""


@dataclass(frozen=True)
class Cost:
    """One meter at one rate: CPU seconds a second, and polls that gave nothing."""

    meter: str
    tree: str
    rate_hz: float
    share: float
    missed: int
    samples: int


@dataclass(frozen=True)
class Moving(SysFs):
    """A captured board whose energy counters and clock ticks go on."""

    def text(self, path: str) -> str:
        if path != "proc/stat":
            return super().text(path)
        super().text(path)
        return f"cpu  {time.monotonic_ns() // 20_000_000} 0 0 {time.monotonic_ns() // 20_000_000} 0 0 0 0"

    def number(self, path: str) -> float | None:
        if not path.endswith("/energy_uj"):
            return super().number(path)
        super().number(path)  # what reading a file costs
        return time.monotonic_ns() // 100  # 10 W


class Nothing:
    """A meter that costs nothing."""

    info = MeterInfo("nothing", "board", 0.0)

    def read_power_w(self) -> float | None:
        return 1.0


def main() -> int:
    """The command; returns 1 where a meter costs more than the limit."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench_metering", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="each meter is watched for so long (default: 20)")
    parser.add_argument("--rate", type=float, action="append", help="polls a second; again for more (default: 10, 20)")
    arguments = parser.parse_args()
    print(f"{'meter':<10} {'files of':<22} {'Hz':>5} {'% of a core':>12} {'polls':>6} {'missed':>7}", flush=True)
    costs = []
    for rate_hz in arguments.rate or [10.0, 20.0]:
        for cost in measure_all(rate_hz, arguments.seconds):
            costs.append(cost)
            print(line(cost), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        size_bytes = agent_bytes(Path(folder))
    print(f"agent without a trainer: {size_bytes / 1e6:.1f} MB resident (aim: at most {LIMIT_BYTES / 1e6:.0f})")
    over = [cost for cost in costs if cost.share > LIMIT and cost.meter != "vcgencmd"]
    for cost in over:
        print(f"{cost.meter} at {cost.rate_hz:g} Hz costs more than {LIMIT:.1%} of a core")
    return int(bool(over))


def line(cost: Cost) -> str:
    """One row of the table."""
    return f"{cost.meter:<10} {cost.tree:<22} {cost.rate_hz:>5g} {cost.share:>12.3%} {cost.samples:>6} {cost.missed:>7}"


def measure_all(rate_hz: float, seconds: float) -> Iterator[Cost]:
    """Every meter that can be had here, one after the other."""
    yield measure(Nothing(), "(nothing)", "", rate_hz, seconds)
    for kind, tree in BOARDS:
        with tempfile.TemporaryDirectory() as folder:
            yield measure(captured(kind, tree, Path(folder)), kind, tree, rate_hz, seconds)
    with plug() as settings:
        if settings is not None:
            found = meters.find(SysFs(Path("/")), "", None, Wanted("plug", settings))
            assert found.meter is not None
            yield measure(found.meter, "plug", "(Mosquitto)", rate_hz, seconds)


def captured(kind: str, tree: str, root: Path) -> Meter:
    """The meter `kind` of a captured board."""
    trees.unpack(trees.load(tree), root)
    fs = Moving(root)
    model, path = fs.read("proc/device-tree/model") or "", fs.command("vcgencmd")
    found = meters.find(fs, model, Vcgencmd(fs, path) if path else None, Wanted("pmic" if kind == "vcgencmd" else kind))
    if found.meter is None:
        raise SystemExit(f"{tree}: {found.reason}")
    if kind == "pmic":
        return Pmic(_mailbox(root, str(path)))
    return found.meter


def _mailbox(root: Path, vcgencmd: str) -> Mailbox:
    """A firmware that answers at once with what the captured board says."""
    said = bytearray(request(run_command((vcgencmd, COMMAND))))
    said[4:8] = (0x80000000).to_bytes(4, sys.byteorder)

    def ioctl(_fd: int, _request: int, buffer: bytearray, _mutate: bool) -> int:
        buffer[:] = said
        return 0

    device = root / "vcio"
    device.touch()
    return Mailbox(str(device), ioctl)


def measure(
    meter: Meter, kind: str, tree: str, rate_hz: float, seconds: float, sleep: Callable[[float], None] = time.sleep
) -> Cost:
    """CPU seconds a second of polling `meter` at `rate_hz`."""
    sampler = Sampler(meter, 1 / rate_hz)
    sampler.start()
    try:
        sleep(min(2.0, seconds))  # connections are made, first readings taken
        start, before = time.monotonic(), cpu_s()
        sleep(seconds)
        end, after = time.monotonic(), cpu_s()
        seen = sampler.energy(start, end, None)
    finally:
        sampler.stop()
    share = (after - before) / (end - start)
    return Cost(kind, tree, 1 / sampler.period_s, share, seen.missed_samples, seen.samples)


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


@contextmanager
def plug() -> Iterator[PlugSettings | None]:
    """A plug on a broker, both in processes of their own; None where there is no Mosquitto."""
    mosquitto = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if mosquitto is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ExitStack() as stack:
        for command in ((mosquitto, "-p", str(port)), (sys.executable, "-c", _PLUG, str(port))):
            process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            stack.callback(process.terminate)
            time.sleep(1.0)
        yield PlugSettings("tasmota", Address("127.0.0.1", port), "bench")


def agent_bytes(folder: Path, seconds: float = 5.0) -> int:
    """Resident memory of `fimi-client run` that polls its meter and finds no broker."""
    trees.unpack(trees.load("jetson-nano"), folder / "root")
    data = folder / "d.npz"
    np.savez(data, x=np.zeros((10, 8, 8, 1), np.uint8), y=np.zeros(10, np.int64), n_classes=2)
    words = ("--broker", "mqtt://127.0.0.1:9", "--fleet", "bench", "--id", "bench", "--data", str(data))
    command = [sys.executable, "-m", "edge_client.cli", "run", *words, "--root", str(folder / "root")]
    with subprocess.Popen([*command, "--runtime", "numpy"], stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(seconds)
            return int(psutil.Process(process.pid).memory_info().rss)
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
