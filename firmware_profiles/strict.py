"""Strict TOML: a file becomes a frozen value of a declared type, or one sentence says what to mend.

A setting that is silently ignored costs more than one that is refused, so unknown fields, wrong units and impossible
ranges all raise `ConfigError`: "<file>: <path.of.field>: <what is wrong>; <what would be right>". Commands that read
TOML end with `EXIT_CODE` on it. Types are `msgspec.Struct`s with `forbid_unknown_fields`, ranges stand in
`Annotated[..., msgspec.Meta(...)]`, and a check across fields is a `__post_init__` that raises
ValueError("<field>: <wrong>; <right>").
"""

from __future__ import annotations

import difflib
import math
import re
import sys
from pathlib import Path
from typing import Any, TypeVar

import msgspec

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - JetPack 6 has Python 3.10
    import tomli as tomllib

T = TypeVar("T")

EXIT_CODE = 2

UNITS = {
    "s": "seconds",
    "j": "joules",
    "w": "watts",
    "hz": "hertz",
    "bytes": "bytes",
    "bits": "bits",
    "c": "degrees Celsius",
    "v": "volts",
    "samples": "samples",
}
_FOREIGN_UNITS = frozenset(
    {
        "ms",
        "us",
        "ns",
        "min",
        "h",
        "seconds",
        "minutes",
        "hours",
        "kj",
        "mj",
        "wh",
        "mw",
        "uw",
        "kw",
        "khz",
        "mhz",
        "ghz",
    }
    | {"mv", "kb", "mb", "kib", "mib", "gib", "kbit", "mbit", "dbm", "k", "f"}
)
_KINDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "a table",
    "null": "nothing",
}
_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


class ConfigError(Exception):
    """A configuration file is wrong: the file, the path of the field, what is wrong, what would be right."""

    exit_code = EXIT_CODE


def load_toml(path: Path, type_: type[T]) -> T:
    """The file at `path` as a `type_`; raises ConfigError."""
    return convert(read_toml(path), type_, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The file at `path` as plain data, for `convert`; raises ConfigError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a TOML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; TOML files are UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the path of a readable TOML file") from None
    return _plain(text, str(path))


def parse_toml(text: str, type_: type[T], source: str) -> T:
    """TOML text as a `type_`; `source` is the file's name in messages. Raises ConfigError."""
    return convert(_plain(text, source), type_, source)


def toml_value(text: str) -> object:
    """A single value as TOML writes it ("1.5e9", "true"); raises ValueError."""
    return tomllib.loads(f"value = {text}")["value"]


def _plain(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: {error}; it must be valid TOML") from None


def convert(data: dict[str, Any], type_: type[T], source: str) -> T:
    """Plain data (as TOML gives it) as a `type_`; raises ConfigError."""
    _refuse_non_finite(data, "", source)
    try:
        return msgspec.convert(data, type_)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_explain(str(error), data, type_)}") from None


def _refuse_non_finite(value: Any, path: str, source: str) -> None:
    """TOML knows nan and inf, no setting does; a comparison with nan is false, so range checks would let it through."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_non_finite(inner, f"{path}.{key}".lstrip("."), source)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_non_finite(inner, f"{path}[{index}]", source)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{source}: {path}: {value} is not finite; give a finite number")


def _explain(message: str, data: Any, type_: Any) -> str:
    """msgspec's message as "<path.of.field>: <wrong>; <right>"."""
    found = _PATH.search(message)
    raw_path = found["path"] if found else "$"
    reason = message[: found.start()] if found else message
    path = raw_path.removeprefix("$").lstrip(".")
    value = _value_at(data, raw_path)

    if match := re.fullmatch(r"Object contains unknown field `(.*)`", reason):
        return _unknown(match[1], path, _fields_at(type_, raw_path))
    if match := re.fullmatch(r"Object missing required field `(.*)`", reason):
        return f"{_join(path, match[1])}: is missing; it must be given{_unit_hint(match[1])}"
    if match := re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`", reason):
        wanted = " or ".join(_KINDS.get(kind, kind) for kind in match[1].split(" | "))
        hint = _unit_hint(path) if match[2] == "str" and re.search("int|float", match[1]) else ""
        return f"{path}: {_show(value, match[2])} is {_KINDS.get(match[2], match[2])}; it must be {wanted}{hint}"
    if match := re.fullmatch(r"Expected `([^`]*)` (.*)", reason):
        bound = f"{_KINDS.get(match[1], match[1])} {match[2]}{_unit_hint(path)}"
        return f"{path}: {_show(value, match[1])} is out of range; it must be {bound}"
    if reason.startswith("Invalid enum value"):
        choices = _choices_at(type_, raw_path)
        return f"{path}: {_show(value, 'str')} is not known; it must be one of {', '.join(map(repr, choices))}"
    # a check across fields (ValueError from __post_init__) already says "<field>: <wrong>; <right>"
    return _join(path, reason)


def _unknown(name: str, path: str, known: list[str]) -> str:
    stem, _, unit = name.rpartition("_")
    siblings = [f for f in known if stem and f.rpartition("_")[0] == stem and f.rpartition("_")[2] in UNITS]
    if siblings and (unit in _FOREIGN_UNITS or unit in UNITS):
        right = siblings[0]
        return f"{_join(path, name)}: wrong unit; give `{right}` in {UNITS[right.rpartition('_')[2]]}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    right = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known) or 'nothing'}"
    return f"{_join(path, name)}: unknown field; {right}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _unit_hint(field: str) -> str:
    unit = re.split(r"[._\[]", field.rstrip("]0123456789"))[-1] if "_" in field else ""
    return f" in {UNITS[unit]}" if unit in UNITS else ""


def _show(value: Any, kind: str) -> str:
    if isinstance(value, (dict, list)) or value is None:
        return "what is given"
    return repr(value) if kind == "str" or not isinstance(value, bool) else str(value).lower()


def _steps(path: str) -> list[str]:
    return [name or index for name, index in _STEP.findall(path.removeprefix("$"))]


def _value_at(data: Any, path: str) -> Any:
    for step in _steps(path):
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and step.isdigit() and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data


def _types_at(type_: Any, path: str) -> list[Any]:
    """The msgspec type descriptions that may stand at `path`."""
    info = msgspec.inspect
    here = [info.type_info(type_)]
    for step in _steps(path):
        inner: list[Any] = []
        for kind in _flat(here):
            if isinstance(kind, info.StructType):
                inner += [field.type for field in kind.fields if field.encode_name == step]
            elif isinstance(kind, (info.ListType, info.VarTupleType)):
                inner.append(kind.item_type)
            elif isinstance(kind, info.TupleType) and step.isdigit():
                inner += kind.item_types[int(step) : int(step) + 1]
            elif isinstance(kind, info.DictType):
                inner.append(kind.value_type)
        here = inner
    return _flat(here)


def _flat(kinds: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for kind in kinds:
        if isinstance(kind, msgspec.inspect.UnionType):
            flat += _flat(list(kind.types))
        elif isinstance(kind, msgspec.inspect.Metadata):
            flat += _flat([kind.type])
        else:
            flat.append(kind)
    return flat


def _fields_at(type_: Any, path: str) -> list[str]:
    structs = [kind for kind in _types_at(type_, path) if isinstance(kind, msgspec.inspect.StructType)]
    return [field.encode_name for struct in structs for field in struct.fields]


def _choices_at(type_: Any, path: str) -> list[Any]:
    kinds = _types_at(type_, path)
    choices: list[Any] = []
    for kind in kinds:
        if isinstance(kind, msgspec.inspect.LiteralType):
            choices += kind.values
        elif isinstance(kind, msgspec.inspect.EnumType):
            choices += [member.value for member in kind.cls]
    return choices
