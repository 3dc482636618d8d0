"""Replacing small files so that a reader sees the old text or the new one, never a half."""

from __future__ import annotations

import os
from pathlib import Path


class Replacer:
    """Writes beside the board's root (same file system, not seen by the client) and renames into it."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = str(scratch)

    def write(self, path: Path | str, text: str, mode: int = 0o444) -> None:
        """`path` now holds `text`."""
        fd = os.open(self._scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, text.encode())
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        os.rename(self._scratch, path)  # noqa: PTH104 - called hundreds of times a second
