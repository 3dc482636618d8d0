"""The transmit power of a Wi-Fi card through `iw`.

`iw dev IF set txpower fixed <mBm>` takes hundredths of a dBm. Many drivers accept any value, read it back and ignore
it, so a read-back proves nothing: the capability is "accepted_unverified", never "enforced", until someone measures
the signal at the access point. Wired and cellular boards have no such knob.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager

from edge_client.errors import HardwareError
from edge_client.hardware import wifi
from edge_client.hardware.interfaces import TxCapability
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.sysfs import SysFs

log = logging.getLogger(__name__)

_KNOB = "txpower"
_GONE = re.compile(r"No such device|\(-19\)")  # as iw says it


def parse_dbm(text: str) -> float | None:
    """The dBm in the output of `iw dev IF info` ('txpower 20.00 dBm'), or None."""
    match = re.search(r"^\s*txpower\s+(-?[0-9.]+)\s+dBm", text, re.MULTILINE)
    return float(match[1]) if match else None


def to_dbm(power_w: float) -> float:
    return 10 * math.log10(power_w * 1e3)


def to_w(power_dbm: float) -> float:
    return 10 ** (power_dbm / 10) / 1e3


class NoTxPower:
    """A board without a transmit power: nothing is set, nothing is known."""

    capability: TxCapability = "unsupported"

    def __init__(self, fs: SysFs | None = None, settings: SettingsFile | None = None) -> None:
        """With `fs` and `settings` what was changed on another interface is still put back."""
        self._fs = fs
        self._settings = settings

    @contextmanager
    def hold(self, power_w: float) -> Iterator[None]:  # noqa: ARG002
        yield None

    def restore(self) -> None:
        """Put back what was changed when there still was a card."""
        command = self._fs.command("iw") if self._fs else None
        if self._fs and self._settings and command:
            restore(self._fs, command, self._settings)


class IwTxPower:
    """One Wi-Fi interface."""

    def __init__(
        self,
        fs: SysFs,
        command: str,
        interface: str,
        settings: SettingsFile,
        capability: TxCapability = "accepted_unverified",
    ) -> None:
        """`capability`: what a check at the access point has found of this card."""
        self._fs = fs
        self._command = command
        self.interface = interface
        self._settings = settings
        self.capability: TxCapability = capability

    def limit_dbm(self) -> float | None:
        """The most that the channel in use allows; None where nothing tells."""
        return wifi.read_limit_dbm(self._fs, self._command, self.interface)

    def link(self) -> wifi.Link:
        """How the card hears its access point now."""
        return wifi.read_link(self._fs, self._command, self.interface)

    def read_w(self) -> float | None:
        """What the driver says it is set to."""
        try:
            dbm = parse_dbm(self._fs.run((self._command, "dev", self.interface, "info")))
        except HardwareError:
            return None
        return None if dbm is None else to_w(dbm)

    @contextmanager
    def hold(self, power_w: float) -> Iterator[float | None]:
        """Set the power (W) inside the context and yield the read-back; a refusal yields what is in force.

        More than the channel allows is not asked for: drivers differ in what they make of it.
        """
        before, limit_dbm = self.read_w(), self.limit_dbm()
        wanted_dbm = to_dbm(power_w)
        if limit_dbm is not None and wanted_dbm > limit_dbm:
            log.warning("%.1f dBm are more than the channel's %.1f: set to that", wanted_dbm, limit_dbm)
            wanted_dbm = limit_dbm
        held = {"dbm": f"{to_dbm(before):.2f}"} if before else {}
        try:
            try:
                self._settings.save(_KNOB, {"interface": self.interface, **held})
                self._set(wanted_dbm)
            except HardwareError as error:
                log.warning("the transmit power was refused: %s", error)
            yield self.read_w()
        finally:
            self.restore()

    def restore(self) -> None:
        """Put back what the settings file holds; also after a crash."""
        restore(self._fs, self._command, self._settings)

    def _set(self, dbm: float) -> None:
        _set(self._fs, self._command, self.interface, dbm)


def restore(fs: SysFs, command: str, settings: SettingsFile) -> None:
    """Put back what the settings file holds, on the interface that stands there; without one, nothing is done."""
    held = settings.load().get(_KNOB)
    if held is None:
        return
    interface = held.get("interface", "wlan0")
    try:
        if "dbm" in held:
            _set(fs, command, interface, float(held["dbm"]))
        else:
            fs.run((command, "dev", interface, "set", "txpower", "auto"))
    except (HardwareError, ValueError) as error:
        if _GONE.search(str(error)) and not fs.glob(f"sys/class/net/{interface}"):
            log.warning("the transmit power of %s is not restored: the card has gone", interface)
            settings.forget(_KNOB)
            return
        log.error("the transmit power could not be restored: %s", error)
    else:
        settings.forget(_KNOB)


def _set(fs: SysFs, command: str, interface: str, dbm: float) -> None:
    fs.run((command, "dev", interface, "set", "txpower", "fixed", str(round(dbm * 100))))


def find(fs: SysFs, settings: SettingsFile, interface: str | None = None) -> IwTxPower | NoTxPower:
    """The Wi-Fi card that `iw` knows and traffic leaves by (wlan0 unless named), else no transmit power."""
    command = fs.command("iw")
    route = default_interface(fs.read("proc/net/route") or "")
    name = interface or route or "wlan0"
    if command is None:
        return NoTxPower()
    card = IwTxPower(fs, command, name, settings)
    return card if card.read_w() is not None else NoTxPower(fs, settings)


def default_interface(routes: str) -> str | None:
    """The interface of the default route in the text of proc/net/route, or None."""
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 2 and fields[1] == "00000000":
            return fields[0]
    return None
