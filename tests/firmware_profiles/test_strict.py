"""Every wrong file gets one sentence: file, path of the field, what is wrong, what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from firmware_profiles.strict import ConfigError, load_toml, parse_toml


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    cores: Annotated[int, msgspec.Meta(ge=1)] = 1
    power_w: Annotated[float, msgspec.Meta(gt=0, le=50)] = 1.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    round_s: Annotated[float, msgspec.Meta(gt=0)]
    basis: Literal["added", "board"] = "added"
    board: tuple[Board, ...] = ()
    limits_hz: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.limits_hz and self.limits_hz[0] > self.limits_hz[1]:
            raise ValueError("limits_hz: the first is above the second; give them as [low, high]")


def parse(text: str) -> Settings:
    return parse_toml(text, Settings, "RUN.toml")


def test_a_right_file_becomes_a_value() -> None:
    assert parse('round_s = 30\n[[board]]\nid = "a"') == Settings(round_s=30.0, board=(Board(id="a"),))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "RUN.toml: round_s: is missing; it must be given in seconds"),
        ("round_s = 1\nbasys = 'board'", "RUN.toml: basys: unknown field; did you mean `basis`?"),
        ("round_s = 1\nq = 1", "RUN.toml: q: unknown field; known here: round_s, basis, board, limits_hz"),
        ("round_ms = 1", "RUN.toml: round_ms: wrong unit; give `round_s` in seconds"),
        ("round_s = '30 s'", "RUN.toml: round_s: '30 s' is a string; it must be a number in seconds"),
        ("round_s = 0", "RUN.toml: round_s: 0 is out of range; it must be a number > 0.0 in seconds"),
        ("round_s = nan", "RUN.toml: round_s: nan is not finite; give a finite number"),
        ("round_s = 1\nbasis = 'wall'", "RUN.toml: basis: 'wall' is not known; it must be one of 'added', 'board'"),
        ("round_s = 1\n[[board]]", "RUN.toml: board[0].id: is missing; it must be given"),
        ("round_s = 1\n[[board]]\nid='a'\n[[board]]\nid='b'\npower_mw=3",
         "RUN.toml: board[1].power_mw: wrong unit; give `power_w` in watts"),
        ("round_s = 1\n[[board]]\nid='a'\ncores=0",
         "RUN.toml: board[0].cores: 0 is out of range; it must be a whole number >= 1"),
        ("round_s = 1\n[[board]]\nid='a'\ncores=1.5",
         "RUN.toml: board[0].cores: 1.5 is a number; it must be a whole number"),
        ("round_s = 1\n[[board]]\nid='a'\ncores=true",
         "RUN.toml: board[0].cores: true is true or false; it must be a whole number"),
        ("round_s = 1\n[board]\nid='a'", "RUN.toml: board: what is given is a table; it must be an array"),
        ("round_s = 1\nlimits_hz = [2.0, 1.0]",
         "RUN.toml: limits_hz: the first is above the second; give them as [low, high]"),
        ("round_s = ", "RUN.toml: Invalid value (at end of document); it must be valid TOML"),
    ],
)  # fmt: skip
def test_a_wrong_file_gets_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value) == sentence


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: no such file; give the path of a TOML file"):
        load_toml(tmp_path / "none.toml", Settings)
    with pytest.raises(ConfigError, match="readable TOML file"):
        load_toml(tmp_path, Settings)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"a = '\xe9'")
    with pytest.raises(ConfigError, match="byte 5 is not UTF-8"):
        load_toml(latin, Settings)
