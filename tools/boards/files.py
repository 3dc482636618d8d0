"""Replacing small files so that a reader sees the old text or the new one, never a half."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_IN_MODIFY, _IN_CLOSE_WRITE = 0x2, 0x8
_libc = ctypes.CDLL(None, use_errno=True)


class Replacer:
    """Writes beside the board's root (same file system, not seen by the client) and renames into it."""

    def __init__(self, scratch: Path) -> None:
        """`scratch`: a folder of the board's own, outside its root."""
        scratch.mkdir(exist_ok=True)
        self._scratch = scratch
        self._live = 0

    def write(self, path: Path | str, text: str, mode: int = 0o444) -> None:
        """`path` now holds `text`."""
        new = self._scratch / "new"
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, text.encode())
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        new.rename(path)

    def live(self, path: Path) -> LiveFile:
        """A file that changes many times a second."""
        self._live += 1
        return LiveFile(path, self._scratch / str(self._live))


class LiveFile:
    """A file replaced many times a second.

    A rename over an existing file makes ext4 write the new blocks out at once (auto_da_alloc, ext4(5)), a quarter of a
    millisecond each. So two files take turns: the one out of sight is overwritten, then both are exchanged in one step
    (RENAME_EXCHANGE, renameat2(2)), a tenth of the cost.
    """

    def __init__(self, path: Path, spare: Path) -> None:
        self.path = path
        self._names = os.fsencode(path), os.fsencode(spare)
        self._fds = []
        for name in (spare, path):
            name.unlink(missing_ok=True)
            self._fds.append(os.open(name, os.O_WRONLY | os.O_CREAT, 0o444))
        self._sizes = [0, 0]

    def write(self, text: str) -> None:
        """The file now holds `text`."""
        data = text.encode()
        if len(data) < self._sizes[0]:
            os.ftruncate(self._fds[0], len(data))
        os.pwrite(self._fds[0], data, 0)
        self._sizes[0] = len(data)
        if _libc.renameat2(_AT_FDCWD, self._names[0], _AT_FDCWD, self._names[1], _RENAME_EXCHANGE):
            # a file system without exchange (NFS, some overlays): as good as it gets there is writing in place
            if len(data) < self._sizes[1]:
                os.ftruncate(self._fds[1], len(data))
            os.pwrite(self._fds[1], data, 0)
            self._sizes[1] = len(data)
            return
        self._fds.reverse()
        self._sizes.reverse()

    def close(self) -> None:
        """The file stays as it is."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


class WriteWatch:
    """Says whether somebody wrote into a file of a folder (inotify(7)); renames, our own way, do not count."""

    def __init__(self, folder: Path) -> None:
        self._fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._works = (
            self._fd >= 0 and _libc.inotify_add_watch(self._fd, bytes(folder), _IN_MODIFY | _IN_CLOSE_WRITE) >= 0
        )

    def written(self) -> bool:
        """True if there was a write since the last call, or if this cannot be known."""
        if not self._works:
            return True
        try:
            while len(os.read(self._fd, 4096)) > 3072:
                pass
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Watch no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
