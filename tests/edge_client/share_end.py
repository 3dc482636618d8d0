"""The near end of a cable in a process of its own: `python -m tests.edge_client.share_end hold|both ...`."""

from __future__ import annotations

import argparse
import contextlib
import encodings.idna  # noqa: F401  # not to be looked for once rights are given up
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from edge_client.agent.upload import Pacer
from edge_client.errors import HardwareError
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.share import TcShare
from edge_client.hardware.sysfs import SysFs, run_command
from edge_client.helper.client import HelpedShare, HelperLine
from edge_client.helper.vocabulary import Restore

PIECE_BYTES = 16 * 1024
OTHERS_BITS_PER_S = 80e6
WINDOW_S = 3.0


class Stream:
    """A connection that sends as fast as it may, or at a rate, and counts what the kernel took."""

    def __init__(self, address: tuple[str, int], bits_per_s: float | None) -> None:
        self.line = socket.create_connection(address)
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * PIECE_BYTES)
        self._pacer = Pacer(bits_per_s)
        self.sent = 0
        threading.Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        while True:
            time.sleep(self._pacer.delay_s(PIECE_BYTES, time.monotonic()))
            self.line.sendall(bytes(PIECE_BYTES))
            self.sent += PIECE_BYTES


def rates(*streams: Stream) -> list[float]:
    """bit/s of each over the window."""
    before, start = [stream.sent for stream in streams], time.monotonic()
    time.sleep(WINDOW_S)
    took_s = time.monotonic() - start
    return [8 * (stream.sent - was) / took_s for stream, was in zip(streams, before, strict=True)]


def both(tc: TcShare, address: tuple[str, int], bits_per_s: float) -> dict[str, float]:
    """An unmarked connection alone, then beside a marked one that would take all it can get."""
    other = Stream(address, OTHERS_BITS_PER_S)
    (alone,) = rates(other)
    interface = tc.interface_to(address[0])
    with tc.hold(interface, bits_per_s) as accepted, socket.create_connection(address) as probe:
        tc.mark(probe)
        marked = probe.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)
        ours = Stream(address, None)
        tc.mark(ours.line)
        time.sleep(0.7)  # what it sent before the mark, and the first burst, are out
        before = tc.state(interface)
        held, beside = rates(ours, other)
        after = tc.state(interface)
        assert before is not None
        assert after is not None
    return {
        "mark": marked,
        "accepted": accepted,
        "held": held,
        "alone": alone,
        "beside": beside,
        "counted": 8 * (after.sent_bytes - before.sent_bytes) / WINDOW_S,
    }


def without_classifiers(argv: Sequence[str]) -> str:
    """Runs commands as on a kernel that has none."""
    if argv[1:3] == ("filter", "add"):
        raise HardwareError("Error: TC classifier not found.")
    return run_command(argv)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("hold", "both"))
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("bits_per_s", type=float)
    parser.add_argument("state_dir")
    parser.add_argument("--no-classifier", action="store_true")
    parser.add_argument("--helper", help="socket; then all rights are given up")
    given = parser.parse_args()
    address, settings = (given.address, given.port), SettingsFile(Path(given.state_dir) / "settings.json")
    tc = TcShare(SysFs(Path("/"), without_classifiers if given.no_classifier else run_command), settings)
    if given.helper:
        line = HelperLine(Path(given.helper))
        line.ask(Restore())  # connected while it may
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        with contextlib.suppress(PermissionError):
            socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1)
            raise AssertionError("this user may mark sockets by itself")
        tc = HelpedShare(SysFs(Path("/")), settings, line)
    if given.what == "both":
        print(json.dumps(both(tc, address, given.bits_per_s)))
        return
    with socket.create_connection(address) as connection, tc.hold(tc.interface_to(given.address), given.bits_per_s):
        tc.mark(connection)
        print("held", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
