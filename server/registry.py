"""The devices this server has met, in SQLite: what they are, what they hold (by class, no sample), how they measured.

One file beside the run directories (`<out>/registry.sqlite`) that all runs write to; a run itself never reads it, its
own devices.json is enough.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_client.protocol.messages import Capabilities, Join, ProfileReport
from server.errors import DataError

SCHEMA = """
CREATE TABLE IF NOT EXISTS device (
    id TEXT NOT NULL, fleet TEXT NOT NULL, board TEXT NOT NULL, client_version TEXT NOT NULL,
    storage_samples INTEGER NOT NULL, capabilities TEXT NOT NULL,
    first_seen REAL NOT NULL, last_seen REAL NOT NULL, PRIMARY KEY (fleet, id));
CREATE TABLE IF NOT EXISTS histogram (
    fleet TEXT NOT NULL, device TEXT NOT NULL, class INTEGER NOT NULL, samples INTEGER NOT NULL,
    PRIMARY KEY (fleet, device, class));
CREATE TABLE IF NOT EXISTS profile (
    fleet TEXT NOT NULL, device TEXT NOT NULL, run TEXT NOT NULL, measured_at REAL NOT NULL, report TEXT NOT NULL,
    PRIMARY KEY (fleet, device, run));
"""


@dataclass(frozen=True)
class KnownDevice:
    """A device as it last enrolled; times are Unix seconds. `profile` is the latest, None before the first."""

    id: str
    fleet: str
    label_counts: tuple[int, ...]
    storage_samples: int
    capabilities: Capabilities
    client_version: str
    first_seen: float
    last_seen: float
    profile: ProfileReport | None


class Registry:
    """Open with `open_registry`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def enrol(self, fleet: str, join: Join, now: float) -> None:
        """Keep a device's offer; a known device is brought up to date."""
        with self._db:
            self._db.execute(
                "INSERT INTO device VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (fleet, id) DO UPDATE SET"
                " board = excluded.board, client_version = excluded.client_version,"
                " storage_samples = excluded.storage_samples, capabilities = excluded.capabilities,"
                " last_seen = excluded.last_seen",
                (
                    join.device,
                    fleet,
                    join.capabilities.board,
                    join.client_version,
                    join.storage_samples,
                    msgspec.json.encode(join.capabilities).decode(),
                    now,
                    now,
                ),
            )
            self._db.execute("DELETE FROM histogram WHERE fleet = ? AND device = ?", (fleet, join.device))
            rows = [(fleet, join.device, label, count) for label, count in enumerate(join.label_counts)]
            self._db.executemany("INSERT INTO histogram VALUES (?, ?, ?, ?)", rows)

    def keep_profile(self, fleet: str, report: ProfileReport, now: float) -> None:
        """Keep what was measured on a device; once per run, the last one stands."""
        row = (fleet, report.device, report.run, now, msgspec.json.encode(report).decode())
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO profile VALUES (?, ?, ?, ?, ?)", row)

    def devices(self) -> tuple[KnownDevice, ...]:
        """All of them, by fleet and name."""
        rows = self._db.execute(
            "SELECT id, fleet, storage_samples, capabilities, client_version, first_seen, last_seen"
            " FROM device ORDER BY fleet, id"
        ).fetchall()
        return tuple(self._known(*row) for row in rows)

    def _known(
        self, id_: str, fleet: str, storage: int, capabilities: str, version: str, first: float, last: float
    ) -> KnownDevice:
        counts = self._db.execute(
            "SELECT samples FROM histogram WHERE fleet = ? AND device = ? ORDER BY class", (fleet, id_)
        ).fetchall()
        profile = self._db.execute(
            "SELECT report FROM profile WHERE fleet = ? AND device = ? ORDER BY measured_at DESC LIMIT 1", (fleet, id_)
        ).fetchone()
        return KnownDevice(
            id=id_,
            fleet=fleet,
            label_counts=tuple(count for (count,) in counts),
            storage_samples=storage,
            capabilities=msgspec.json.decode(capabilities, type=Capabilities),
            client_version=version,
            first_seen=first,
            last_seen=last,
            profile=None if profile is None else msgspec.json.decode(profile[0], type=ProfileReport),
        )


@contextmanager
def open_registry(path: Path) -> Iterator[Registry]:
    """The registry in this file, made where there is none; raises DataError where the file is something else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=30.0)
    try:
        try:
            connection.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise DataError(f"{path} is not a registry: {error}") from error
        yield Registry(connection)
    finally:
        connection.close()
