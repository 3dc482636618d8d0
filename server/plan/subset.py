"""Some devices of a fleet as a fleet of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from server.plan.fleet import Curves, Fleet, Links, Tables
from server.plan.taking import take


def subset(fleet: Fleet, rows: np.ndarray, capacity: float) -> Fleet:
    """The devices `rows` (M,), ascending, with `capacity` of the medium; target and curve stay."""
    place = np.full(len(fleet), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return replace(
        fleet,
        ids=tuple(fleet.ids[row] for row in rows),
        local=fleet.local[rows],
        most=fleet.most[rows],
        upload_bits=fleet.upload_bits[rows],
        tau_min_s=fleet.tau_min_s[rows],
        tau_idle_s=fleet.tau_idle_s[rows],
        tables=_tables(fleet.tables, place),
        curves=_curves(fleet.curves, place),
        links=_links(fleet.links, rows),
        capacity=capacity,
    )


def _links(links: Links, rows: np.ndarray) -> Links:
    levels_w = None if links.levels_w is None else links.levels_w[rows]
    return replace(take(replace(links, levels_w=None), rows), levels_w=levels_w)


def _tables(tables: Tables, place: np.ndarray) -> Tables:
    kept = np.flatnonzero(place[tables.rows] >= 0)
    return Tables(place[tables.rows[kept]], tables.tau_s[kept], tables.joules[kept], tables.freq_hz[kept])


def _curves(curves: Curves, place: np.ndarray) -> Curves:
    kept = np.flatnonzero(place[curves.rows] >= 0)
    return replace(take(curves, kept), rows=place[curves.rows[kept]])
