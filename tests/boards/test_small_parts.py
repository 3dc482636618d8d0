"""Link meter, ledger, FLEET.toml and the command's sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_profiles.strict import ConfigError, parse_toml
from tools.boards import cli
from tools.boards.fleet_config import FleetConfig, broker_address
from tools.boards.ledger import FIELDS, Ledger, read_ledger
from tools.boards.link import LinkMeter

BOARD = '[[board]]\nid = "a"\nprofile = "jetson-nano"\ndata = "a.npz"\n'
HEAD = 'broker = "127.0.0.1:1883"\nfleet = "demo"\n'


def test_both_directions_at_once_count_once() -> None:
    meter = LinkMeter()
    meter.add(10.0, 10.3)
    meter.add(10.1, 10.4)
    meter.add(10.2, 10.25)
    meter.add(11.0, 11.1)
    assert meter.drain(0.3) == pytest.approx(0.3)
    assert meter.drain(1.0) == pytest.approx(0.2)
    assert meter.drain(1.0) == 0.0


def test_a_ledger_window_is_a_difference(tmp_path: Path) -> None:
    path = tmp_path / "x.ledger.jsonl"
    ledger = Ledger(path, {"id": "x"})
    for t in (1.0, 2.0, 4.0):
        ledger.append({"t": t, **dict.fromkeys(FIELDS, 10 * t)})
    ledger.close()
    with path.open("a") as file:
        file.write('{"t": 5.0, "true')  # cut short by a crash
    truth = read_ledger(path)
    assert truth.unit == {"event": "unit", "id": "x"}
    assert truth.between(1.5, 3.0)["true_j"] == pytest.approx(15.0)


def test_a_fleet_file() -> None:
    fleet = parse_toml(HEAD + BOARD, FleetConfig, "FLEET.toml")
    assert (fleet.seed, fleet.dir, fleet.usable_share) == (0, "boards", 0.75)
    assert broker_address(fleet.broker) == ("127.0.0.1", 1883)
    assert broker_address("mqtt://[::1]:1884") == ("::1", 1884)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (HEAD, "FLEET.toml: board: is missing; it must be given"),
        (HEAD + "board = []", "FLEET.toml: board: is empty; give at least one [[board]]"),
        (HEAD + BOARD + BOARD, "FLEET.toml: board: id 'a' stands twice; give each board its own"),
        (HEAD + BOARD + "storage = 4", "FLEET.toml: board[0].storage: unknown field; did you mean `storage_samples`?"),
        (HEAD + BOARD + "link_mbit_per_s = 4",
         "FLEET.toml: board[0].link_mbit_per_s: unknown field; did you mean `link_bytes_per_s`?"),
        (HEAD.replace("127.0.0.1:1883", "localhost") + BOARD,
         "FLEET.toml: broker: 'localhost' is no address; give host:port"),
        (HEAD.replace("127", "mqtts://127") + BOARD,
         "FLEET.toml: broker: 'mqtts://127.0.0.1:1883' is not plain MQTT; virtual boards relay mqtt://host:port only"),
        (HEAD.replace("127", "mqtt://me:secret@127") + BOARD,
         "FLEET.toml: broker: has a user; virtual boards relay a broker without passwords, give mqtt://host:port"),
        (HEAD + "usable_share = 2\n" + BOARD,
         "FLEET.toml: usable_share: 2 is out of range; it must be a number <= 0.95"),
    ],
)  # fmt: skip
def test_a_wrong_fleet_file_gets_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_toml(text, FleetConfig, "FLEET.toml")
    assert str(caught.value) == sentence


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    assert "raspberry-pi-5        11 clocks 1000-2400 MHz, 4.4-7.9 W, pmic-vcgencmd, wifi" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["fleet", "none.toml"], 2, "fimi-board: none.toml: no such file; give the path of a TOML file"),
        (["one", "--profile", "pi-9", "--broker", "h:1", "--data", "x"], 2, "profile 'pi-9' is not known; use one of"),
        (["one", "--profile", "jetson-nano", "--broker", "h", "--data", "x"], 2, "--broker: 'h' is no address"),
        (
            ["one", "--profile", "jetson-nano", "--broker", "h:1", "--data", "x", "--id", "../../x"],
            2,
            "fimi-board: --id: '../../x' is out of range; it must be a string matching regex '^[A-Za-z0-9]",
        ),
        (
            ["one", "--profile", "jetson-nano", "--broker", "h:1", "--data", "x", "--storage-samples", "-3"],
            2,
            "fimi-board: --storage-samples: -3 is out of range; it must be a whole number >= 0 in samples\n",
        ),
        (
            ["one", "--profile", "jetson-nano", "--broker", "h:1", "--data", "x", "--fleet", "a/b"],
            2,
            "fimi-board: --fleet: 'a/b' is out of range; it must be a string matching regex",
        ),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == code
    assert sentence in capsys.readouterr().err


def test_a_board_of_one_s_own_profile_is_named_after_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after its path, which would be a folder somewhere else."""
    seen: list[FleetConfig] = []

    async def run(config: FleetConfig, base: Path) -> None:
        seen.append(config)

    monkeypatch.setattr(cli, "_run", run)
    profile = str(tmp_path / "my-board.toml")
    assert cli.main(["one", "--profile", profile, "--broker", "h:1", "--data", "x"]) == 0
    assert [(board.id, board.profile) for board in seen[0].board] == [("my-board", profile)]
