"""A training that diverges ends its task with what would help; nothing of it is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.protocol.messages import TaskClosed, Update
from tests.edge_client.agents import fleet, start_round, task, weights
from tests.edge_client.conftest import Broker


@pytest.mark.parametrize(
    ("learning_rate", "reason"),
    [
        (1e300, "the loss is not finite: a smaller learning_rate or a clip_norm helps"),
        (
            1e6,  # every loss is finite, but float16 ends at 65,504
            "the change is too large: weight 'b' holds values that are not finite in float16: "
            "a smaller learning_rate or a clip_norm helps",
        ),
    ],
)
async def test_the_task_has_failed_and_says_why(
    learning_rate: float, reason: str, tmp_path: Path, broker: Broker
) -> None:
    async with fleet(tmp_path, broker) as (server, _):
        await start_round(server, task(learning_rate=learning_rate), weights())
        closed = await server.wait_for(TaskClosed)
        assert (closed.outcome, closed.reason) == ("failed", reason)
        assert closed.energy.energy_j is not None
        assert not any(isinstance(message, Update) for message in server.heard)
