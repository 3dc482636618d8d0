"""Looks every few seconds whether the owner's rules allow work, and says so when that changes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from edge_client.conditions import Rules, obstacle, untold
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
    """Until cancelled; without rules there is nothing to look at. The first look is made at once."""
    barred: str | None = None
    for lack in untold(rules, board.conditions(local_time())) if rules.any else ():
        log.warning("[limits] %s", lack)
    while True:
        if rules.any:
            reason = obstacle(rules, board.conditions(local_time()), barred=barred is not None)
            if (reason is None) != (barred is None):
                log.warning("no work from now on: %s", reason) if reason else log.info("work is allowed again")
                say(Barred(reason))
            barred = reason
        await asyncio.sleep(look_s)
