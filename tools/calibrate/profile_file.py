"""A calibration as TOML text, and what a name on the command line stands for: a CSV to fit, or a profile. Thin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from firmware_profiles.calibrated import Calibration, RadioProfile, load_calibration, load_profile_file
from firmware_profiles.calibrated_radio import CalibratedRadio
from firmware_profiles.strict import ConfigError, parse_toml
from tools.calibrate.calibrate import calibrate_text
from tools.calibrate.csv_text import header_of, read_text
from tools.calibrate.errors import CalibrateError
from tools.calibrate.radio import calibrate_radio


def to_toml(calibration: Calibration | RadioProfile) -> str:
    """The file's text: what `load_profile_file` reads back to the same value."""
    top = _known(msgspec.to_builtins(calibration))
    lines = ["# Written by fimi-calibrate. SI units; uncertainties are relative; see firmware_profiles/README.md."]
    lines += [f"{name} = {_value(value)}" for name, value in top.items() if not _is_table(value)]
    for name, value in top.items():
        if isinstance(value, dict):
            lines += _table(name, value)
        elif _is_table(value):
            lines += _array(name, value)
    return "\n".join(lines) + "\n"


def write_profile(path: Path, calibration: Calibration | RadioProfile) -> None:
    """Write and prove that it reads back; raises CalibrateError where the file cannot be written."""
    text = to_toml(calibration)
    assert parse_toml(text, type(calibration), str(path)) == calibration
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


def open_either(path: Path, **fitting: Any) -> tuple[Calibration | None, CalibratedRadio | None]:
    """Sweep and radio of a profile, or the one that a CSV is of: uploads have a column `bytes`. One is not None."""
    if path.suffix == ".toml":
        held = load_profile_file(path)
        return (None, held.radio) if isinstance(held, RadioProfile) else (held, held.radio)
    text = read_text(path)
    if "bytes" in header_of(text):
        return None, calibrate_radio(text, str(path), fitting.get("idle_w"))
    return calibrate_text(text, str(path), **fitting), None


def merge_sweep(path: Path, calibration: Calibration) -> Calibration:
    """The sweep with the radio that a profile at `path` already has; raises CalibrateError where that is of another
    board. What cannot be read there has no radio."""
    try:
        held = load_profile_file(path)
    except ConfigError:
        return calibration
    if held.radio is None:
        return calibration
    _refuse_another_board(path, calibration.origin.board, held.radio.origin.board)
    return msgspec.structs.replace(calibration, radio=held.radio)


def merge_radio(path: Path, radio: CalibratedRadio) -> Calibration | RadioProfile:
    """The radio with the sweep that a profile at `path` already has, or alone; raises ConfigError where something
    stands there that is no profile, and CalibrateError where it is of another board."""
    if not path.exists():
        return RadioProfile(radio=radio)
    held = load_profile_file(path)
    if isinstance(held, RadioProfile):
        return RadioProfile(radio=radio)
    _refuse_another_board(path, radio.origin.board, held.origin.board)
    return msgspec.structs.replace(held, radio=radio)


def _refuse_another_board(path: Path, new: str | None, old: str | None) -> None:
    if None not in (new, old) and new != old:
        raise CalibrateError(f"{path}: holds a profile of {old}, this is of {new}; give another --out")


def _table(name: str, table: Mapping[str, Any]) -> list[str]:
    inner = {key: value for key, value in table.items() if _is_table(value)}
    lines = ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items() if key not in inner)]
    for key, value in inner.items():
        lines += _table(f"{name}.{key}", value) if isinstance(value, dict) else _array(f"{name}.{key}", value)
    return lines


def _array(name: str, elements: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for element in elements:
        lines += ["", f"[[{name}]]", *(f"{key} = {_value(inner)}" for key, inner in element.items())]
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
