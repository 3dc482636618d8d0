"""Whole boards from the shipped archives of kernel files, as a process without rights sees them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_client.hardware.interfaces import Missing
from edge_client.hardware.sysfs import SysFs
from firmware_profiles import trees


@dataclass(frozen=True)
class CapturedFs(SysFs):
    """Reading `failing` paths gives their errno, whoever runs the tests."""

    failing: dict[str, int] = field(default_factory=dict)

    def open(self, path: str) -> int:
        if path in self.failing:
            raise OSError(self.failing[path], os.strerror(self.failing[path]))
        return super().open(path)


def board(name: str, root: Path, change: Mapping[str, object] | None = None) -> CapturedFs:
    """The archive `name` below `root`; `change` goes to `set_file`."""
    fs = CapturedFs(root, failing=trees.unpack(trees.load(name), root))
    for path, value in (change or {}).items():
        set_file(fs, path, value)
    return fs


def set_file(fs: CapturedFs, path: str, value: object) -> None:
    """Another text; None removes the file; an OSError makes it fail."""
    fs.failing.pop(path, None)
    file = fs.root / path
    if value is None:
        file.unlink(missing_ok=True)
    elif isinstance(value, OSError):
        assert value.errno is not None
        fs.failing[path] = value.errno
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(f"{value}\n")


def reason(found: object) -> str:
    """Why a meter is missing."""
    assert isinstance(found, Missing), found
    return found.reason
