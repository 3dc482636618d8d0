"""What is looked at, each as one line: ok, degraded or missing, a sentence, and where there is one what mends it.

Nothing is changed and nothing is started; a meter is asked once. A plain machine without any sensor passes: it trains,
at its own clock, and its energy is unavailable or modelled, never a number that was not measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from edge_client.errors import DataError
from edge_client.hardware.board import Board
from edge_client.hardware.cpufreq import online
from edge_client.hardware.interfaces import Meter, Missing
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.supply import read_supply
from edge_client.hardware.txpower import IwTxPower
from edge_client.helper.client import HelpedClock
from edge_client.runtimes import HERE, MODULES, Python, Wanted
from edge_client.training import data

Status = Literal["ok", "degraded", "missing"]

_HELPER = "sudo systemctl restart fimi-helper, or mend `helper` in client.toml"
_UNITS = "fimi-client units fimi-units, then what it says"


NO_RADIO = "no Wi-Fi card whose power could be set: a plan sets clock and rate only"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `remedy` is a command or an instruction, None where nothing is to be mended."""

    name: str
    status: Status
    message: str
    remedy: str | None = None


def _ok(name: str, message: str) -> Check:
    return Check(name=name, status="ok", message=message)


def _weak(name: str, message: str, remedy: str | None = None) -> Check:
    return Check(name=name, status="degraded", message=message, remedy=remedy)


def _lacks(name: str, message: str, remedy: str | None = None) -> Check:
    return Check(name=name, status="missing", message=message, remedy=remedy)


def clock(board: Board) -> Check:
    """Whether a plan's clock can be set, and how it is then verified."""
    found = board.fs.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_governor")
    governors = [path for path in found if online(board.fs, path.split("/")[-2])]
    points = board.cpufreq.available_hz()
    if not governors:
        said = "this machine has no cpufreq policy: it trains at its own clock"
        return _lacks("clock", said, remedy="on a virtual machine nothing; else load the processor's cpufreq driver")
    if not points:
        said = f"{_policies(len(governors))} may be read but not set: training runs at the owner's clock"
        return _lacks("clock", said, remedy=_UNITS)
    if isinstance(board.cpufreq, HelpedClock) and (why := board.cpufreq.trouble()) is not None:
        return _lacks("clock", f"{_policies(len(governors))} cannot be set: {why}", remedy=_HELPER)
    by = "by its firmware" if board.firmware else "by known work and the driver"
    through = " through the helper" if isinstance(board.cpufreq, HelpedClock) else ""
    span = f"{len(points)} clocks from {points[0] / 1e6:.0f} to {points[-1] / 1e6:.0f} MHz"
    now = "/".join(sorted({board.fs.read(path) or "?" for path in governors}))
    return _ok("clock", f"{_policies(len(governors))} ({now} now), {span} can be set{through}, verified {by}")


def limits(board: Board) -> Check:
    """What holds the clock down now."""
    found = board.limits.read()
    if found is None:
        return _lacks(
            "throttling", "nothing tells what holds the clock down; a throttled segment shows only by the time it takes"
        )
    if found:
        cure = "a stronger supply and cable" if "under_voltage" in found else "cooling: a heat sink, a fan, less load"
        names = ", ".join(sorted(found)).replace("_", "-")
        return _weak("throttling", f"the clock is held down now: {names}", remedy=cure)
    return _ok("throttling", "nothing holds the clock down")


def radio(board: Board) -> Check:
    """Whether a plan's transmit power can be set."""
    wireless = [path.split("/")[-2] for path in board.fs.glob("sys/class/net/*/wireless")]
    if board.tx.capability == "enforced":
        return _ok("radio", "transmit power can be set, and its effect was measured")
    if board.tx.capability == "accepted_unverified":
        said = "transmit power can be set, but many drivers read back what they were told and ignore it"
        return _weak("radio", said, remedy="[rssi] in client.toml, then fimi-client radio-check")
    if isinstance(board.tx, IwTxPower):
        return _lacks("radio", f"{board.tx.interface} ignores what it is set to, as the access point saw it")
    if wireless and board.fs.command("iw") is None:
        return _lacks("radio", f"{wireless[0]} is a Wi-Fi card, but iw is not installed", remedy="sudo apt install iw")
    return _lacks("radio", NO_RADIO)


def meter(board: Board, kinds: Mapping[str, Meter | Missing], power_w: float | None) -> Iterator[Check]:
    """What energy is measured with, and each kind that is there and cannot be used. `power_w`: one look."""
    chosen = board.meter
    if chosen is None:
        what, _, right = board.no_meter.partition("; ")
        own = 'or meter = "modelled" with meter_profile, which is called a model wherever it goes'
        yield _lacks("energy", f"unavailable: {what}", remedy=f"{right}, {own}" if right else own.removeprefix("or "))
    else:
        info = chosen.info
        now = f", {power_w:.2f} W now" if power_w is not None else ", but it gives no reading"
        said = f"{info.source} by {info.name} ({info.boundary.replace('_', ' ')}, {info.uncertainty:.0%} of scale){now}"
        unsure = info.source == "modelled" or power_w is None
        remedy = "calibrate it, or add a meter" if info.source == "modelled" else "see fimi-client show"
        yield Check(
            name="energy", status="degraded" if unsure else "ok", message=said, remedy=remedy if unsure else None
        )
    for kind, one in kinds.items():
        if isinstance(one, Missing) and one.there and (chosen is None or chosen.info.name != kind):
            what, _, right = one.reason.partition("; ")
            yield _weak(f"meter {kind}", what, remedy=right or None)


def surroundings(board: Board) -> Iterator[Check]:
    """Temperature and supply."""
    hot_c, fed = board.temperature_c(), read_supply(board.fs)
    if hot_c is None:
        yield _lacks("temperature", "no thermal zone: max_temperature_c cannot be kept")
    else:
        yield _ok("temperature", f"{hot_c:.0f} C")
    if fed.battery_share is not None:
        how = {True: "fed from outside", False: "discharging", None: "nothing tells whether it charges"}[fed.fed]
        yield _ok("battery", f"{fed.battery_share:.0%}, {how}")


def runtimes(wanted: Wanted, python: Python = HERE) -> Iterator[Check]:
    """Training runtimes: those that are installed, and the one that is asked for."""
    for name, (_, install) in MODULES.items():
        obstacle, module = python.obstacle(name), python.module_of(name)
        if obstacle is None:
            version = python.versions((name,)).get(name)
            slow = "; trains any network, slowly" if name == "numpy" else ""
            yield _ok(f"runtime {name}", f"{module}{f' {version}' if version else ''} is installed{slow}")
        elif name == wanted and module is None:
            yield _lacks(f"runtime {name}", "not installed, and client.toml asks for it", install)
        elif module is not None:
            yield (_lacks if name == wanted else _weak)(f"runtime {name}", obstacle.why, obstacle.remedy)


def rights(board: Board) -> Check:
    """Who sets what needs rights."""
    if isinstance(board.cpufreq, HelpedClock):
        if (why := board.cpufreq.trouble()) is not None:
            return _lacks("rights", why, remedy=_HELPER)
        return _ok("rights", "the helper's socket is there and this user may use it")
    if os.geteuid() == 0:
        return _weak("rights", "this is root: more than an agent needs", remedy=_UNITS)
    if board.cpufreq.available_hz():
        return _ok("rights", "this user may set the clock by itself")
    return _lacks("rights", "neither a helper nor rights to set clock or transmit power", remedy=_UNITS)


def state(folder: Path, settings: SettingsFile) -> Iterator[Check]:
    """The folder that a client writes to, and what a killed one has left there."""
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not os.access(nearest, os.W_OK) or not nearest.is_dir():
        yield _lacks(
            "state",
            f"{folder} cannot be written by this user",
            remedy=f"sudo install -d -o {os.environ.get('USER', 'fimi')} {folder}, or --state-dir",
        )
    else:
        yield _ok("state", f"{folder} can be written")
    if left := sorted(settings.load()):
        yield _weak(
            "left behind",
            f"changed and not restored: {', '.join(left)} (is a client at work? then all is well)",
            remedy="fimi-client restore",
        )


def samples(path: str | None) -> Check:
    """This device's samples."""
    if path is None:
        return _lacks("data", "no samples are named", remedy="--data DEVICE.npz")
    try:
        held = data.load(Path(path))
    except DataError as error:
        return _lacks("data", str(error), remedy="see README, the device's data")
    size = "x".join(map(str, held.image_shape))
    return _ok("data", f"{sum(held.label_counts)} images {size} of {held.n_classes} classes")


def _policies(count: int) -> str:
    return "1 cpufreq policy" if count == 1 else f"{count} cpufreq policies"
