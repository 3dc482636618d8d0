"""The agent's side of the helper: a clock, a transmit power and counters that are reached through its socket."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import socket
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge_client.errors import HardwareError
from edge_client.hardware.cpufreq import CpuFreqPolicies
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.share import TcShare
from edge_client.hardware.sysfs import SysFs
from edge_client.hardware.txpower import IwTxPower, NoTxPower
from edge_client.hardware.vcgencmd import Vcgencmd
from edge_client.helper.vocabulary import (
    COUNTER,
    PACKET_BYTES,
    Answer,
    HoldClock,
    HoldShare,
    HoldTxPower,
    MarkSocket,
    OpenCounter,
    ReleaseClock,
    ReleaseShare,
    ReleaseTxPower,
    Request,
    Restore,
    read_answer,
)

log = logging.getLogger(__name__)

SOCKET = "run/fimi-helper/helper.sock"
"""Below the board's root, where the helper's unit puts it."""

_ANSWER_S = 5.0


class HelperLine:
    """A connection to the helper, made when it is first needed and again after it broke. For any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def ask(self, request: Request, fd: int | None = None) -> tuple[Answer, int | None]:
        """The answer, and the descriptor that came with it; `fd` goes with the request. Raises HardwareError where the
        helper says no or is not there."""
        try:
            with self._lock:
                packet, opened = self._exchange(msgspec.json.encode(request), [] if fd is None else [fd])
        except OSError as error:
            raise HardwareError(
                f"the helper at {self.path} does not answer ({error.strerror or error}); "
                "start it with: sudo systemctl start fimi-helper"
            ) from error
        answer = read_answer(packet)
        if answer.problem is not None:
            for one in opened:
                os.close(one)
            raise HardwareError(f"the helper: {answer.problem}")
        return answer, opened[0] if opened else None

    def close(self) -> None:
        """Hang up: the helper then puts back what was held."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, packet: bytes, fds: list[int]) -> tuple[bytes, list[int]]:
        """Send a packet and take its answer; a connection that a helper before this one left is made anew once."""
        reused = self._socket is not None
        try:
            line = self._connected()
            socket.send_fds(line, [packet], fds)
            answer, opened, _, _ = socket.recv_fds(line, PACKET_BYTES, 1)
            if not answer:
                raise ConnectionResetError(errno.ECONNRESET, "it hung up")
        except OSError as error:
            self.close()
            if reused and not isinstance(error, TimeoutError):
                return self._exchange(packet, fds)
            raise
        return answer, list(opened)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            line.settimeout(_ANSWER_S)
            try:
                line.connect(str(self.path))
            except OSError:
                line.close()
                raise
            self._socket = line
        return self._socket


def find(fs: SysFs, wanted: str) -> HelperLine | None:
    """The helper of this board: "none", "auto" (where its socket is and this user may use it), or a socket's path."""
    if wanted == "none":
        return None
    if wanted != "auto":
        return HelperLine(Path(wanted))
    path = fs.root / SOCKET
    return HelperLine(path) if path.is_socket() and os.access(path, os.W_OK) else None


class HelpedClock(CpuFreqPolicies):
    """The clock, read here and set by the helper."""

    def __init__(
        self,
        fs: SysFs,
        settings: SettingsFile,
        line: HelperLine,
        firmware: Vcgencmd | None = None,
        cpus: Collection[int] | None = None,
    ) -> None:
        super().__init__(fs, settings, firmware, cpus)
        self._line = line
        self._bound = None if cpus is None else tuple(cpus)

    def _can_write(self, policy: str) -> bool:  # noqa: ARG002
        return True

    @contextlib.contextmanager
    def hold(self, freq_hz: float) -> Iterator[None]:
        """See CpuFreqPolicies; raises HardwareError where the helper refuses or is not there."""
        self.aim(freq_hz)
        try:
            self._line.ask(HoldClock(freq_hz=freq_hz, cpus=self._bound))
            yield
        finally:
            self._targets_hz = {}
            _release(self._line, ReleaseClock())

    def restore(self) -> None:
        """Have everything put back, and what an agent with rights of its own had left too."""
        _release(self._line, Restore())
        super().restore()


class HelpedTxPower(IwTxPower):
    """The transmit power, read here and set by the helper."""

    def __init__(self, card: IwTxPower, line: HelperLine) -> None:
        """As `card`, which this user may only read."""
        self.__dict__.update(card.__dict__)
        self._line = line

    @contextlib.contextmanager
    def hold(self, power_w: float) -> Iterator[float | None]:
        """See IwTxPower; a refusal yields what is in force."""
        try:
            try:
                answer, _ = self._line.ask(HoldTxPower(interface=self.interface, power_w=power_w))
                accepted_w = answer.value
            except HardwareError as error:
                log.warning("the transmit power was refused: %s", error)
                accepted_w = self.read_w()
            yield accepted_w
        finally:
            _release(self._line, ReleaseTxPower())


class HelpedShare(TcShare):
    """A share of the line, looked at here and set by the helper."""

    def __init__(self, fs: SysFs, settings: SettingsFile, line: HelperLine) -> None:
        super().__init__(fs, settings)
        self._line = line

    def _may(self) -> bool:
        return True

    @contextlib.contextmanager
    def hold(self, interface: str, bits_per_s: float) -> Iterator[float]:
        """See TcShare; raises HardwareError where the helper refuses or is not there."""
        try:
            answer, _ = self._line.ask(HoldShare(interface=interface, bits_per_s=bits_per_s))
            if not answer.value:
                raise HardwareError("the helper does not tell at which rate it holds")
            yield answer.value
        finally:
            _release(self._line, ReleaseShare())

    def mark(self, line: socket.socket, *, on: bool = True) -> None:
        """See TcShare."""
        if line.fileno() < 0:
            raise HardwareError("the connection could not be marked: it is closed")
        self._line.ask(MarkSocket(on=on), line.fileno())


def helped_tx(tx: IwTxPower | NoTxPower, line: HelperLine) -> IwTxPower | NoTxPower:
    """The transmit power `tx` of this board, set by the helper."""
    return HelpedTxPower(tx, line) if isinstance(tx, IwTxPower) else tx


def _release(line: HelperLine, request: Request) -> None:
    """Ask for something to be put back; a helper that has gone does so by itself."""
    try:
        line.ask(request)
    except HardwareError as error:
        log.warning("%s", error)


@dataclass(frozen=True)
class HelpedSysFs(SysFs):
    """Files below a root, of which the helper opens those that only root may read."""

    line: HelperLine = field(kw_only=True)

    def open(self, path: str) -> int:
        """See SysFs; an energy counter that this user may not read is opened by the helper."""
        try:
            return super().open(path)
        except PermissionError as error:
            if not re.match(COUNTER, path):
                raise
            try:
                _, fd = self.line.ask(OpenCounter(path=path))
            except HardwareError as refused:
                log.debug("%s", refused)
                raise error from refused
            if fd is None:
                raise
            return fd
