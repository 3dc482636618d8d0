"""The helper itself: serves agents over a Unix socket, one request after another, and restores when they go.

What an agent holds is bound to its connection: when it closes, whatever became of the agent, the board is put back as
it was. For the helper's own sudden death there are its unit's ExecStopPost and its next start. It knows no network, no
data and no task; who may connect is a matter of the socket's owner and mode.
"""

from __future__ import annotations

import array
import contextlib
import grp
import logging
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edge_client.errors import HardwareError, SetupError
from edge_client.hardware import txpower
from edge_client.hardware.cpufreq import CpuFreqPolicies
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.share import TcShare
from edge_client.hardware.sysfs import SysFs
from edge_client.helper.vocabulary import (
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
    read_request,
)

log = logging.getLogger(__name__)


class Desk:
    """Carries out requests. What is held belongs to one agent, the first to hold anything, until it restores or goes;
    others are told so."""

    def __init__(self, fs: SysFs, settings: SettingsFile) -> None:
        self._fs = fs
        self._settings = settings
        self._clock, self._tx, self._shared = (contextlib.ExitStack() for _ in range(3))
        self._share = TcShare(fs, settings)
        self._owner: object | None = None

    def restore(self) -> None:
        """Everything as it was, also what a killed helper had changed."""
        self._clock.close()
        self._tx.close()
        self._shared.close()
        self._owner = None
        CpuFreqPolicies(self._fs, self._settings).restore()
        txpower.find(self._fs, self._settings).restore()
        self._share.restore()

    def leave(self, agent: object) -> None:
        """An agent has gone: what it held is put back."""
        if agent is self._owner:
            log.info("the agent has gone: restoring")
            self.restore()

    def answer(self, agent: object, request: Request, sent: int | None = None) -> tuple[Answer, int | None]:
        """Do what is asked, with the descriptor that was `sent` along; the answer, and a descriptor to go with it."""
        try:
            if isinstance(request, OpenCounter):
                return self._opened(request.path)
            if self._owner not in (None, agent):
                return Answer(problem="another agent holds this board; end one of the two"), None
            if isinstance(request, HoldClock | HoldTxPower | HoldShare):
                self._owner = agent
            if isinstance(request, MarkSocket):
                self._mark(sent, on=request.on)
                return Answer(), None
            return Answer(value=self._do(request)), None
        except HardwareError as error:
            return Answer(problem=str(error)), None
        except OSError as error:
            return Answer(problem=f"{request!r}: {error.strerror or error}"), None

    def _opened(self, path: str) -> tuple[Answer, int | None]:
        """A counter, if what the path leads to is a kernel file as well."""
        kernel = (self._fs.root / "sys").resolve()
        if kernel not in (self._fs.root / path).resolve().parents:
            return Answer(problem=f"/{path} is not below /sys"), None
        return Answer(), self._fs.open(path)

    def _mark(self, sent: int | None, *, on: bool) -> None:
        """Mark an agent's socket through a descriptor of our own, which is closed at once: while the helper held one, a
        connection would outlive its agent."""
        if sent is None:
            raise HardwareError("mark_socket came without a descriptor")
        with socket.socket(fileno=os.dup(sent)) as line:
            if line.family not in (socket.AF_INET, socket.AF_INET6) or line.type != socket.SOCK_STREAM:
                raise HardwareError("the descriptor that came with mark_socket is no TCP socket")
            self._share.mark(line, on=on)

    def _do(self, request: Request) -> float | None:
        match request:
            case HoldClock(freq_hz=freq_hz, cpus=cpus):
                self._clock.close()
                self._clock.enter_context(CpuFreqPolicies(self._fs, self._settings, cpus=cpus).hold(freq_hz))
            case HoldTxPower(interface=interface, power_w=power_w):
                self._tx.close()
                return self._tx.enter_context(txpower.find(self._fs, self._settings, interface).hold(power_w))
            case HoldShare(interface=interface, bits_per_s=bits_per_s):
                self._shared.close()
                return self._shared.enter_context(self._share.hold(interface, bits_per_s))
            case ReleaseShare():
                self._shared.close()
            case ReleaseClock():
                self._clock.close()
            case ReleaseTxPower():
                self._tx.close()
            case Restore():
                self.restore()
        return None


@contextlib.contextmanager
def listening(path: Path, group: str | None) -> Iterator[socket.socket]:
    """A socket that this user and `group` may connect to; raises SetupError. It is gone afterwards."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
            before = os.umask(0o177)
            try:
                server.bind(str(path))
            finally:
                os.umask(before)
            if group is not None:
                os.chown(path, -1, grp.getgrnam(group).gr_gid)
                path.chmod(0o660)
            server.listen(8)
            server.setblocking(False)
            yield server
    except KeyError as error:
        raise SetupError(f"--group {group}: there is no such group; make it with: sudo groupadd {group}") from error
    except OSError as error:
        raise SetupError(f"--socket {path}: {error.strerror or error}; give a path that this user may write") from error
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def serve(server: socket.socket, desk: Desk, ready: Callable[[], None] = lambda: None) -> None:
    """Answer until SIGTERM or SIGINT, then restore. To be called in the main thread: it takes these signals."""
    wake, alarm = socket.socketpair()
    alarm.setblocking(False)
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    fd = signal.set_wakeup_fd(alarm.fileno(), warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector, wake, alarm:
        selector.register(wake, selectors.EVENT_READ)
        selector.register(server, selectors.EVENT_READ)
        try:
            ready()
            while _turn(selector, server, wake, desk):
                pass
        finally:
            signal.set_wakeup_fd(fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            for key in list(selector.get_map().values()):
                if key.fileobj not in (wake, server):
                    key.fileobj.close()  # type: ignore[union-attr]
            desk.restore()


def _turn(selector: selectors.BaseSelector, server: socket.socket, wake: socket.socket, desk: Desk) -> bool:
    """Wait for something and deal with it; False once it is time to end."""
    # who has gone is let go before anybody else is answered, in whichever order the kernel tells of both
    for key, _ in sorted(selector.select(), key=lambda ready: not _gone(ready[0].fileobj, server, wake)):
        if key.fileobj is wake:
            return False
        if key.fileobj is server:
            try:
                agent, _ = server.accept()
            except OSError as error:  # it has gone again, or there are too many of them
                log.warning("an agent could not be answered: %s", error)
                continue
            agent.settimeout(1.0)  # an agent that does not take its answer must not hold up another's end
            selector.register(agent, selectors.EVENT_READ)
            continue
        agent = key.fileobj  # type: ignore[assignment]
        if not _heard(agent, desk):
            selector.unregister(agent)
            agent.close()
            desk.leave(agent)
    return True


def _gone(agent: object, server: socket.socket, wake: socket.socket) -> bool:
    """Whether a connection that is ready is ready because its agent has hung up."""
    if agent in (server, wake) or not isinstance(agent, socket.socket):
        return False
    try:
        return not agent.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _heard(agent: socket.socket, desk: Desk) -> bool:
    """Take one packet of an agent and answer it; False when the agent has gone."""
    try:
        packet, sent, _, _ = socket.recv_fds(agent, PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return False
    opened: int | None = None
    try:
        if not packet:
            return False
        answer, opened = desk.answer(agent, read_request(packet), sent[0] if sent else None)
    except HardwareError as error:
        answer = Answer(problem=str(error))
    finally:
        for fd in sent:
            os.close(fd)
    rights = [] if opened is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [opened]))]
    try:
        agent.sendmsg([msgspec.json.encode(answer)], rights)
    except OSError:
        return False
    finally:
        if opened is not None:
            os.close(opened)
    return True


def notify_ready() -> None:
    """Tell systemd that the socket is there (sd_notify(3)); nothing where nobody asked."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(b"READY=1")
