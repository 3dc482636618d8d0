"""Why there is no plan: the constraint that binds, the devices concerned, the nearest value that would do."""

from __future__ import annotations

from server.errors import InfeasibleError

PAD = 1e-6  # a reported limit is widened by this much, so that taking it as the new value succeeds


class NoPlanError(InfeasibleError):
    """No plan keeps the constraints.

    `constraint` names the field of `Problem` that binds, `devices` those concerned (ids), `nearest` the closest value
    of that field that has a plan, None where no value has.
    """

    def __init__(self, sentence: str, constraint: str, devices: tuple[str, ...] = (), nearest: float | None = None):
        super().__init__(sentence)
        self.constraint = constraint
        self.devices = devices
        self.nearest = nearest


def named(ids: tuple[str, ...], limit: int = 5) -> str:
    """Device names for a sentence: at most `limit` of them, then how many more."""
    shown = ", ".join(ids[:limit])
    more = len(ids) - limit
    return f"{shown} and {more} more" if more > 0 else shown
