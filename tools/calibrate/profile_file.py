"""A calibration as TOML text, and what a name on the command line stands for: a CSV to fit, or a profile. Thin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from firmware_profiles.calibrated import Calibration, load_calibration
from firmware_profiles.strict import parse_toml
from tools.calibrate.calibrate import calibrate_text
from tools.calibrate.csv_text import read_text
from tools.calibrate.errors import CalibrateError


def to_toml(calibration: Calibration) -> str:
    """The file's text: what `load_calibration` reads back to the same value."""
    top = _known(msgspec.to_builtins(calibration))
    lines = ["# Written by fimi-calibrate fit. SI units; uncertainties are relative; see firmware_profiles/README.md."]
    lines += [f"{name} = {_value(value)}" for name, value in top.items() if not _is_table(value)]
    for name, value in top.items():
        if isinstance(value, dict):
            lines += _table(name, value)
        elif _is_table(value):
            for element in value:
                lines += ["", f"[[{name}]]", *(f"{key} = {_value(inner)}" for key, inner in element.items())]
    return "\n".join(lines) + "\n"


def write_profile(path: Path, calibration: Calibration) -> None:
    """Write and prove that it reads back; raises CalibrateError where the file cannot be written."""
    text = to_toml(calibration)
    assert parse_toml(text, Calibration, str(path)) == calibration
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CalibrateError(f"{path}: {error.strerror}; give --out a path that can be written") from None


def open_calibration(path: Path, **fitting: Any) -> Calibration:
    """A profile as it is; of anything else a CSV is expected, and fitted (`fitting` as for `calibrate_text`).

    Raises CalibrateError or ConfigError.
    """
    if path.suffix == ".toml":
        return load_calibration(path)
    return calibrate_text(read_text(path), str(path), **fitting)


def _table(name: str, table: Mapping[str, Any]) -> list[str]:
    inner = {key: value for key, value in table.items() if isinstance(value, dict)}
    lines = ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items() if key not in inner)]
    for key, value in inner.items():
        lines += _table(f"{name}.{key}", value)
    return lines


def _known(value: Any) -> Any:
    """Without what is not known: TOML has no null, a field that is left out says it."""
    if isinstance(value, dict):
        return {key: _known(inner) for key, inner in value.items() if inner is not None and inner != {}}
    return [_known(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value) if isinstance(value, str) else repr(value)
