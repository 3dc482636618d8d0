"""What a network card says of its link: the access point's signal, its rate, the power its channel allows, its bytes.

Sources: iw(8) - `iw dev IF link` ("signal: -52 dBm", "tx bitrate: 72.2 MBit/s MCS 7"), `iw dev IF info` ("channel 6
(2437 MHz), width: 20 MHz"), `iw phy` ("* 2437.0 MHz [6] (20.0 dBm)", "(disabled)" for what is forbidden here) - and
Documentation/ABI/testing/sysfs-class-net-statistics of the kernel (tx_bytes).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_client.errors import HardwareError
from edge_client.hardware.sysfs import SysFs

_SIGNAL = re.compile(r"^\s*signal:\s*(-?\d+(?:\.\d+)?)\s*dBm", re.MULTILINE)
_RATE = re.compile(r"^\s*tx bitrate:\s*(\d+(?:\.\d+)?)\s*MBit/s", re.MULTILINE)
_CHANNEL = re.compile(r"^\s*channel\s+\d+\s+\((\d+(?:\.\d+)?)\s*MHz\)", re.MULTILINE)
_ALLOWED = re.compile(r"^\s*\*\s*(\d+(?:\.\d+)?)\s*MHz\s*\[\d+\]\s*\((\d+(?:\.\d+)?)\s*dBm\)", re.MULTILINE)


@dataclass(frozen=True)
class Link:
    """How the card hears its access point, and at which rate it sends; None where it does not say."""

    signal_dbm: float | None = None
    bits_per_s: float | None = None


def parse_link(text: str) -> Link:
    """The output of `iw dev IF link`."""
    signal, rate = _SIGNAL.search(text), _RATE.search(text)
    return Link(float(signal[1]) if signal else None, float(rate[1]) * 1e6 if rate else None)


def parse_channel_mhz(text: str) -> float | None:
    """The channel in the output of `iw dev IF info`."""
    match = _CHANNEL.search(text)
    return float(match[1]) if match else None


def parse_limit_dbm(text: str, channel_mhz: float | None) -> float | None:
    """The most that the output of `iw phy` allows on a channel (None: on any); None where it says nothing of it."""
    allowed = [(float(mhz), float(dbm)) for mhz, dbm in _ALLOWED.findall(text)]
    return max((dbm for mhz, dbm in allowed if channel_mhz is None or abs(mhz - channel_mhz) < 1.0), default=None)


def read_link(fs: SysFs, command: str, interface: str) -> Link:
    """The link now; empty where the card is not connected or `iw` fails."""
    try:
        return parse_link(fs.run((command, "dev", interface, "link")))
    except HardwareError:
        return Link()


def read_limit_dbm(fs: SysFs, command: str, interface: str) -> float | None:
    """The most that the channel in use allows; None where nothing tells."""
    try:
        channel_mhz = parse_channel_mhz(fs.run((command, "dev", interface, "info")))
        return parse_limit_dbm(fs.run((command, "phy")), channel_mhz)
    except HardwareError:
        return None


def read_tx_bytes(fs: SysFs, interface: str) -> int | None:
    """Bytes that the interface has sent, everybody's; None where nothing counts them."""
    value = fs.number(f"sys/class/net/{interface}/statistics/tx_bytes")
    return None if value is None else int(value)
