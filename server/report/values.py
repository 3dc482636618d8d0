"""What a report is made of: one run, its devices, its strategies round by round, as frozen values.

Joules of a task run from its receipt to its end, whatever became of it; None means that nothing could be measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class WindowRow:
    """One training window: its clock in hertz as requested, as accepted by the kernel and as verified by other means,
    the seconds it was elsewhere, and what disturbed it. None: not asked for, not to be read, unknown. `finding` is how
    the board failed the request, `limits` what held its clock down, in the client's words."""

    requested_hz: float | None
    accepted_hz: float | None
    verified_hz: float | None
    violation_s: float
    throttled: bool | None
    starved: bool | None
    finding: str | None = None
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class UploadRow:
    """One upload: bits and seconds, those that were planned, and how the device held to its part of a shared link; what
    its radio was asked for, took and can do, and how the link was. None: not planned, not asked for, not known."""

    bits: int
    seconds: float
    planned_s: float | None
    planned_bits_per_s: float | None
    requested_bits_per_s: float | None
    share: str
    tx_requested_w: float | None
    tx_accepted_w: float | None
    tx_capability: str
    signal_dbm: float | None
    link_bits_per_s: float | None
    airtime_s: float | None
    interface_bytes: int | None


@dataclass(frozen=True)
class TaskRow:
    """One device's share of one round.

    `added_j` and `board_j` cover the whole task: above the idle floor, and everything at the meter's boundary.
    `planned_j` and `work_j` cover training and upload alone, on the plan's energy basis; they are compared where the
    update was `accepted`; `work_j` may be off by `work_uncertainty_j`. `windows` are the training windows and `upload`
    the upload of an update that came, accepted or not.
    """

    device: str
    accepted: bool
    added_j: float | None
    board_j: float | None
    planned_j: float | None = None
    work_j: float | None = None
    work_uncertainty_j: float | None = None
    up_bytes: int = 0
    down_bytes: int = 0
    samples: int = 0
    windows: tuple[WindowRow, ...] = ()
    upload: UploadRow | None = None


@dataclass(frozen=True)
class RoundRow:
    """One round: accuracy on the same test images each time, wall seconds, and every task that was handed out."""

    round: int
    accuracy: float
    seconds: float
    tasks: tuple[TaskRow, ...]
    synth_bytes: int = 0  # of synthetic samples and their lists, as sent to devices
    synth_bytes_spared: int = 0  # that those would have taken which the devices had


@dataclass(frozen=True)
class PlanRow:
    """What a strategy was to do in each round: joules on the plan's basis, and the gap to the optimum's lower bound.

    `gap` is None where the plan is derived from another, and nothing is proved of it. `target_error` None: local data.
    `energy_j` is None where devices take part whose joules are not known.
    """

    method: str
    round_s: float
    target_error: float | None
    energy_j: float | None
    gap: float | None
    samples: int
    synth_counts: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class MissRow:
    """A measurement further from its prediction than the uncertainty stated for it: `what` names quantity and unit,
    `deviation` is the relative standard deviation that was stated."""

    device: str
    round: int
    what: str
    predicted: float
    measured: float
    deviation: float


@dataclass(frozen=True)
class LoopRow:
    """How well the rounds were foreseen: `predictions` measurements, each foretold from the profile and the rounds
    before it; those that missed; and from which rounds on another plan was followed, and why."""

    predictions: int
    misses: tuple[MissRow, ...]
    revisions: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class StrategyRun:
    """One strategy from the first round to the last.

    `plan` is None where there is no plan file; `test_samples` images stand behind each round's
    accuracy; `full_accuracy` is on every test image, None where not taken; `loop` None where nothing was foretold,
    because a device has no meter.
    """

    name: str
    rounds: tuple[RoundRow, ...]
    plan: PlanRow | None = None
    test_samples: int | None = None
    full_accuracy: float | None = None
    loop: LoopRow | None = None


@dataclass(frozen=True)
class DeviceRow:
    """One device as it enrolled: its label histogram (n_classes,) and how its joules are known."""

    id: str
    board: str
    label_counts: tuple[int, ...]
    meter: str
    source: str
    boundary: str | None
    idle_power_w: float | None


@dataclass(frozen=True)
class Samples:
    """Images side by side: (N, H, W, C) uint8 with labels (N,)."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class OutlayRow:
    """One amount of data: predicted rounds to the target, and joules of a round and in all on the plan's basis."""

    fill_factor: float
    rounds: float
    round_j: float
    total_j: float


@dataclass(frozen=True)
class OutlayData:
    """With plan.target_accuracy: the amounts of data that were foretold to reach it, the chosen one first."""

    target_accuracy: float
    candidates: tuple[OutlayRow, ...]


@dataclass(frozen=True)
class RunData:
    """Everything a report reads out of a run directory.

    `real` comes from the boards' own data files, which only a run on virtual boards has; `notes` say what is missing.
    """

    id: str
    name: str
    seed: int
    energy_basis: str
    devices: tuple[DeviceRow, ...]
    strategies: tuple[StrategyRun, ...]
    class_names: tuple[str, ...]
    real: Samples | None
    synthetic: Samples | None
    config_text: str
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    outlay: OutlayData | None = None
    learning: dict[str, Any] | None = None  # learning.json: the curve and eta that the plans rest on
