"""What the board was set to before we touched it, in a file, so that it can be put back even after SIGKILL.

The file is written before the first change and removed after the last one was undone. Each knob stores its own part
under its name; whoever finds the file at start-up restores from it. A boot undoes every change by itself, so a file
from before it is not believed: the owner may have chosen other settings since.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from edge_client.errors import HardwareError

log = logging.getLogger(__name__)

_BOOT = "boot"


class SettingsFile:
    """A small JSON object {knob: {...}} on disk; absent while nothing is changed."""

    def __init__(self, path: Path, boot_id: str | None = None) -> None:
        """`boot_id`: of the running system (proc/sys/kernel/random/boot_id); None: boots are not told apart."""
        self.path = path
        self._boot_id = boot_id

    def load(self) -> dict[str, dict[str, str]]:
        """What was saved; empty where there is no file, it was cut short (then nothing had been changed yet), or a boot
        has undone everything since."""
        try:
            held = msgspec.json.decode(self.path.read_bytes(), type=dict[str, dict[str, str]])
        except (OSError, msgspec.MsgspecError):
            return {}
        boot_id = held.pop(_BOOT, {}).get("id")
        stale = None not in (boot_id, self._boot_id) and boot_id != self._boot_id
        return {} if stale else held

    def save(self, knob: str, values: dict[str, str]) -> None:
        """Remember a knob's settings, unless an earlier, truer memory of them is there; raises HardwareError where that
        cannot be written: then nothing may be changed."""
        held = self.load()
        if knob not in held:
            self._write(held | {knob: values})

    def forget(self, knob: str) -> None:
        """The knob is restored; where that cannot be noted it is said, and the knob restored once more later on."""
        held = self.load()
        held.pop(knob, None)
        try:
            if held:
                self._write(held)
            else:
                self.path.unlink(missing_ok=True)
        except (HardwareError, OSError) as error:
            log.error("%s is restored, and that could not be noted: %s", knob, error)

    def _write(self, held: dict[str, dict[str, str]]) -> None:
        if self._boot_id is not None:
            held = held | {_BOOT: {"id": self._boot_id}}
        fresh = self.path.with_suffix(".partial")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(held))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            raise HardwareError(
                f"{self.path}: {error.strerror}; what is to be restored must stand there before anything is changed"
            ) from error
