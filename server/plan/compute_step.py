"""What training costs, from the numbers alone."""

from __future__ import annotations

import numpy as np

from models import energy
from server.plan.fleet import Fleet


def compute_joules(fleet: Fleet, samples: np.ndarray, compute_s: np.ndarray) -> np.ndarray:
    """E_cmp (I,) = n*D*e(t/(n*D)) of samples (I,) in compute_s (I,); time beyond the cheapest clock's is waited out.

    A rounding error below the fastest clock is taken as the fastest clock.
    """
    trained = fleet.epochs * samples
    tau = np.divide(compute_s, trained, out=fleet.tau_min_s.copy(), where=trained > 0)
    tau = np.clip(tau, fleet.tau_min_s, fleet.tau_idle_s)
    per_sample = np.empty(len(fleet))
    tables, curves = fleet.tables, fleet.curves
    per_sample[tables.rows] = energy.hull_energy(tau[tables.rows], tables.tau_s, tables.joules)
    if len(curves.rows):
        law = (curves.fixed_s, curves.cycles, curves.power_static_w, curves.kappa)
        per_sample[curves.rows] = energy.joules_per_sample(tau[curves.rows], *law)
    return trained * per_sample
