"""What the server tells the process of virtual boards."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomllib

from firmware_profiles.strict import parse_toml
from server.boards import fleet_toml
from server.broker import BrokerAddress
from server.config import BoardConfig, RunConfig
from server.errors import ConfigError
from server.run_dir import RunDir
from tools.boards.faults import Faults
from tools.boards.fleet_config import FleetConfig
from tools.boards.radio import RadioConfig

CONFIG = RunConfig(seed=3, boards=(BoardConfig(id="b", profile="jetson-nano", storage_samples=7),))


@pytest.mark.parametrize(("attempt", "name"), [(1, "boards"), (2, "boards-2"), (11, "boards-11")])
def test_each_attempt_has_its_folder(tmp_path: Path, attempt: int, name: str) -> None:
    told = tomllib.loads(fleet_toml(CONFIG, RunDir(tmp_path), BrokerAddress("127.0.0.1", 9), attempt))
    board = {"id": "b", "profile": "jetson-nano", "data": str(tmp_path / "data" / "b.npz"), "storage_samples": 7}
    board["runtime"] = "torch"
    assert told == {
        "broker": "127.0.0.1:9", "fleet": "demo", "seed": 3, "dir": str(tmp_path / name), "board": [board]
    }  # fmt: skip


def test_boards_cannot_join_with_a_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[\[boards\]\] need the embedded broker"):
        fleet_toml(CONFIG, RunDir(tmp_path), BrokerAddress("h", 9, username="me", password="secret"))


def test_faults_and_radio_are_passed_on(tmp_path: Path) -> None:
    board = BoardConfig(
        id="b", profile="raspberry-pi-4b", faults={"clock_not_applied": True, "clock_boost": 0.1},
        radio={"bandwidth_hz": 4e5, "path_loss_db": 60.0, "fading": "rayleigh"},
    )  # fmt: skip
    config = RunConfig(boards=(board, BoardConfig(id="c", profile="jetson-nano")))
    text = fleet_toml(config, RunDir(tmp_path), BrokerAddress("127.0.0.1", 9))
    first, second = parse_toml(text, FleetConfig, "FLEET.toml").board
    assert first.faults == Faults(clock_not_applied=True, clock_boost=0.1)
    assert first.radio == RadioConfig(bandwidth_hz=4e5, path_loss_db=60.0, fading="rayleigh")
    assert (second.faults, second.radio) == (Faults(), None)
