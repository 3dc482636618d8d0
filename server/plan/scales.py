"""Orders of magnitude of the prices of a fleet, to start a search from."""

from __future__ import annotations

import numpy as np

from models import energy, radio
from server.plan.fleet import Fleet


def error_scale(fleet: Fleet) -> float:
    """The lambda at which a middling device trains half of what it could."""
    curve = fleet.curve
    per_sample = _cheapest_j(fleet)
    if fleet.pooled:
        middle_j = float(np.median(per_sample)) * fleet.epochs / (fleet.worth_slope * fleet.eta)
        return max(middle_j, 1e-300) * len(fleet)
    worth = np.maximum(fleet.local + 0.5 * fleet.eta * (fleet.most - fleet.local), 1.0)
    scale = float(np.median(per_sample * worth ** (1.0 + curve.beta)))
    return max(scale, 1e-300) * len(fleet) * fleet.epochs / (curve.alpha * curve.beta * fleet.eta)


def least_joules(fleet: Fleet, fixed_error_price_j: float | None) -> float:
    """A sum that the energy of no plan is below: local samples at the cheapest clocks. Where an error is priced instead
    of joules, the price of what no plan is below."""
    if fixed_error_price_j:
        return fixed_error_price_j * fleet.mean_error(np.maximum(fleet.most, 1.0))
    return fleet.epochs * float((np.maximum(fleet.local, 1.0) * _cheapest_j(fleet)).sum())


def medium_scale(fleet: Fleet) -> float:
    """The mu at which a middling device, sending half of the round, takes its equal share of the medium."""
    links = fleet.links
    taking = np.flatnonzero(links.banded | links.shared)
    share = fleet.capacity / len(taking)
    half_s = 0.5 * fleet.round_s
    watts = links.overhead_w[taking] + links.power_w[taking] / links.efficiency[taking]
    price = watts * half_s / share
    chosen = links.scheduled[taking]
    rows = taking[chosen]
    # dE/db of a chosen power: c*s*h(x)/eff, less than at full power
    x = np.minimum(radio.nats_per_use(fleet.upload_bits[rows], share, half_s), 40.0)
    least = links.noise_w_per_hz[rows] * half_s * radio.expm1_gap(x) / links.efficiency[rows]
    price[chosen] = np.minimum(price[chosen], least)
    paid = price[price > 0]
    if not len(paid):  # what sending itself costs nothing competes with training for the time
        paid = _cheapest_j(fleet) / fleet.tau_idle_s * half_s / share  # watts of training at the cheapest clock
    return float(np.median(paid))


def _cheapest_j(fleet: Fleet) -> np.ndarray:
    """Joules (I,) of a sample at the cheapest clock, which is the last point of a hull."""
    tables, curves, joules = fleet.tables, fleet.curves, np.empty(len(fleet))
    joules[tables.rows] = tables.joules[:, -1]
    law = (curves.fixed_s, curves.cycles, curves.power_static_w, curves.kappa)
    joules[curves.rows] = energy.joules_per_sample(fleet.tau_idle_s[curves.rows], *law)
    return joules
