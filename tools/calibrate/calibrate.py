"""From windows to a calibration. Pure: rows in, a value out.

1. Windows that were throttled, starved or mis-clocked are left out, and counted.
2. What is left must be of one network, one boundary, one meter, one number of cores.
3. By clock: seconds and joules a sample, with the uncertainty that repeats show.
4. How the board warms up, where the windows tell, and how warm it was at each clock.
5. A law through the clocks; law or table, whichever foretells clocks better that were left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from firmware_profiles.calibrated import CalibratedOpp, CalibratedThermal, Calibration, Fit, Origin
from tools.calibrate.errors import CalibrateError
from tools.calibrate.floor import idle_floor
from tools.calibrate.models import arrays, curve_of, fit_law, left_out, misfit
from tools.calibrate.opps import gather
from tools.calibrate.rows import Row, read_rows, the_same
from tools.calibrate.warmth import fit_warmth, mean_c, warmed
from tools.calibrate.windows import Sorted, sort_windows

_OF_ONE_KIND = {
    "network": "fit one at a time: --network NAME",
    "batch_size": "a batch of another size is other work; keep one of them",
    "boundary": "watts of two boundaries are two quantities; keep one of them",
    "meter": "keep the windows of one meter",
    "source": "keep measured windows",
    "runtime": "another runtime is other work; keep one of them",
    "board": "no two boards draw the same; keep the windows of one",
}


ALIKE = 1e-6
"""Errors this near each other are the same, and the law is the simpler of the two."""


def calibrate_text(
    text: str, source: str, *, idle_w: float | None = None, cores: int | None = None, network: str | None = None
) -> Calibration:
    """A sweep's CSV as a calibration; raises CalibrateError. See `calibrate`."""
    _, rows = read_rows(text, source)
    return calibrate(rows, source, hashlib.sha256(text.encode()).hexdigest(), idle_w, cores, network)


def calibrate(
    rows: Sequence[Row],
    source: str,
    sha256: str,
    idle_w: float | None = None,
    cores: int | None = None,
    network: str | None = None,
) -> Calibration:
    """The calibration for `cores` (None: the most in the file) and `network` (None: the only one).

    `idle_w` goes before what idle windows say. Raises CalibrateError where the windows cannot be fitted.
    """
    windows = sort_windows(rows)
    training = _of_network(windows.training, network, source)
    if not training:
        raise CalibrateError(f"{source}: {_nothing_left(windows, network)}")
    said: dict[str, Any] = {
        name: the_same((*training, *windows.idle), name, source, right) for name, right in _OF_ONE_KIND.items()
    }
    chosen, training = _of_cores(training, cores, source)
    warmth = fit_warmth((*training, *windows.idle))
    opps = _warmed(gather(training, source), training, warmth)
    _refuse_nonsense(opps, source)
    law = fit_law(opps)
    law_out, table_out = left_out("law", opps), left_out("table", opps)
    return Calibration(
        cores=chosen,
        opp=opps,
        law=law,
        fit=Fit(
            model="law" if law_out.energy_mape <= table_out.energy_mape + ALIKE else "table",
            law=misfit(curve_of("law", opps, law)(arrays(opps)[0]), opps),
            law_held_out=law_out,
            table_held_out=table_out,
        ),
        idle=idle_floor(windows.idle, idle_w),
        thermal=warmth if all(opp.temperature_c is not None for opp in opps) else None,
        origin=_origin(training, windows, source, sha256, said),
    )


def _nothing_left(windows: Sorted, network: str | None) -> str:
    if windows.training:
        names = sorted({str(row.network) for row in windows.training})
        return f"no window is of network {network!r}; there are windows of {', '.join(names)}"
    if windows.rejected:
        counts = ", ".join(f"{count} {fault}" for fault, count in sorted(windows.rejected.items()))
        return f"all training windows are left out ({counts}); measure again on a board that is left alone"
    return "there are idle windows only; give windows of training"


def _of_network(rows: Sequence[Row], network: str | None, source: str) -> tuple[Row, ...]:
    if network is None:
        the_same(rows, "network", source, _OF_ONE_KIND["network"])
        return tuple(rows)
    return tuple(row for row in rows if row.network == network)


def _of_cores(rows: Sequence[Row], cores: int | None, source: str) -> tuple[int | None, tuple[Row, ...]]:
    """The windows at one number of cores: what was asked for, else the most there are."""
    told = {row.cores for row in rows}
    if None in told and len(told) > 1:
        line = next(row.line for row in rows if row.cores is None)
        raise CalibrateError(f"{source}: line {line} does not say how many cores; fill the column `cores`, or drop it")
    if told == {None}:
        return cores, tuple(rows)
    known = sorted(count for count in told if count is not None)
    if cores is not None and cores not in known:
        there = ", ".join(map(str, known))
        raise CalibrateError(f"{source}: no window ran on {cores} cores; give --cores one of {there}")
    chosen = cores or known[-1]
    return chosen, tuple(row for row in rows if row.cores == chosen)


def _refuse_nonsense(opps: Sequence[CalibratedOpp], source: str) -> None:
    """Raises CalibrateError where the whole sheet cannot be what it says."""
    quickest, slowest = min(opps, key=_seconds), max(opps, key=_seconds)
    if slowest.freq_hz > 1.5 * quickest.freq_hz and _seconds(slowest) > 1.2 * _seconds(quickest):
        raise CalibrateError(
            f"{source}: a sample takes {_seconds(slowest):.4g} s at {slowest.freq_hz / 1e6:g} MHz and"
            f" {_seconds(quickest):.4g} s at {quickest.freq_hz / 1e6:g} MHz: slower at a higher clock; check freq_hz,"
            " samples and duration_s of these lines"
        )


def _seconds(opp: CalibratedOpp) -> float:
    return opp.s_per_sample


def _warmed(
    opps: tuple[CalibratedOpp, ...], rows: Sequence[Row], warmth: CalibratedThermal | None
) -> tuple[CalibratedOpp, ...]:
    """With how warm the board was at each clock, where all its windows say so."""
    if warmth is None:
        return opps
    found = []
    for opp in opps:
        at_it = [row for row in rows if row.freq_hz == opp.freq_hz]
        seen_c = mean_c(at_it, warmth.time_constant_s) if warmed(at_it) else None
        found.append(msgspec.structs.replace(opp, temperature_c=seen_c))
    return tuple(found)


def _origin(rows: Sequence[Row], windows: Sorted, source: str, sha256: str, said: dict[str, Any]) -> Origin:
    starts = sorted(row.start for row in rows if row.start)
    warmth = [row.temperature_c for row in rows if row.temperature_c is not None]
    meters = [row.uncertainty for row in rows if row.uncertainty is not None]
    last = {name: next((getattr(row, name) for row in rows if getattr(row, name)), None) for name in _NAMED}
    return Origin(
        file=source.rsplit("/", 1)[-1],
        sha256=sha256,
        windows=len(rows),
        rejected=windows.rejected,
        meter_uncertainty=max(meters, default=None),
        started=starts[0] if starts else None,
        ended=starts[-1] if starts else None,
        temperature_c=(min(warmth), max(warmth)) if warmth else None,
        **last,
        **said,
    )


_NAMED = ("kernel", "governor")
