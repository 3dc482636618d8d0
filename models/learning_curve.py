"""How the error of a trained network falls with the data of a device: a power law with a floor.

err(x) = alpha * x**(-beta) + gamma, with x the effective samples of a device (a synthetic one counts eta of a real
one). The form is the usual empirical learning curve (Hestness et al., arXiv 1712.00409); the coefficients are measured.
It is convex and falls strictly, which is all that the planner's certificate asks of it.
"""

from __future__ import annotations

import numpy as np


def effective_samples(local: np.ndarray, samples: np.ndarray, eta: float) -> np.ndarray:
    """Samples counted in real ones: the local ones plus eta times the rest; shapes as given, result in samples."""
    return local + eta * (samples - local)


def error(x: np.ndarray, alpha: float, beta: float, gamma: float) -> np.ndarray:
    """err(x) for x >= 0 effective samples; infinite at 0."""
    with np.errstate(divide="ignore"):
        return alpha * np.power(np.asarray(x, dtype=float), -beta) + gamma


def error_slope(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """err'(x) = -alpha * beta * x**(-beta - 1), per effective sample; minus infinity at 0."""
    with np.errstate(divide="ignore"):
        return -alpha * beta * np.power(np.asarray(x, dtype=float), -beta - 1.0)


def samples_for_error(target: float, alpha: float, beta: float, gamma: float) -> float:
    """The effective samples at which err equals `target`; infinite at or below the floor gamma."""
    if target <= gamma:
        return float("inf")
    return float((alpha / (target - gamma)) ** (1.0 / beta))


def samples_for_slope(slope: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """The effective samples at which -err'(x) equals `slope` > 0 (1/sample); infinite for a slope of 0."""
    with np.errstate(divide="ignore"):
        return np.power(alpha * beta / np.asarray(slope, dtype=float), 1.0 / (1.0 + beta))
