"""What a command was given: the run file with its data, and lists of numbers."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import ConfigError

if TYPE_CHECKING:
    from server.config import RunConfig
    from server.data.dataset import Dataset


def data_of(config_file: Path | None, source: str | None = None) -> tuple[RunConfig, Dataset]:
    """RUN.toml and its data set, or the defaults of one with a data set of its own (`source`, below the folder that
    the command runs in); raises ConfigError unless one of the two is given."""
    from server.config import DataConfig, RunConfig, load_config
    from server.data.load import load_dataset

    if (config_file is None) == (source is None):
        raise ConfigError("give either RUN.toml or --data SOURCE")
    if config_file is not None:
        config, base = load_config(config_file), config_file.resolve().parent
    else:
        config, base = RunConfig(data=DataConfig(source=source or "")), Path.cwd()
    data = config.data
    return config, load_dataset(data.source, image_size=data.image_size, seed=data.split_seed, base=base)


def numbers(text: str, option: str) -> list[int]:
    """ "1,2,3" -> [1, 2, 3]; raises ConfigError that names `option`."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option}: {text!r}; whole numbers with commas between them") from None


def seeds(text: str, option: str = "--seeds") -> list[int]:
    """As `numbers`, from 0 up."""
    found = numbers(text, option)
    if min(found) < 0:
        raise ConfigError(f"{option}: {text!r}; whole numbers from 0 up")
    return found


def decimals(text: str, option: str) -> list[float]:
    """ "1,1.5" -> [1.0, 1.5]; raises ConfigError that names `option`."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise ConfigError(f"{option}: {text!r}; numbers with commas between them")
    return values


Check = tuple[Callable[[float], bool], str]
"""Whether a value will do, and what would."""
FROM_0: Check = (lambda n: n >= 0, "a whole number from 0 up")
FROM_1: Check = (lambda n: n >= 1, "a whole number from 1 up")
MORE_THAN_0: Check = (lambda n: 0 < n < math.inf, "a number above 0")
GREY: Check = (lambda n: 0 <= n <= 255, "a grey level from 0 to 255")


def check_values(arguments: argparse.Namespace, checks: Mapping[str, Check]) -> None:
    """Raise ConfigError for the first of these options that was given a value, or a list with one, that will not do."""
    for name, (allowed, right) in checks.items():
        given = getattr(arguments, name)
        for value in given if isinstance(given, list) else [given]:
            if value is not None and not allowed(value):
                raise ConfigError(f"--{name.replace('_', '-')}: {value:g}; {right}")
