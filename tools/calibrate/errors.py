"""The one error of `fimi-calibrate` that is not another package's: what was given cannot be used."""

from __future__ import annotations


class CalibrateError(Exception):
    """One sentence: where, what is wrong, what would be right."""

    exit_code = 2
