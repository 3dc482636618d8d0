"""Problems and plans as JSON files, `fleet.json` and `plan.json`: strictly checked, read and written in pieces.

A million devices as objects would not fit into memory. So a file is first cut into its devices, which costs a pass over
its bytes, and only a piece of them at a time becomes objects and then columns. Written is one device a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from server.errors import ConfigError
from server.plan.file_columns import Place, device_files, devices_of, share_files, shares_of
from server.plan.file_forms import CurveFile, DeviceFile, FleetFile, FleetHead, PlanFile, PlanHead, ShareFile
from server.plan.problem import Devices, LearningCurve, Plan, Problem, Shares

_PIECE = 10_000  # devices
F = TypeVar("F", FleetFile, PlanFile)
D = TypeVar("D", DeviceFile, ShareFile)


def load_problem(path: Path) -> Problem:
    """Raises `ConfigError` with the file's name and the path of what does not fit."""
    return decode_problem(_read(path), str(path))


def load_plan(path: Path) -> Plan:
    """Raises `ConfigError` with the file's name and the path of what does not fit."""
    return decode_plan(_read(path), str(path))


def save_problem(problem: Problem, path: Path) -> None:
    save_bytes(_problem_bytes(problem), path)


def save_plan(plan: Plan, path: Path) -> None:
    save_bytes(_plan_bytes(plan), path)


def encode_problem(problem: Problem) -> bytes:
    """A problem as JSON."""
    return b"".join(_problem_bytes(problem))


def encode_plan(plan: Plan) -> bytes:
    """A plan as JSON."""
    return b"".join(_plan_bytes(plan))


def decode_problem(payload: bytes, name: str = "fleet.json") -> Problem:
    """JSON back into a problem; raises `ConfigError` with the file's name and the path of what does not fit."""
    file = _decode(payload, FleetFile, name)
    parts: list[Devices] = []
    for place, devices in _pieces(file.devices, DeviceFile, name):
        classes = parts[0].local_counts.shape[1] if parts else len(devices[0].local_counts)
        parts.append(devices_of(devices, place, classes))
    fields = _fields(FleetHead, file) | {"learning_curve": LearningCurve(**_fields(CurveFile, file.learning_curve))}
    return Problem(devices=Devices.joined(parts) if parts else Devices.of(()), **fields)


def decode_plan(payload: bytes, name: str = "plan.json") -> Plan:
    """JSON back into a plan; raises `ConfigError` with the file's name and the path of what does not fit."""
    file = _decode(payload, PlanFile, name)
    parts: list[Shares] = []
    for place, shares in _pieces(file.devices, ShareFile, name):
        classes = parts[0].synth_counts.shape[1] if parts else len(shares[0].synth_counts)
        parts.append(shares_of(shares, place, classes))
    return Plan(devices=Shares.joined(parts) if parts else Shares.of(()), **_fields(PlanHead, file))


# ---- reading -----------------------------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the path of a readable JSON file") from None


def _decode(payload: bytes, type_: type[F], name: str) -> F:
    try:
        return msgspec.json.decode(payload, type=type_)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {error}") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{name}: {_with_line(str(error), payload)}") from None


def _with_line(message: str, payload: bytes) -> str:
    """What is no JSON, with its line and the text around it: NaN and Infinity, for example, are none."""
    found = re.search(r"\(byte (\d+)\)", message)
    if found is None:
        return message
    at = int(found[1])
    line = payload.count(b"\n", 0, at) + 1
    there = payload[max(at - 20, payload.rfind(b"\n", 0, at) + 1) : at + 12].partition(b"\n")[0]
    return f"{message}, line {line}: {there.decode(errors='replace')}"


def _pieces(raws: list[msgspec.Raw], type_: type[D], name: str) -> Iterator[tuple[Place, list[D]]]:
    """The devices of a file in pieces; they are let go of as they are read."""
    decoder = msgspec.json.Decoder(list[type_])  # type: ignore[valid-type]
    count = len(raws)
    for first in range(0, count, _PIECE):
        part, place = raws[first : first + _PIECE], Place(name, first)
        try:
            yield place, decoder.decode(b"[" + b",".join(part) + b"]")
        except msgspec.ValidationError as error:
            raise ConfigError(f"{name}: {_placed(str(error), first)}") from None


def _placed(message: str, first: int) -> str:
    """The path in a piece that starts with device `first` as a path in the file."""
    return re.sub(r"`\$\[(\d+)\]", lambda found: f"`$.devices[{first + int(found[1])}]", message)


# ---- writing -----------------------------------------------------------------------------------------------------


def save_bytes(pieces: Iterable[bytes], path: Path) -> None:
    """The whole file or none of it; raises `ConfigError` where it cannot be written."""
    if not path.name:
        raise ConfigError(f"{path}: no name of a file; give a path that can be written")
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.writelines(pieces)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give a path that can be written") from None


def _problem_bytes(problem: Problem) -> Iterator[bytes]:
    head = _fields(FleetHead, problem) | {"learning_curve": CurveFile(**_fields(CurveFile, problem.learning_curve))}
    yield from _file(FleetHead(**head), map(device_files, _cut(problem.devices)))


def _plan_bytes(plan: Plan) -> Iterator[bytes]:
    yield from _file(PlanHead(**_fields(PlanHead, plan)), map(share_files, _cut(plan.devices)))


def _cut(rows: Any) -> Iterator[Any]:
    for first in range(0, len(rows), _PIECE):
        yield rows.take(np.arange(first, min(first + _PIECE, len(rows))))


def _file(head: msgspec.Struct, pieces: Iterable[Iterable[msgspec.Struct]]) -> Iterator[bytes]:
    """The head's fields one a line, then the devices."""
    encoder = msgspec.json.Encoder(enc_hook=lambda number: number.item())  # numpy's scalars
    yield msgspec.json.format(encoder.encode(head), indent=1).removesuffix(b"\n}") + b',\n "devices": ['
    separator = b"\n  "
    for piece in pieces:
        lines = encoder.encode_lines(list(piece))
        yield separator + lines.removesuffix(b"\n").replace(b"\n", b",\n  ")
        separator = b",\n  "
    yield b"\n ]\n}\n"


def _fields(type_: type[msgspec.Struct], source: object) -> dict[str, Any]:
    """The attributes of `source` that bear the names of the struct's fields."""
    return {name: getattr(source, name) for name in type_.__struct_fields__}
