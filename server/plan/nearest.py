"""The nearest value of a term with which there is a whole plan: one constraint that is kept may uncover the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from server.plan.diagnosis import PAD, NoPlanError
from server.plan.fleet import Fleet

_FIELDS = {"round_s": "round_s", "bandwidth_hz": "capacity", "target_error": "target_error"}  # as a fleet names them
_OTHERS = {"round_s": "bandwidth_hz", "bandwidth_hz": "round_s"}  # where there is a band
_DOUBLINGS = 30
_NEAR = 1e-7  # relative
_LARGEST = 20_000  # devices whose fleet is asked some fifty times; of larger ones only what is sure is said


def explained(fleet: Fleet, error: NoPlanError, ask: Callable[[Fleet], object]) -> NoPlanError:
    """The error with the nearest values of its term, and of round or band in its place, with which `ask`, which raises
    where there is no plan, finds one; the sentence names them. `error.nearest` is what its constraint asks at least."""
    if error.constraint not in _FIELDS or error.nearest is None:
        return error
    least = error.nearest
    if len(fleet) > _LARGEST:
        return _with(error, f"{error.constraint} must be at least {least:.7g}", least)
    nearest, others = _search(fleet, _FIELDS[error.constraint], least, ask), []
    other = _OTHERS.get(error.constraint) if fleet.links.banded.any() else None
    if other is not None:
        value = _search(fleet, _FIELDS[other], getattr(fleet, _FIELDS[other]), ask)
        others = [f"a {other} of {value:.7g}"] if isinstance(value, float) else []
    if isinstance(nearest, NoPlanError):
        instead = f", but {others[0]} would" if others else f": {nearest}"
        return _with(error, f"no {error.constraint} alone will do{instead}", None)
    return _with(error, ", or ".join([f"the least {error.constraint} is {nearest:.7g}", *others]), nearest)


def _with(error: NoPlanError, more: str, nearest: float | None) -> NoPlanError:
    return NoPlanError(f"{error}; {more}", error.constraint, error.devices, nearest)


def _search(fleet: Fleet, field: str, start: float, ask: Callable[[Fleet], object]) -> float | NoPlanError:
    """The least value from `start` up with a plan, a little more than that; the last refusal where there is none."""

    def refusal(value: float) -> NoPlanError | None:
        try:
            ask(replace(fleet, **{field: value}))  # type: ignore[arg-type]  # all three are numbers
        except NoPlanError as error:
            return error
        return None

    low, high = start, start
    refused = refusal(start)
    if refused is None:
        return start
    for _ in range(_DOUBLINGS):
        low, high = high, 2.0 * high
        again = refusal(high)
        if again is None:
            break
        refused = again
    else:
        return refused
    while high - low > _NEAR * high:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if refusal(middle) is None else (middle, high)
    return high * (1 + PAD)
