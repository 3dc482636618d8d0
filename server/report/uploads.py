"""The uploads of each device beside their plan: seconds, rates, and what its radio said of them. Pure.

Means are over the uploads of which a value is known; None where it is known of none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_client.protocol.messages import Update
from server.records import PlannedWork
from server.report.tables import NOT_KNOWN, Table, number
from server.report.values import StrategyRun, UploadRow

SETTABLE = {"enforced": "enforced", "accepted_unverified": "unverified", "unsupported": "cannot be set"}


@dataclass(frozen=True)
class UploadSummary:
    """One device's uploads in one strategy; field names are the keys of report.json."""

    uploads: int
    planned_s: float | None
    measured_s: float
    planned_bits_per_s: float | None
    requested_bits_per_s: float | None
    measured_bits_per_s: float | None
    share: str
    tx_requested_w: float | None
    tx_accepted_w: float | None
    tx_capability: str
    signal_dbm: float | None
    link_bits_per_s: float | None
    airtime_s: float | None
    interface_bytes: float | None


def upload_row(update: Update, planned: PlannedWork | None, up_bits: int | None) -> UploadRow:
    """One upload; `up_bits` are those that the plan counted on."""
    upload, radio = update.upload, update.upload.radio
    planned_s = planned.upload_s if planned else None
    return UploadRow(
        bits=upload.bits,
        seconds=upload.duration_s,
        planned_s=planned_s,
        planned_bits_per_s=up_bits / planned_s if up_bits is not None and planned_s else None,
        requested_bits_per_s=radio.requested_bits_per_s,
        share=radio.share,
        tx_requested_w=radio.requested_w,
        tx_accepted_w=radio.accepted_w,
        tx_capability=radio.capability,
        signal_dbm=radio.signal_dbm,
        link_bits_per_s=radio.link_bits_per_s,
        airtime_s=radio.airtime_s,
        interface_bytes=radio.interface_bytes,
    )


def uploads_by_device(run: StrategyRun) -> dict[str, UploadSummary]:
    """All devices whose update came, by name."""
    by_device: dict[str, list[UploadRow]] = {}
    for row in run.rounds:
        for task in row.tasks:
            if task.upload is not None:
                by_device.setdefault(task.device, []).append(task.upload)
    return {device: summarise(rows) for device, rows in sorted(by_device.items())}


def summarise(rows: list[UploadRow]) -> UploadSummary:
    """One device's uploads in numbers; at least one."""
    seconds = sum(row.seconds for row in rows)
    return UploadSummary(
        uploads=len(rows),
        planned_s=mean(row.planned_s for row in rows),
        measured_s=seconds / len(rows),
        planned_bits_per_s=mean(row.planned_bits_per_s for row in rows),
        requested_bits_per_s=mean(row.requested_bits_per_s for row in rows),
        measured_bits_per_s=sum(row.bits for row in rows) / seconds if seconds > 0 else None,
        share=words(row.share for row in rows),
        tx_requested_w=mean(row.tx_requested_w for row in rows),
        tx_accepted_w=mean(row.tx_accepted_w for row in rows),
        tx_capability=words(row.tx_capability for row in rows),
        signal_dbm=mean(row.signal_dbm for row in rows),
        link_bits_per_s=mean(row.link_bits_per_s for row in rows),
        airtime_s=mean(row.airtime_s for row in rows),
        interface_bytes=mean(row.interface_bytes for row in rows),
    )


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def words(values: Iterable[str]) -> str:
    """All that occur, in order of their first occurrence."""
    return ", ".join(dict.fromkeys(values))


def table(strategies: Iterable[StrategyRun]) -> Table | None:
    """A line a strategy and device; None where nothing was uploaded."""
    rows = tuple(
        _line(f"{run.name} / {device}", found) for run in strategies for device, found in uploads_by_device(run).items()
    )
    header = (
        "Strategy / device", "Seconds", "Mbit/s", "Share", "Transmit W", "dBm", "Link Mbit/s", "Airtime s",
        "MB on card",
    )  # fmt: skip
    caption = "Uploads, means over the updates that came: seconds and rates planned → measured, watts asked for → taken"
    return Table(caption, header, rows) if rows else None


def _line(name: str, found: UploadSummary) -> tuple[str, ...]:
    capabilities = ", ".join(SETTABLE.get(word, word) for word in found.tx_capability.split(", "))
    return (
        name,
        _pair(number(found.planned_s, 1), number(found.measured_s, 1)),
        _pair(_mega(found.planned_bits_per_s), _mega(found.measured_bits_per_s)),
        found.share.replace("htb", "HTB"),
        f"{_pair(number(found.tx_requested_w, 3), number(found.tx_accepted_w, 3))}, {capabilities}",
        NOT_KNOWN if found.signal_dbm is None else f"{found.signal_dbm:.0f}",
        _mega(found.link_bits_per_s),
        number(found.airtime_s, 2),
        _mega(found.interface_bytes),
    )


def _pair(before: str, after: str) -> str:
    return NOT_KNOWN if before == after == NOT_KNOWN else f"{before} → {after}"


def _mega(value: float | None) -> str:
    """In millions, to three digits."""
    if value is None:
        return NOT_KNOWN
    return f"{value / 1e6:.3g}" if value < 1e9 else f"{value / 1e6:,.0f}"
