"""One process at a time: a lock on the folder that tells what a board was set to before.

Two at once would each take what the other has set for the owner's own settings, and the last one to end would leave the
board with them. The kernel lets go of the lock with its process, whatever ends it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_client.errors import SetupError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else is at work with this folder, which must be there, inside the context; raises SetupError."""
    path = folder / "lock"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)  # to read: another user's will do
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}; run as a user who may write there") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SetupError(
                f"another client or sweep is at work on this board ({path} is locked); let it end, or end it"
            ) from error
        yield
    finally:
        os.close(fd)
