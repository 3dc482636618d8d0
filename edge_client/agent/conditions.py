"""Looks every few seconds whether the owner's rules allow work, and says so when that changes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from edge_client.conditions import Obstacle, Rules, obstacle, untold
from edge_client.events import Barred
from edge_client.hardware.board import Board

log = logging.getLogger(__name__)

LOOK_S = 5.0


async def watch(
    board: Board,
    rules: Rules,
    say: Callable[[Barred], None],
    look_s: float = LOOK_S,
    local_time: Callable[[], time.struct_time] = time.localtime,
) -> None:
    """Until cancelled. The first look is made at once."""
    for lack in untold(rules, board.conditions(local_time())):
        log.warning("[limits] %s", lack)
    before: Obstacle | None = None
    while True:
        found = obstacle(rules, board.conditions(local_time()), before)
        if found != before:
            say(Barred(found.reason if found else None))
        if found is None and before is not None:
            log.info("work is allowed again")
        elif found is not None and (before is None or found.rule != before.rule):
            log.warning("no work from now on: %s", found.reason)
        before = found
        await asyncio.sleep(look_s)
