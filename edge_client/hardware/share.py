"""A share of the line for one socket: an HTB class by firewall mark on the interface that its packets leave by.

Only where the interface's queue is the kernel's own: an owner's is never replaced. Noted in the settings file before
the first write, and taken away on every exit: deleting our qdisc makes the kernel attach its own again. It is deleted
by its handle, so that one which an owner has put there since is left alone.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from edge_client.errors import HardwareError
from edge_client.hardware import htb
from edge_client.hardware.htb import Classifier, ClassState, Qdisc
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.sysfs import SysFs

log = logging.getLogger(__name__)

_KNOB = "qdisc"
_CAP_NET_ADMIN = 1 << 12
_OFF_BY = 0.01  # of the rate asked for, that the kernel's may be: tc prints three digits and more


class TcShare:
    """Sets the class up through `tc`; for one upload at a time."""

    def __init__(self, fs: SysFs, settings: SettingsFile) -> None:
        self._fs = fs
        self._settings = settings
        self._classifier: Classifier | None = None

    def interface_to(self, address: str) -> str:
        """The interface that packets to an IP address leave by; raises HardwareError."""
        said = self._fs.run((self._tool("ip"), "route", "get", address.removeprefix("::ffff:").partition("%")[0]))
        name = htb.parse_route(said)
        if name is None:
            raise HardwareError(f"ip route get {address}: names no interface: {said.strip()!r}")
        return name

    def obstacle(self, interface: str) -> str | None:
        """Why no class can be had on this interface, "<what>; <what mends it>"; None where nothing is in the way."""
        try:
            tc = self._tool("tc")
            self._tool("ip")
            if not self._may():
                return (
                    "this user may not set a queue (CAP_NET_ADMIN); use the helper: "
                    "fimi-client units fimi-units, then what it says"
                )
            return htb.why_not(interface, _queues(self._fs, tc, interface))
        except HardwareError as error:
            return str(error)

    @contextmanager
    def hold(self, interface: str, bits_per_s: float) -> Iterator[float]:
        """Hold what is marked to an upload's rate inside the context; yields the class's rate as it is read back, which
        counts all headers. Raises HardwareError where it cannot be had; then nothing is changed."""
        self.restore()
        why = self.obstacle(interface)
        if why is None and _KNOB in self._settings.load():
            why = f"what stands in {self._settings.path} could not be restored; fimi-client restore"
        if why is not None:
            raise HardwareError(why)
        queues = _queues(self._fs, self._tool("tc"), interface)
        root = next(one.kind for one in queues if one.parent == "root")
        self._settings.save(_KNOB, {"interface": interface, "was": root})
        try:
            yield self._set_up(interface, bits_per_s, queues)
        finally:
            self._classifier = None
            self.restore()

    def mark(self, line: socket.socket, *, on: bool = True) -> None:
        """Let this socket's packets belong to the class, or no longer; raises HardwareError where it is refused."""
        try:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, htb.MARK if on else 0)
            if self._classifier == "priority":
                line.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, htb.PRIORITY if on else 0)
        except OSError as error:
            raise HardwareError(f"the connection could not be marked: {error.strerror or error}") from error

    def state(self, interface: str) -> ClassState | None:
        """The class as it stands; None where there is none. Needs no rights."""
        try:
            return htb.parse_class(self._fs.run((self._tool("tc"), "-s", "class", "show", "dev", interface)))
        except HardwareError as error:
            log.debug("%s", error)
            return None

    def restore(self) -> None:
        """Take away what the settings file says we put there; also after a crash."""
        held = self._settings.load().get(_KNOB)
        if held is None:
            return
        interface = held.get("interface", "")
        try:
            self._take_away(interface, held.get("was", ""))
        except HardwareError as error:
            if self._fs.glob(f"sys/class/net/{interface}") or not re.search("Cannot find device", str(error)):
                log.error("the queue of %s could not be restored: %s", interface, error)
                return
        self._settings.forget(_KNOB)

    # ---- steps ----

    def _tool(self, name: str) -> str:
        path = self._fs.command(name)
        if path is None:
            raise HardwareError(f"{name} is not installed; sudo apt install iproute2")
        return path

    def _may(self) -> bool:
        """Whether this process has CAP_NET_ADMIN; a board that does not tell is tried."""
        found = re.search(r"^CapEff:\s*([0-9a-f]+)", self._fs.read("proc/self/status") or "", re.MULTILINE)
        return found is None or bool(int(found[1], 16) & _CAP_NET_ADMIN)

    def _tc(self, words: tuple[str, ...]) -> str:
        return self._fs.run((self._tool("tc"), *words))

    def _set_up(self, interface: str, bits_per_s: float, queues: tuple[Qdisc, ...]) -> float:
        mtu_bytes = int(self._fs.number(f"sys/class/net/{interface}/mtu") or 1500)
        rate, leaf = htb.wire_bits_per_s(bits_per_s, mtu_bytes), htb.fair_leaf(queues)
        self._tc(htb.add_root(interface, leaf))
        if leaf is not None:
            self._keep_fair(interface, leaf)
        self._tc(htb.add_class(interface, rate, mtu_bytes))
        self._classifier = self._classify(interface)
        state = self.state(interface)
        if state is None or abs(state.bits_per_s - rate) > _OFF_BY * rate:
            seen = "no class" if state is None else f"{state.bits_per_s:.0f} bit/s"
            raise HardwareError(f"tc took a class of {rate} bit/s on {interface} and shows {seen}")
        log.info("uploads are held to %.0f kbit/s on %s, told apart by %s", rate / 1e3, interface, self._classifier)
        return state.bits_per_s

    def _keep_fair(self, interface: str, leaf: str) -> None:
        """Give everybody else the fair queue they had; where that is refused they go past all classes."""
        wide, queue = htb.add_others(interface, leaf)
        self._tc(wide)
        try:
            self._tc(queue)
        except HardwareError as error:
            log.warning("other traffic has a plain queue for the time of the upload: %s", error)
            self._tc(("class", "del", "dev", interface, "classid", htb.OTHERS))

    def _classify(self, interface: str) -> Classifier:
        """The first classifier that the kernel takes, and shows as it was told; else HTB's own by priority."""
        classifiers: tuple[Classifier, ...] = ("fw", "bpf")
        for one in classifiers:
            try:
                self._tc(htb.add_filter(interface, one))
            except HardwareError as error:
                log.info("the kernel does not tell marked packets apart by %s: %s", one, error)
                continue
            if htb.filter_stands(self._tc(("filter", "show", "dev", interface)), one):
                return one
            log.warning("tc took a filter by %s on %s and shows another: taken away", one, interface)
            self._tc(("filter", "del", "dev", interface, "parent", htb.HANDLE))
        return "priority"

    def _take_away(self, interface: str, was: str) -> None:
        tc = self._tool("tc")
        if not htb.is_ours(_queues(self._fs, tc, interface)):
            return
        self._tc(("qdisc", "del", "dev", interface, "root", "handle", htb.HANDLE))
        queues = _queues(self._fs, tc, interface)
        if htb.is_ours(queues):
            raise HardwareError(f"tc has deleted the qdisc {htb.HANDLE} and still shows it")
        now = next((one.kind for one in queues if one.parent == "root"), "none")
        if now != was:
            log.warning("%s had %s, and the kernel's own is %s by now", interface, was or "nothing known", now)


def _queues(fs: SysFs, tc: str, interface: str) -> tuple[Qdisc, ...]:
    return htb.parse_qdiscs(fs.run((tc, "qdisc", "show", "dev", interface)))
