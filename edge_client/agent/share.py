"""An upload's share of the line: paced by the client, and kept by the kernel too where this board lets it."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from edge_client.errors import HardwareError
from edge_client.hardware.share import TcShare

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """What kept an upload's rate, and how far it could be seen: see RadioOutcome."""

    share: Literal["none", "paced", "htb"]
    accepted_bits_per_s: float | None = None
    verified_bits_per_s: float | None = None


class Share:
    """The share of one upload at `bits_per_s` (None: all it can get); `line()` is the connection's socket now."""

    def __init__(self, share: TcShare, bits_per_s: float | None, line: Callable[[], socket.socket | None]) -> None:
        self.bits_per_s = bits_per_s
        self._share = share
        self._line = line
        self._interface: str | None = None
        self._accepted_bits_per_s: float | None = None
        self._before_bytes: int | None = None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Have the kernel keep the rate inside the context, where it can; where not, say why in the log."""
        with contextlib.ExitStack() as stack:
            if self.bits_per_s is not None:
                try:
                    self._set_up(self.bits_per_s, stack)
                except (HardwareError, OSError) as error:
                    log.info("the upload is paced by the client only: %s", error)
                    self._accepted_bits_per_s = None
                    stack.close()
            yield

    def mark(self) -> None:
        """The connection is a new one: its packets are to be held too, else pacing alone goes on."""
        line = self._line()
        if self._accepted_bits_per_s is not None and line is not None:
            try:
                self._share.mark(line)
            except HardwareError as error:
                log.warning("the upload goes on paced by the client only: %s", error)

    def begin(self) -> None:
        """The upload begins now."""
        self._before_bytes = self._counted()

    def kept(self, size_bytes: int, duration_s: float) -> Kept:
        """What kept the rate of an upload of a blob of `size_bytes`. A class that has let out fewer bytes than the blob
        has did not hold it: the connection went another way, or was not marked."""
        if self.bits_per_s is None:
            return Kept("none")
        after = self._counted()
        if self._accepted_bits_per_s is None or self._before_bytes is None or after is None:
            return Kept("paced")
        grown = after - self._before_bytes
        if grown < size_bytes:
            log.warning("the class on %s counted %d bytes of an upload of %d", self._interface, grown, size_bytes)
            return Kept("paced")
        return Kept("htb", self._accepted_bits_per_s, 8 * grown / duration_s)

    def _set_up(self, bits_per_s: float, stack: contextlib.ExitStack) -> None:
        line = self._line()
        if line is None:
            raise HardwareError("there is no connection at the moment")
        self._interface = self._share.interface_to(line.getpeername()[0])
        self._accepted_bits_per_s = stack.enter_context(self._share.hold(self._interface, bits_per_s))
        stack.callback(self._unmark)  # before the class goes
        self._share.mark(line)

    def _unmark(self) -> None:
        line = self._line()
        if line is not None:
            try:
                self._share.mark(line, on=False)
            except HardwareError as error:
                log.debug("%s", error)

    def _counted(self) -> int | None:
        state = self._share.state(self._interface) if self._interface is not None else None
        return None if state is None else state.sent_bytes
