"""The kernel's files below a root, and the board's own commands found there. The only place that opens them.

The root is "/" on a board and any folder elsewhere (a virtual board, a fixture), so that the same code reads both.
Missing files are ordinary: boards differ in what they have.
"""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_client.errors import HardwareError

Run = Callable[[Sequence[str]], str]
"""Runs a command and returns its standard output; raises HardwareError when it fails."""

_BIN = ("bin", "usr/bin", "usr/sbin", "sbin", "opt/vc/bin")


def run_command(argv: Sequence[str], timeout_s: float = 5.0) -> str:
    """Run a command of the board."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise HardwareError(f"{' '.join(argv)}: {said.strip()}") from error
    return done.stdout


@dataclass(frozen=True)
class SysFs:
    """Files and commands below `root`."""

    root: Path
    run: Run = run_command

    def open(self, path: str) -> int:
        """A descriptor to read a file with; raises OSError. All reading goes through here."""
        return os.open(f"{self.root}/{path}", os.O_RDONLY | os.O_CLOEXEC)

    def text(self, path: str) -> str:
        """The text of a file as it stands; raises OSError."""
        with os.fdopen(self.open(path), encoding="utf-8", errors="replace") as file:
            return file.read()

    def read(self, path: str) -> str | None:
        """The text of a file without surrounding space; None where it is absent or unreadable."""
        try:
            return self.text(path).strip("\0 \n\t")
        except OSError:
            return None

    def trouble(self, path: str) -> str | None:
        """Why a file cannot be read, in the system's words ("Permission denied"); None where it can."""
        try:
            self.text(path)
        except OSError as error:
            return error.strerror or str(error)
        return None

    def number(self, path: str) -> float | None:
        """The finite number in a file; None where there is none. Quick: meters are read many times a second."""
        try:
            fd = self.open(path)
            try:
                value = float(os.read(fd, 64).strip(b"\0 \n\t"))
            finally:
                os.close(fd)
        except (OSError, ValueError):
            return None
        return value if math.isfinite(value) else None

    def write(self, path: str, text: str) -> None:
        """Write a file in one call, as sysfs wants it; raises HardwareError."""
        try:
            fd = os.open(self.root / path, os.O_WRONLY | os.O_TRUNC)
            try:
                os.write(fd, f"{text}\n".encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise HardwareError(f"/{path}: {text!r} was refused: {error.strerror}") from error

    def writable(self, path: str) -> bool:
        return os.access(self.root / path, os.W_OK)

    def glob(self, pattern: str) -> list[str]:
        """Paths below the root that match, sorted."""
        return sorted(str(found.relative_to(self.root)) for found in self.root.glob(pattern))

    def link(self, path: str) -> str:
        """The name of what a link points to, "" where it is none."""
        try:
            return (self.root / path).readlink().name
        except OSError:
            return ""

    def command(self, name: str) -> str | None:
        """Where the board has this command, or None."""
        for folder in _BIN:
            path = self.root / folder / name
            if os.access(path, os.X_OK):
                return str(path)
        return None
