"""Board power of a Jetson through jetson-stats: the one module that touches its package `jtop` (AGPL-3.0, an extra).

For boards whose INA3221 cannot be read directly, as from a container that was given /run/jtop.sock. `jtop.power` is
{"rail": {...}, "tot": {...}} with volt (mV), curr (mA), power (mW) and avg, a moving average that is no mean of any
window (jetson-stats' documentation, jtop.power): we integrate `power` ourselves. "tot" carries a "name" where it is a
rail of its own, else it is the sum of all rails, which leaves out what they do not feed: another boundary.

Package and root service must agree on major.minor. When the service stalls, the package repeats its last values; only
`uptime`, which the service stamps, tells.
"""

from __future__ import annotations

import importlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edge_client.hardware.interfaces import MeterInfo, Missing

log = logging.getLogger(__name__)

INTERVAL_S = 0.5
_STALE_S = 2.0
_AGAIN_S = 30.0
"""Without word for so long, and after a try that failed, the service is joined anew."""

_INSTALL = "pip install 'fimi[jetson]'"
_UNCERTAINTY, _OFFSET_W = 0.05, 0.02  # those of the INA3221 behind it


class Jtop(Protocol):
    """What is used of jtop.jtop."""

    @property
    def power(self) -> Mapping[str, Any]: ...

    @property
    def uptime(self) -> object: ...

    def attach(self, observer: Callable[[Any], None]) -> None: ...

    def start(self) -> None: ...

    def close(self) -> None: ...


Load = Callable[[], Callable[..., Jtop]]
"""Gives the class jtop.jtop, or raises ImportError."""


def load() -> Callable[..., Jtop]:
    """The real one; imported where a Jetson's meter is looked for, never before."""
    return importlib.import_module("jtop").jtop


class JtopMeter:
    """The total as the service last gave it."""

    def __init__(self, make: Callable[..., Jtop], info: MeterInfo, now: Callable[[], float] = time.monotonic) -> None:
        self.info = info
        self._make = make
        self._now = now
        self._jtop: Jtop | None = None
        self._uptime: object = None
        self._latest: tuple[float, float | None] | None = None
        self._tried_at = now()
        self._why = ""

    def open(self) -> None:
        """Connect; where the service is gone, its sentence is logged once and reads try again."""
        self._tried_at = self._now()
        client = self._make(interval=INTERVAL_S)
        client.attach(self._take)
        why = _start(client) or ""
        if not why:
            self._jtop = client
            if self._why:
                log.info("jtop: its service is there again")
        elif why != self._why:
            log.error("jtop: %s; tried again every %g s", why, _AGAIN_S)
        self._why = why

    def close(self) -> None:
        client, self._jtop = self._jtop, None
        if client is not None:
            try:
                client.close()
            except Exception as error:  # noqa: BLE001 - as in _start; what had broken need not be closed in order
                log.debug("jtop: %r", error)

    def read_power_w(self) -> float | None:
        """See PowerMeter; what is older than two seconds is a failure. A client of a service that was started anew, for
        an update say, hears nothing any more: another one takes its place."""
        latest, now = self._latest, self._now()
        if latest is not None and now - latest[0] <= _STALE_S:
            return latest[1]
        if now - max(self._tried_at, latest[0] if latest else 0.0) >= _AGAIN_S:
            self.close()
            self.open()
        return None

    def _take(self, client: Jtop) -> None:
        """Called by jtop's own thread whenever it has read something."""
        uptime = client.uptime
        if uptime != self._uptime:
            self._uptime = uptime
            self._latest = (self._now(), total_w(client.power)[0])


def total_w(power: Mapping[str, Any]) -> tuple[float | None, bool]:
    """Watts of the total, and whether that is one rail's reading (else: the sum of some)."""
    total = power.get("tot")
    if not isinstance(total, Mapping):
        return None, False
    power_mw = total.get("power")
    if isinstance(power_mw, bool) or not isinstance(power_mw, int | float) or not power_mw > 0:
        return None, False
    return power_mw / 1e3, "name" in total


def find(load: Load = load) -> JtopMeter | Missing:
    """The service's meter, or the sentence that mends what is in the way; connects once to look."""
    try:
        make = load()
    except ImportError:
        return Missing("jtop", f"jetson-stats is not installed; {_INSTALL}, in the version of the board's service")
    client = make(interval=INTERVAL_S)
    if why := _start(client):
        return Missing("jtop", why, there=True)
    power = dict(client.power)
    client.close()
    watts, one_rail = total_w(power)
    if watts is None:
        return Missing(
            "jtop", "jtop.power holds no total; this board has no sensor that jetson-stats knows", there=True
        )
    info = MeterInfo(
        "jtop", "board" if one_rail else "soc", _UNCERTAINTY, _OFFSET_W, lag_s=INTERVAL_S, period_s=INTERVAL_S
    )
    return JtopMeter(make, info)


def _start(client: Jtop) -> str | None:
    """Connect; what is in the way, or None. jtop says everything by JtopException and by what sockets raise."""
    try:
        client.start()
    except Exception as error:  # noqa: BLE001 - its own error derives from Exception, and we cannot name it here
        said = " ".join(str(error).split())
        if match := re.search(r"Mismatch version jtop service: \[([^]]+)\]", said):
            return f"{said}; or install the service's version here: pip install jetson-stats=={match[1]}"
        if "access" in said or isinstance(error, PermissionError):
            return f"{said or repr(error)}; sudo usermod -aG jtop $USER, then log in again"
        return f"{said or repr(error)}; sudo systemctl restart jtop.service"
    return None
