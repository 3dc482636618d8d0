"""The thread that makes all boards of a process live: it looks every 10 ms, and finds new workers a few times a second.

A law of nature must not be unfair, so it runs first what is due and is late rather than absent: a late tick accounts
for all the time since the last one. Whatever ends it, every worker is continued.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from tools.boards.board import VirtualBoard
from tools.boards.processes import WorkerFinder

TICK_S = 0.010
SCAN_S = 0.25


class Governor:
    """Ticks `boards` until `stop`; `on_death` is called (from its thread) if it fails."""

    def __init__(self, boards: Sequence[VirtualBoard], on_death: Callable[[BaseException], None] | None = None) -> None:
        self._boards = tuple(boards)
        self._on_death = on_death
        self._finder = WorkerFinder()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="governor", daemon=True)
        self.cpu_s = 0.0
        self.ticks = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, with all workers continued and all ledgers closed."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        started_s = time.thread_time()
        try:
            due = scan_due = time.monotonic()
            while not self._stop.is_set():
                now = time.monotonic()
                if now >= scan_due:
                    scan_due = now + SCAN_S
                    self._scan()
                for board in self._boards:
                    board.tick(time.monotonic())
                self.ticks += 1
                self.cpu_s = time.thread_time() - started_s
                # catch up by skipping: what counts is the time that passed, not the number of looks
                now = time.monotonic()
                due = max(due + TICK_S, now + TICK_S / 10)
                time.sleep(due - now)
        except BaseException as error:  # noqa: BLE001 - workers must go on whatever happened
            if self._on_death:
                self._on_death(error)
        finally:
            for board in self._boards:
                board.close()

    def _scan(self) -> None:
        clients = {board.client_pid: board for board in self._boards if board.client_pid}
        owners = self._finder.scan(clients)
        for client_pid, board in clients.items():
            board.adopt({pid for pid, owner in owners.items() if owner == client_pid})
