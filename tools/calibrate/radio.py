"""From windows of upload to what a radio costs. Pure: rows in, a value out.

    added joules = (P0 + p / efficiency) * t + frame_energy_j * frames

t are the seconds on the air where every window tells them and the idle floor is known, else the window's. The three
terms are fitted to all windows by weighted least squares, none below 0. A cost per frame can be told from P0 only where
frames a second differ at one level (frames of two sizes, or two rates); then it is in the law if windows that were left
out are foretold better with it. What cannot be told is None, with the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from firmware_profiles.calibrated_radio import (
    CalibratedRadio,
    RadioFit,
    RadioLevel,
    RadioOrigin,
    Row3,
)
from firmware_profiles.provenance import CalibratedIdle
from tools.calibrate.errors import CalibrateError
from tools.calibrate.floor import idle_floor
from tools.calibrate.opps import pooled
from tools.calibrate.planes import Plane, fit_plane
from tools.calibrate.rows import the_same
from tools.calibrate.uploads import Upload, read_uploads

FRAMES_DIFFER = 1.1
"""So far apart, as a ratio, frames a second must be at one level for a cost per frame to be told."""

SIZES_DIFFER = 1.3
"""So far apart, as a ratio, frames are of two sizes: what else goes over the interface moves their mean a little."""

SIGNIFICANT = 2.0
"""Standard uncertainties that a term must stand above 0."""

ALIKE = 1e-6
"""Errors this near each other are the same, and the law is the one without frames."""

_OF_ONE_KIND = {
    "boundary": "watts of two boundaries are two quantities; keep one of them",
    "meter": "keep the windows of one meter",
    "source": "keep measured windows",
    "interface": "no two radios draw the same; keep the windows of one",
    "board": "no two boards draw the same; keep the windows of one",
}


def calibrate_radio(text: str, source: str, idle_w: float | None = None) -> CalibratedRadio:
    """An uploads' CSV as a radio; `idle_w` goes before what idle windows say. Raises CalibrateError."""
    rows = read_uploads(text, source)
    rejected: dict[str, int] = {}
    good: list[Upload] = []
    for row in rows:
        fault = "modelled" if row.source == "modelled" else (row.rejected or "").partition(" ")[0]
        if fault:
            rejected[fault] = rejected.get(fault, 0) + 1
        else:
            good.append(row)
    idle, uploads = [row for row in good if row.idle], [row for row in good if not row.idle]
    if not uploads:
        left = f"all uploads are left out ({rejected})" if rejected else "there are idle windows only"
        raise CalibrateError(f"{source}: {left}; give windows of upload")
    said: dict[str, Any] = {name: the_same(good, name, source, right) for name, right in _OF_ONE_KIND.items()}
    floor = idle_floor(idle, idle_w)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return _calibrated(uploads, floor, _origin(uploads, rejected, source, sha256, said))


def _calibrated(uploads: Sequence[Upload], floor: CalibratedIdle | None, origin: RadioOrigin) -> CalibratedRadio:
    windows = _Windows(uploads, floor)
    no_frames = _no_frames(uploads)
    p_w = windows.p_w
    levels = len(set(p_w.tolist()))
    no_efficiency = None if levels > 1 else "there is one level only; measure at two or more"
    terms = [0, *([1] if levels > 1 else [])]
    without, with_frames = windows.left_out(terms), None
    if no_frames is None:
        with_frames = windows.left_out([*terms, 2])
        no_frames = _frames_help(windows.fit([*terms, 2]), without, with_frames)
        if no_frames is None:
            terms.append(2)
    plane = windows.fit(terms)
    if no_efficiency is None and (no_efficiency := _no_efficiency(plane)):
        terms.remove(1)
        plane, without, with_frames = windows.fit(terms), windows.left_out(terms), None
    p0_w, per_w, frame_j = plane.coefficients.tolist()
    misses = np.abs(windows.foretold_j(plane) / windows.energy_j - 1.0)
    return CalibratedRadio(
        seconds=windows.seconds,
        power_static_w=p0_w + (floor.power_w if floor else 0.0),
        overhead_w=p0_w if floor else None,
        amplifier_efficiency=None if no_efficiency else 1.0 / per_w,
        no_efficiency=no_efficiency,
        frame_energy_j=None if no_frames else frame_j,
        no_frame_energy=no_frames,
        level=_levels(uploads, floor),
        fit=RadioFit(
            energy_mape=float(misses.mean()),
            energy_worst=float(misses.max()),
            held_out=without,
            held_out_with_frames=with_frames,
            covariance=windows.covariance(plane),
        ),
        idle=floor,
        origin=origin,
    )


class _Windows:
    """Uploads as arrays (K,): joules, seconds that the radio's watts are drawn for, watts above the floor in them."""

    def __init__(self, uploads: Sequence[Upload], floor: CalibratedIdle | None) -> None:
        self._floor = floor
        on_air = floor is not None and uploads[0].airtime_s is not None
        self.seconds: Literal["duration", "airtime"] = "airtime" if on_air else "duration"
        self.energy_j = np.array([one.energy_j for one in uploads])
        self._t = np.array([one.airtime_s if on_air else one.duration_s for one in uploads], dtype=float)
        self._duration_s = np.array([one.duration_s for one in uploads])
        self._idle_j = self._duration_s * (floor.power_w if floor else 0.0)
        self._w = (self.energy_j - self._idle_j) / self._t
        self._sigma = self.energy_j / self._t  # a meter is off by a share of what it shows, the floor included
        self.p_w = np.array([one.tx_power_w or 0.0 for one in uploads])
        frames = np.array([one.frames or 0 for one in uploads], dtype=float)
        self._columns = np.stack([np.ones(len(uploads)), self.p_w, frames / self._t], axis=1)

    def fit(self, terms: Sequence[int], but: int | None = None) -> Plane:
        """The law with these `terms` of (P0, 1 / efficiency, joules a frame), over all windows `but` one."""
        keep = np.arange(len(self._t)) != (-1 if but is None else but)
        own = list(terms)
        found = fit_plane(self._columns[np.ix_(keep, own)], self._w[keep], self._sigma[keep], relative=True)
        coefficients, covariance = np.zeros(3), np.zeros((3, 3))
        coefficients[own] = found.coefficients
        covariance[np.ix_(own, own)] = found.covariance
        return Plane(coefficients, covariance, found.freedom)

    def foretold_j(self, plane: Plane) -> np.ndarray:
        """Joules of the whole board."""
        return self._idle_j + plane.at(self._columns) * self._t

    def left_out(self, terms: Sequence[int]) -> float | None:
        """Mean relative error of each window's joules as foretold from the others; None with too few of them."""
        count = len(self._t)
        if count <= len(terms):
            return None
        errors = [self.foretold_j(self.fit(terms, but=k))[k] / self.energy_j[k] - 1.0 for k in range(count)]
        return float(np.abs(errors).mean())

    def covariance(self, plane: Plane) -> tuple[Row3, Row3, Row3] | None:
        """The plane's, with what the idle floor adds to P0."""
        if plane.freedom <= 0:
            return None
        covariance = plane.covariance.copy()
        if self._floor is not None and self._floor.uncertainty is not None:
            share = float((self._duration_s / self._t).mean())
            covariance[0, 0] += (share * self._floor.power_w * self._floor.uncertainty) ** 2
        a, b, c = (tuple(row) for row in covariance.tolist())
        return a, b, c


def _no_frames(uploads: Sequence[Upload]) -> str | None:
    """Why no cost per frame can be told; None where one can."""
    if any(not one.frames for one in uploads):
        return "not every window says its frames"
    by_level: dict[float | None, list[float]] = {}
    for one in uploads:
        by_level.setdefault(one.tx_power_w, []).append((one.frames or 0) / one.duration_s)
    if all(max(rates) < FRAMES_DIFFER * min(rates) for rates in by_level.values()):
        return (
            "frames a second are alike at each level, so their cost cannot be told from P0; send frames of two"
            " sizes, or at two rates, at one level"
        )
    return None


def _frames_help(plane: Plane, without: float | None, with_frames: float | None) -> str | None:
    """Why frames stay out of the law; None where they belong in."""
    if without is None or with_frames is None or plane.freedom <= 0:
        return "there are too few windows to test a cost per frame; measure more"
    if with_frames + ALIKE >= without:
        return f"windows left out are foretold no better with it ({with_frames:.2%} off, without it {without:.2%})"
    if plane.coefficients[2] <= SIGNIFICANT * plane.covariance[2, 2] ** 0.5:
        return "it cannot be told from 0"
    return None


def _no_efficiency(plane: Plane) -> str | None:
    """Why the slope over radiated watts is no amplifier's; None where it is."""
    per_w = float(plane.coefficients[1])
    sigma = max(float(plane.covariance[1, 1]), 0.0) ** 0.5 if plane.freedom > 0 else 0.0
    if per_w <= SIGNIFICANT * sigma:
        return "watts do not rise with the level; does the card heed it?"
    if per_w < 1.0:
        return f"{per_w:.2g} W drawn for each W radiated, which no amplifier can; does the card heed its level?"
    return None


def _levels(uploads: Sequence[Upload], floor: CalibratedIdle | None) -> tuple[RadioLevel, ...]:
    sizes = _sizes(uploads)
    by_level: dict[tuple[float, float], list[Upload]] = {}
    for one, size in zip(uploads, sizes, strict=True):
        by_level.setdefault((one.tx_power_w or 0.0, size or 0.0), []).append(one)
    keys = sorted(by_level)
    groups = [by_level[key] for key in keys]
    watts = pooled([[one.power_w for one in group] for group in groups])
    per_byte = pooled([[one.energy_j / one.bytes for one in group] for group in groups])
    return tuple(
        msgspec.structs.replace(_level(group, floor, watts, per_byte), payload_bytes=size or None)
        for (_, size), group in zip(keys, groups, strict=True)
    )


def _sizes(uploads: Sequence[Upload]) -> list[float | None]:
    """The size of each window's frames, for windows of one size are held together: what was set, else bytes over frames
    as the mean of those alike; None for all where there is one size only, or it is not known."""
    if all(one.payload_bytes for one in uploads):
        found = [float(one.payload_bytes or 0) for one in uploads]
    elif all(one.frames for one in uploads):
        found = [one.bytes / (one.frames or 1) for one in uploads]
        alike: list[list[float]] = []
        for size in sorted(found):
            if alike and size < SIZES_DIFFER * alike[-1][0]:
                alike[-1].append(size)
            else:
                alike.append([size])
        means = {size: sum(group) / len(group) for group in alike for size in group}
        found = [means[size] for size in found]
    else:
        return [None] * len(uploads)
    return list(found) if len(set(found)) > 1 else [None] * len(uploads)


def _level(
    group: Sequence[Upload], floor: CalibratedIdle | None, watts: float | None, per_byte: float | None
) -> RadioLevel:
    sent, seconds, joules = (sum(getattr(one, name) for one in group) for name in ("bytes", "duration_s", "energy_j"))
    frames = sum(one.frames or 0 for one in group) if all(one.frames for one in group) else 0
    added_j = None if floor is None else joules - floor.power_w * seconds
    root = len(group) ** 0.5
    return RadioLevel(
        tx_power_w=group[0].tx_power_w,
        power_w=joules / seconds,
        bits_per_s=8 * sent / seconds,
        j_per_byte=joules / sent,
        added_j_per_byte=None if added_j is None else added_j / sent,
        j_per_frame=joules / frames if frames else None,
        added_j_per_frame=added_j / frames if frames and added_j is not None else None,
        w_uncertainty=None if watts is None else watts / root,
        byte_uncertainty=None if per_byte is None else per_byte / root,
        windows=len(group),
    )


def _origin(
    uploads: Sequence[Upload], rejected: dict[str, int], source: str, sha256: str, said: dict[str, Any]
) -> RadioOrigin:
    starts = sorted(one.start for one in uploads if one.start)
    return RadioOrigin(
        file=source.rsplit("/", 1)[-1],
        sha256=sha256,
        windows=len(uploads),
        rejected=rejected,
        meter_uncertainty=max((one.uncertainty for one in uploads if one.uncertainty is not None), default=None),
        kernel=next((one.kernel for one in uploads if one.kernel), None),
        started=starts[0] if starts else None,
        ended=starts[-1] if starts else None,
        **said,
    )
