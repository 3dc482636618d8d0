"""How much data a round has, chosen for the whole training: the least predicted joules to a target accuracy.

The rule is server/plan/whole_training.py; here are its sources: curves that `fit-rounds` measured for this very kind
of run, and the exact planner's joules of a round with each amount of data. What no plan counts - the download of the
model - is left out on all sides alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from server.config import PlanConfig, RunConfig
from server.errors import DataError, InfeasibleError
from server.learning.progressions import curves as curves_of
from server.learning.progressions import terms
from server.plan.whole_training import Outlay, RoundCurve, outlays, reachable
from server.records import Record


class ProgressionFile(msgspec.Struct, frozen=True):
    """One measured federation of rounds.json."""

    fill_factor: float
    seed: int
    accuracy: tuple[float, ...]


class RoundsFile(msgspec.Struct, frozen=True):
    """What is read of rounds.json; `provenance` holds what the curves depend on."""

    progressions: tuple[ProgressionFile, ...]
    provenance: dict[str, object]


class OutlayRecord(Record, frozen=True, kw_only=True):
    """One amount of data: predicted rounds to the target and joules of a round, on the plans' energy basis."""

    fill_factor: float
    rounds: float
    round_j: float
    total_j: float


class Choice(Record, frozen=True, kw_only=True):
    """outlay.json: the amounts of data that reach `target_accuracy`, the chosen (cheapest) first."""

    target_accuracy: float
    candidates: tuple[OutlayRecord, ...]

    @property
    def fill_factor(self) -> float:
        return self.candidates[0].fill_factor


def choose(curves: Sequence[RoundCurve], round_j: Callable[[float], float | None], target_accuracy: float) -> Choice:
    """The candidates; raises InfeasibleError where no measured amount of data reaches the target with a plan."""
    found = outlays(curves, round_j, target_accuracy)
    if not found:
        raise InfeasibleError(
            f"plan.target_accuracy {target_accuracy:g} is not reached with any amount of data that was measured and "
            f"can be planned for; the highest accuracy measured is {reachable(curves):.3f}"
        )
    return Choice(target_accuracy=target_accuracy, candidates=tuple(map(_record, found)))


def _record(outlay: Outlay) -> OutlayRecord:
    return OutlayRecord(
        fill_factor=outlay.fill_factor, rounds=outlay.rounds, round_j=outlay.round_j, total_j=outlay.total_j
    )


def with_fill_factor(plan: PlanConfig, fill_factor: float) -> PlanConfig:
    """The same [plan] with the chosen amount of data. A factor of 1 asks for no more than devices have."""
    return msgspec.structs.replace(plan, fill_factor=fill_factor, target_error=None)


def load_curves(config: RunConfig, base: Path) -> tuple[RoundCurve, ...]:
    """The curves that plan.rounds names; raises DataError where they are missing, broken or of another kind of run."""
    if config.plan.rounds is None:
        raise DataError("plan.target_accuracy needs plan.rounds: measure it with fimi-server fit-rounds")
    path = base / Path(config.plan.rounds).expanduser()
    try:
        file = msgspec.json.decode(path.read_bytes(), type=RoundsFile)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; make it with: fimi-server fit-rounds") from None
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is no result of fit-rounds: {error}") from error
    own = msgspec.json.decode(msgspec.json.encode(terms(config)))
    for name, value in own.items():
        if file.provenance.get(name) != value:
            raise DataError(
                f"{path} was measured with {name} {file.provenance.get(name)}, this run has {value}: measure it again "
                "with fimi-server fit-rounds"
            )
    return curves_of(file.progressions)


def describe(choice: Choice) -> str:
    """One line for people."""
    best = choice.candidates[0]
    others = ", ".join(f"{one.fill_factor:g}: {one.total_j:.0f} J" for one in choice.candidates[1:])
    return (
        f"to accuracy {choice.target_accuracy:.1%}: {best.fill_factor:g} times the data, predicted {best.rounds:.1f} "
        f"rounds of {best.round_j:.1f} J, {best.total_j:.0f} J" + (f" (others: {others})" if others else "")
    )
