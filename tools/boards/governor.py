"""The thread that makes all boards of a process live.

It looks at each every 10 ms, sooner when a worker's allowance
runs out, and finds new workers a few times a second. A late look accounts for all the time since the last one.
Whatever ends it, every worker is continued.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence

from tools.boards.board import VirtualBoard
from tools.boards.processes import WorkerFinder

SCAN_S = 0.25
LEAST_SLEEP_S = 0.0005


class Governor:
    """Ticks `boards` until `stop`; `on_death` is called (from its thread) if it fails."""

    def __init__(self, boards: Sequence[VirtualBoard], on_death: Callable[[BaseException], None] | None = None) -> None:
        self._boards = tuple(boards)
        self._on_death = on_death
        self._finder = WorkerFinder()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="governor", daemon=True)
        self.cpu_s = 0.0
        self.looks = 0
        self.worst_late_s = 0.0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, with all workers continued and all ledgers closed."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        started_s = time.thread_time()
        be_punctual()
        try:
            scan_due = time.monotonic()
            due = dict.fromkeys(self._boards, scan_due)
            while not self._stop.is_set():
                now = time.monotonic()
                if now >= scan_due:
                    scan_due = now + SCAN_S
                    self._scan()
                for board in self._boards:
                    now = time.monotonic()
                    if now >= due[board]:
                        self.worst_late_s = max(self.worst_late_s, now - due[board])
                        due[board] = now + board.tick(now)
                self.looks += 1
                self.cpu_s = time.thread_time() - started_s
                time.sleep(max(min(due.values()) - time.monotonic(), LEAST_SLEEP_S))
        except BaseException as error:  # noqa: BLE001 - workers must go on whatever happened
            if self._on_death:
                self._on_death(error)
        finally:
            for board in self._boards:
                board.close()

    def _scan(self) -> None:
        clients = {board.client_pid: board for board in self._boards if board.client_pid}
        roots = {board.root.resolve(): pid for pid, board in clients.items()}
        owners = self._finder.scan(clients, roots)
        for client_pid, board in clients.items():
            board.adopt({pid for pid, owner in owners.items() if owner == client_pid})


def be_punctual() -> None:
    """Real-time priority for the calling thread where the system grants it (it takes root or CAP_SYS_NICE).

    A late look lets a worker run on, which then is stopped for as long as it takes to pay that back. The law holds
    without it, but on a crowded host the stops become long.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
