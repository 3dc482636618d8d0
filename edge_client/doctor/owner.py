"""Who the client runs as and what that user may open, and what the board's owner allows now."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from edge_client.conditions import Conditions, Rules, obstacle, untold
from edge_client.doctor.checks import Check
from edge_client.hardware import mailbox
from edge_client.helper.client import SOCKET

DOORS = (*mailbox.DEVICES, SOCKET, "run/jtop.sock")
"""What a group opens for the client: the firmware's mailbox, the helper, jetson-stats' service."""


def user(root: Path) -> Check:
    """Who this is, and which door below `root` is shut to them."""
    name, groups = _name(os.geteuid()), sorted({_group(gid) for gid in (os.getegid(), *os.getgroups())})
    said = f"{name} (groups {', '.join(groups)})"
    shut = {door: _group((root / door).stat().st_gid) for door in DOORS if _shut(root / door)}
    if not shut:
        return Check(name="user", status="ok", message=said)
    doors = ", ".join(f"/{door} (group {group})" for door, group in shut.items())
    joined = ",".join(sorted(set(shut.values())))
    remedy = f"sudo usermod -aG {joined} {name}, then log in again, or restart its unit"
    return Check(name="user", status="degraded", message=f"{said} may not open {doors}", remedy=remedy)


def allowed(rules: Rules, now: Conditions) -> Iterator[Check]:
    """What [limits] says: nothing without rules; each that cannot be kept here, and whether work is allowed now."""
    if not rules.any:
        return
    for lack in untold(rules, now):
        yield Check(
            name="limits", status="missing", message=f"cannot be kept: {lack}", remedy="leave it out of [limits]"
        )
    found = obstacle(rules, now)
    if found is None:
        yield Check(name="limits", status="ok", message="[limits] allows work now")
    else:
        yield Check(name="limits", status="degraded", message=f"no work now: {found.reason}")


def _shut(path: Path) -> bool:
    return path.exists() and not os.access(path, os.R_OK | os.W_OK)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
