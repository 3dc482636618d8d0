"""Whether a planned rate of uploads is kept by the kernel too, or by the client's pacing alone."""

from __future__ import annotations

from edge_client.doctor.checks import Check
from edge_client.hardware.board import Board


def bandwidth(board: Board) -> Check:
    """Looks only: whether the kernel has HTB shows when the first upload asks for it."""
    found = board.upload_share()
    if found["why"] is None:
        said = f"an upload's rate is kept by pacing, and by an HTB class for its mark on {found['interface']}"
        return Check(name="bandwidth", status="ok", message=said)
    what, _, right = found["why"].partition("; ")
    return Check(
        name="bandwidth",
        status="degraded",
        message=f"an upload's rate is kept by pacing in the client only: {what}",
        remedy=right or None,
    )
