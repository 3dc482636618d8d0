"""The checks together: advice in three lines, as text for people and as JSON for scripts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Literal

import msgspec

from edge_client.doctor.checks import NO_RADIO, Check
from edge_client.runtimes import MODULES, Wanted

_COLOURS = {"ok": "\x1b[32m", "degraded": "\x1b[33m", "missing": "\x1b[31m"}
_PLAIN = "\x1b[0m"


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What will work: training at all; a plan's policy (`yes`: its clock, and its transmit power where there is a
    radio, with an effect that was measured; `partly`: some of it); joules."""

    training: bool
    policy: Literal["yes", "partly", "no"]
    energy: Literal["measured", "modelled", "unavailable"]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints; fields are only ever added."""

    version: str
    board: str
    checks: tuple[Check, ...]
    summary: Summary


def summarise(
    checks: Sequence[Check], runtime: Wanted, energy: Literal["measured", "modelled", "unavailable"]
) -> Summary:
    """The checks in short. Training needs the runtime asked for, or any; a policy the clock, and the radio if there is
    one."""
    by_name = {check.name: check for check in checks}
    runs = [by_name.get(f"runtime {name}") for name in (MODULES if runtime == "auto" else (runtime,))]
    clock, radio = by_name["clock"].status == "ok", by_name["radio"]
    whole = radio.status == "ok" or radio.message == NO_RADIO
    policy: Literal["yes", "partly", "no"] = "partly" if clock or radio.status != "missing" else "no"
    return Summary(
        training=any(check is not None and check.status == "ok" for check in runs),
        policy="yes" if clock and whole else policy,
        energy=energy,
    )


def advice(summary: Summary, checks: Sequence[Check]) -> list[str]:
    """Three lines."""
    lacking = [check.name for check in checks if check.name in ("state", "data", "broker") and check.status != "ok"]
    once = f" once this is mended: {', '.join(lacking)}" if lacking else ""
    policy = {
        "yes": "a plan's policy is enforced",
        "partly": "a part of a plan is enforced, see above",
        "no": "plans are not enforced here: the board works at its own clock and power",
    }[summary.policy]
    energy = {
        "measured": "joules are measured",
        "modelled": "joules are modelled, and called so wherever they go",
        "unavailable": "joules are not known, and reported as unavailable; a run with a plan needs them",
    }[summary.energy]
    trains = f"training works{once}" if summary.training else "training does not work: install a runtime, see above"
    return [trains, policy, energy]


def text(report: Report, width: int, *, colour: bool) -> str:
    """For people; `width` columns, colours where a terminal shows them."""
    column = max(len(check.name) for check in report.checks)
    lines = [f"{report.board} (fimi-client {report.version})", ""]
    for check in report.checks:
        status = f"{check.status:<8}"
        if colour:
            status = f"{_COLOURS[check.status]}{status}{_PLAIN}"
        lines += _wrapped(f"{check.name:<{column}}  {status}  ", check.message, column + 12, width)
        if check.remedy is not None:
            lines += _wrapped(" " * (column + 12) + "-> ", check.remedy, column + 15, width)
    lines += ["", *(f"{line[0].upper()}{line[1:]}." for line in advice(report.summary, report.checks))]
    return "\n".join(lines)


def _wrapped(head: str, message: str, indent: int, width: int) -> list[str]:
    first, *rest = textwrap.wrap(message, max(width - indent, 30), break_on_hyphens=False, break_long_words=False)
    return [head + first, *(" " * indent + line for line in rest)]
