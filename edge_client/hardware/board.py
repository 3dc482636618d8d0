"""Looks at what a board has and wires it together. Nothing is changed here, and nothing is started."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_client.conditions import Conditions
from edge_client.hardware import mailbox, meters, pressure, radio_check, supply, txpower, wifi
from edge_client.hardware.cpufreq import CpuFreqPolicies
from edge_client.hardware.interfaces import CpuFreq, Meter
from edge_client.hardware.limits import Limits
from edge_client.hardware.meters import Wanted
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.share import TcShare
from edge_client.hardware.sysfs import SysFs
from edge_client.hardware.txpower import IwTxPower, NoTxPower
from edge_client.hardware.vcgencmd import Vcgencmd
from edge_client.helper.client import HelpedClock, HelpedShare, HelpedSysFs, HelperLine, helped_tx
from edge_client.protocol.messages import Capabilities
from edge_client.protocol.values import VerifiedBy

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Board:
    """One board: its name, its knobs, its sensors (None: it has none; `no_meter` says why)."""

    name: str
    fs: SysFs
    cpufreq: CpuFreqPolicies
    tx: IwTxPower | NoTxPower
    share: TcShare
    meter: Meter | None
    firmware: Vcgencmd | None
    cores: int
    limits: Limits
    no_meter: str = ""

    def waited_us(self) -> int | None:
        """The kernel's count of microseconds that processes waited for the processor."""
        return pressure.read_waited_us(self.fs)

    @property
    def verified_by(self) -> VerifiedBy:
        """Who tells at which clock the board runs, besides known work."""
        return "firmware" if self.firmware else "driver"

    def temperature_c(self) -> float | None:
        """Of the processor."""
        return supply.read_temperature_c(self.fs)

    def conditions(self, now: time.struct_time) -> Conditions:
        """How things stand at a local time: for the owner's rules."""
        fed = supply.read_supply(self.fs)
        return Conditions(60 * now.tm_hour + now.tm_min, self.temperature_c(), fed.battery_share, fed.fed)

    def battery_j(self) -> float | None:
        """Joules left in what feeds the board; None where more comes from outside, or nothing tells."""
        now = supply.read_supply(self.fs)
        return now.battery_j if now.fed is False else None

    def link(self) -> wifi.Link:
        """How the radio hears its access point; empty where there is none."""
        return self.tx.link() if isinstance(self.tx, IwTxPower) else wifi.Link()

    def interface(self) -> str | None:
        """The interface that traffic leaves by: the Wi-Fi card whose power is set, else the default route's."""
        name = self.tx.interface if isinstance(self.tx, IwTxPower) else None
        return name or txpower.default_interface(self.fs.read("proc/net/route") or "")

    def interface_bytes(self) -> int | None:
        """Bytes that everybody has sent over the interface that traffic leaves by."""
        name = self.interface()
        return wifi.read_tx_bytes(self.fs, name) if name else None

    def upload_share(self) -> dict[str, str | None]:
        """What keeps an upload's rate on the interface that traffic leaves by: `htb` too, or why it is `paced` only."""
        name = self.interface()
        why = self.share.obstacle(name) if name else "no default route tells the interface that uploads leave by"
        return {"interface": name, "share": "paced" if why else "htb", "why": why}

    def restore(self) -> None:
        """Put back every setting that a client which was killed had changed."""
        self.cpufreq.restore()
        self.tx.restore()
        self.share.restore()

    def capabilities(self, runtimes: tuple[str, ...]) -> Capabilities:
        """What this board can do, for `Join`."""
        return Capabilities(
            board=self.name,
            opps_hz=self.cpufreq.available_hz(),
            meter=self.meter.info.name if self.meter else "none",
            meter_source=self.meter.info.source if self.meter else "unavailable",
            boundary=self.meter.info.boundary if self.meter else None,
            tx_power=self.tx.capability,
            runtimes=runtimes,
            cores=self.cores,
        )


def name_of(fs: SysFs) -> str:
    """What the board calls itself, else the machine's architecture."""
    return fs.read("proc/device-tree/model") or fs.read("sys/firmware/devicetree/base/model") or os.uname().machine


def radio_file(settings: SettingsFile) -> Path:
    """Where what was found of the radio is kept."""
    return settings.path.with_name("radio.json")


def discover(
    fs: SysFs,
    settings: SettingsFile,
    interface: str | None = None,
    wanted: Wanted | None = None,
    cpus: Sequence[int] | None = None,
    helper: HelperLine | None = None,
) -> Board:
    """The board below `fs.root`, measured as `wanted` (left out: by the best meter it has).

    `cpus`: those that the trainer is bound to, and whose clock is set (None: all). `helper`: who sets clock,
    transmit power and share of the line for us and opens what only root may read (None: we do).
    """
    if helper is not None:
        fs = HelpedSysFs(fs.root, fs.run, line=helper)
    name = name_of(fs)
    path, box = fs.command("vcgencmd"), mailbox.find(fs)
    firmware = Vcgencmd(fs, path, box) if path or box else None
    tx = txpower.find(fs, settings, interface)
    if isinstance(tx, IwTxPower):
        tx.capability = radio_check.recall(radio_file(settings), tx.interface) or tx.capability
    found = meters.find(fs, name, firmware, wanted or Wanted())
    for one in found.passed_over:
        log.warning("%s: %s", one.name, one.reason)
    if found.meter is None and not found.passed_over and (wanted is None or wanted.meter != "none"):
        log.warning("energy is not measured: %s", found.reason)
    return Board(
        name=name,
        fs=fs,
        cpufreq=HelpedClock(fs, settings, helper, firmware, cpus)
        if helper
        else CpuFreqPolicies(fs, settings, firmware, cpus),
        tx=helped_tx(tx, helper) if helper else tx,
        share=HelpedShare(fs, settings, helper) if helper else TcShare(fs, settings),
        meter=found.meter,
        firmware=firmware,
        cores=len(cpus) if cpus is not None else _cores(fs),
        limits=Limits(fs, firmware),
        no_meter=found.reason,
    )


def _cores(fs: SysFs) -> int:
    """CPUs that the policies govern, else CPUs of the machine."""
    affected = [fs.read(path) or "" for path in fs.glob("sys/devices/system/cpu/cpufreq/policy*/affected_cpus")]
    return sum(len(cpus.split()) for cpus in affected) or os.cpu_count() or 1


_: type[CpuFreq] = CpuFreqPolicies
