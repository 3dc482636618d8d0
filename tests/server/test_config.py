"""RUN.toml: what is accepted, and what the refusals say."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from server.config import RunConfig, Section, load_config
from server.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def config_of(tmp_path: Path, text: str) -> RunConfig:
    path = tmp_path / "RUN.toml"
    path.write_text(text)
    return load_config(path)


def test_three_boards_are_the_fleet(tmp_path: Path) -> None:
    boards = "".join(f'[[boards]]\nid = "b{i}"\nprofile = "jetson-nano"\n' for i in range(3))
    config = config_of(tmp_path, 'strategy = "tfl"\n' + boards)
    assert (config.strategies, config.n_devices, config.quorum) == (("tfl",), 3, 3)


@pytest.mark.parametrize(("quorum", "updates"), [("2", 2), ("0.5", 3), ("1.0", 5), ("0.01", 1)])
def test_a_quorum_is_a_number_or_a_share(tmp_path: Path, quorum: str, updates: int) -> None:
    assert config_of(tmp_path, f"[fleet]\ndevices = 5\nquorum = {quorum}\n").quorum == updates


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fleet]\ndevics = 3\n", r"RUN\.toml: fleet\.devics: .*devices"),
        ("[training]\nrounds = 0\n", r"RUN\.toml: training\.rounds: "),
        ("[data]\npublic_fraction = 1.5\n", r"RUN\.toml: data\.public_fraction: "),
        ("[broker]\nchunk_bytes = 1023\n", r"RUN\.toml: broker\.chunk_bytes: 1023 is out of range; .* >= 1024"),
        (
            "[broker]\nchunk_bytes = 2000000\n",
            r"RUN\.toml: broker\.chunk_bytes: 2000000 .* <= 1048576",
        ),
        (
            '[synth]\ntemplate = "a photo"\n[fleet]\ndevices = 1\n',
            r'synth\.template: "a photo" has no place .*\{class\}',
        ),
        ("[profile]\nwindow_ms = 4\n", r"RUN\.toml: profile\.window_ms: "),
        ('[[boards]]\nid = "a b"\nprofile = "x"\n', r"RUN\.toml: boards\[0\]\.id: "),
        ("[profile]\nfreqs = 2\n", r"RUN\.toml: profile\.freqs: 2 is out of range; it must be a whole number >= 3"),
        ("broker = 3\n[fleet]\ndevices = 1\n", r"RUN\.toml: broker: 3 is a whole number; it must be a table"),
        ("", r"RUN\.toml: fleet\.devices: is missing; give the number of devices"),
        (f'name = "{"n" * 41}"\n[fleet]\ndevices = 1\n', r"RUN\.toml: name: has 41 characters; at most 40"),
        ("strategy = []\n[fleet]\ndevices = 1\n", r"RUN\.toml: strategy: is empty; name one"),
        ('strategy = ["tfl", "tfl"]\n[fleet]\ndevices = 1\n', "names a strategy twice"),
        ('strategy = "best"\n[fleet]\ndevices = 1\n', r"RUN\.toml: strategy"),
        ('[fleet]\ndevices = 2\n[[boards]]\nid = "a"\nprofile = "x"\n', r"fleet\.devices: is 2; there are 1 "),
        ('[[boards]]\nid = "a"\nprofile = "x"\n[[boards]]\nid = "a"\nprofile = "x"\n', "stands for 2 boards"),
        ('[fleet]\ndevices = 1\n[training]\nstop_at = "fimi"\n', r'training\.stop_at: is "fimi"; name .* "tfl"'),
        ("[fleet]\ndevices = 2\nquorum = 3\n", r"fleet\.quorum: is 3; at most the number of devices, 2"),
        ('[fleet]\ndevices = 1\n[broker]\nlisten = "0.0.0.0"\n', r"broker\.listen: .*open_to_network = true"),
        ('[fleet]\ndevices = 1\n[broker]\nurl = "mqtt://h"\nport = 9\n', r"broker\.port: is 9; "),
        (
            '[fleet]\ndevices = 1\n[broker]\nca_file = "ca.pem"\n',
            r"broker\.ca_file: .* without TLS; give broker\.url mqtts",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_path(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(tmp_path, text)


@pytest.mark.parametrize("url", ["embedded", "mqtts://me:secret@h:99"])
def test_a_broker_may_be_its_address_alone(tmp_path: Path, url: str) -> None:
    short = config_of(tmp_path, f'broker = "{url}"\n[fleet]\ndevices = 1\n')
    assert short == config_of(tmp_path, f'[fleet]\ndevices = 1\n[broker]\nurl = "{url}"\n')
    assert short.broker.url == url


def test_opening_the_broker_takes_the_flag(tmp_path: Path) -> None:
    text = '[fleet]\ndevices = 1\n[broker]\nlisten = "0.0.0.0"\nopen_to_network = true\n'
    assert config_of(tmp_path, text).broker.open_to_network


def sections() -> list[tuple[str, type[Section]]]:
    found: list[tuple[str, type[Section]]] = [("", RunConfig)]
    for field in msgspec.structs.fields(RunConfig):
        for part in (field.type, *getattr(field.type, "__args__", ())):
            if isinstance(part, type) and issubclass(part, Section):
                found.append((field.name, part))
    return found


@pytest.mark.parametrize(("name", "section"), sections())
def test_every_setting_is_documented(name: str, section: type[Section]) -> None:
    text = (ROOT / "server" / "README.md").read_text()
    for field in msgspec.structs.fields(section):
        setting = f"{name}.{field.name}" if name else field.name
        assert re.search(rf"`{re.escape(setting)}`", text), f"server/README.md does not explain `{setting}`"
