"""Training workers as the governor sees them: their CPU time, whether they want to run, stopping and continuing.

Linux only. A pidfd makes sure that a signal never reaches a stranger who got the same number.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

MARKER = b"edge_client.training.worker"
"""In the command line of every training worker, and of nothing else that a client starts."""

_LOOKS = 12
_libc = ctypes.CDLL(None, use_errno=True)


class Worker:
    """One training process."""

    def __init__(self, pid: int) -> None:
        """Raises ProcessLookupError when it is already gone."""
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._clock = _cpu_clock(pid)
        self._last_s = time.clock_gettime(self._clock)
        self._threads: dict[int, int] = {}
        self.stopped = False
        self.refresh()

    def used_s(self) -> float | None:
        """CPU-seconds of the whole process since the last call; None when the process has ended."""
        try:
            total_s = time.clock_gettime(self._clock)
        except OSError:
            return None
        used_s, self._last_s = total_s - self._last_s, total_s
        return used_s

    def wants_to_run(self) -> bool:
        """True if any of its threads is running or waiting for a processor."""
        return any(_state(fd) == b"R" for fd in self._threads.values())

    def refresh(self) -> None:
        """Learn which threads it has now."""
        try:
            now = {int(name) for name in os.listdir(f"/proc/{self.pid}/task")}  # noqa: PTH208
        except OSError:
            return
        for tid in self._threads.keys() - now:
            os.close(self._threads.pop(tid))
        for tid in now - self._threads.keys():
            with contextlib.suppress(OSError):
                self._threads[tid] = os.open(f"/proc/{self.pid}/task/{tid}/stat", os.O_RDONLY | os.O_CLOEXEC)

    def stop(self) -> None:
        """SIGSTOP, once."""
        if not self.stopped:
            self.stopped = True
            self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT, once."""
        if self.stopped:
            self.stopped = False
            self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: a stopped process heeds nothing else."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of the process; it runs on."""
        self.go_on()
        for fd in (self._pidfd, *self._threads.values()):
            os.close(fd)
        self._threads.clear()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(OSError):  # it has ended, or the governor's thread has just let go of it
            signal.pidfd_send_signal(self._pidfd, number)


def _state(fd: int) -> bytes:
    """The state letter of proc_pid_stat(5), after the name in brackets; empty when the thread has ended."""
    try:
        text = os.pread(fd, 256, 0)
    except OSError:
        return b""
    after = text.rfind(b")") + 2
    return text[after : after + 1]


def _cpu_clock(pid: int) -> int:
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise ProcessLookupError(error, os.strerror(error))
    return clock.value


class WorkerFinder:
    """Finds workers among the descendants of clients. A scan costs a directory listing plus two reads a new process."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}
        self._looks: dict[int, int] = {}
        self._found: set[int] = set()
        self._guests: dict[int, int | None] = {}

    def scan(self, clients: Iterable[int], roots: Mapping[Path, int] | None = None) -> dict[int, int]:
        """Worker pid -> client pid, for all workers that are there now.

        `roots` are the boards' folders with their clients: a worker of another program that was started with such a
        folder on its command line (`fimi-calibrate sweep --root DIR`) works on that board too.
        """
        alive = {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208
        for gone in self._looks.keys() - alive:
            self._looks.pop(gone)
            self._parents.pop(gone, None)
            self._found.discard(gone)
            self._guests.pop(gone, None)
        for pid in alive:
            # between fork and exec a process wears its parent's command line, so a new one is looked at a few times
            looks = self._looks.get(pid, 0)
            if looks < _LOOKS and pid not in self._found:
                self._looks[pid] = looks + 1
                self._look(pid)
        wanted = set(clients)
        owners = {pid: self._owner(pid, wanted) or self._host(pid, roots or {}) for pid in self._found}
        return {pid: owner for pid, owner in owners.items() if owner is not None}

    def _look(self, pid: int) -> None:
        with contextlib.suppress(OSError, IndexError, ValueError):
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            self._parents[pid] = int(stat[stat.rfind(b")") + 2 :].split()[1])
            if MARKER in Path(f"/proc/{pid}/cmdline").read_bytes():
                self._found.add(pid)

    def _host(self, pid: int, roots: Mapping[Path, int]) -> int | None:
        """The client of the board below whose root the program works that started this worker; looked up once."""
        if pid not in self._guests:
            self._guests[pid] = next(
                (roots[root] for root in _folders_named(self._parents.get(pid, 0)) & roots.keys()), None
            )
        return self._guests[pid]

    def _owner(self, pid: int, clients: set[int]) -> int | None:
        for _ in range(32):
            pid = self._parents.get(pid, 0)
            if pid in clients:
                return pid
        return None


def _folders_named(pid: int) -> set[Path]:
    """The paths on a process's command line, as it would open them; those that are folders."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        base = Path(f"/proc/{pid}/cwd").readlink()
        paths = {base / word.rpartition("=")[2] for word in words if word}
        return {path.resolve() for path in paths if path.is_dir()}
    return set()


def descendants(pid: int) -> list[int]:
    """All processes below `pid` now, nearest first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal():
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = Path(f"/proc/{name}/stat").read_bytes()
                children.setdefault(int(stat[stat.rfind(b")") + 2 :].split()[1]), []).append(int(name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found
