"""Writing files so that nobody ever finds half of one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_NO_HARD_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV)


def write_atomic(path: Path, data: bytes) -> None:
    """All of it or nothing: a reader and a power cut never see half a file. Makes the folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.partial")
    try:
        _write_synced(fresh, data)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)  # on a full disk it would take room for nothing
        raise


def write_once(path: Path, data: bytes) -> bool:
    """As `write_atomic`, but a file that is there already stays; says whether this one was written.

    Any number of processes may write the same path at the same time: the first one's file stands.
    """
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        _write_synced(fresh, data)
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            fresh.replace(path)
        return True
    finally:
        fresh.unlink(missing_ok=True)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
