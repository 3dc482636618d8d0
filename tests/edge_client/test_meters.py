"""Which meter is taken: the user's word, then what sees most of the board; reasons for what is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.config import ClientConfig, PlugConfig, wanted_meter
from edge_client.errors import SetupError
from edge_client.hardware import meters
from edge_client.hardware.ina2xx import Ina2xx
from edge_client.hardware.ina3221 import Ina3221
from edge_client.hardware.interfaces import Missing
from edge_client.hardware.meters import Wanted
from edge_client.hardware.modelled import Modelled
from edge_client.hardware.plug import Plug, PlugSettings
from edge_client.protocol.joining import Address
from firmware_profiles.strict import ConfigError, load_toml
from tests.edge_client import captured

PLUG = PlugSettings("tasmota", Address("broker", 1883), "pi-1")
PI = "Raspberry Pi 4 Model B Rev 1.5"


def test_a_plug_that_was_set_up_goes_first(tmp_path: Path) -> None:
    found = meters.find(captured.board("jetson-nano", tmp_path), "a board", None, Wanted(plug=PLUG))
    assert isinstance(found.meter, Plug)
    assert isinstance(meters.find(captured.board("jetson-nano", tmp_path / "2"), "", None, Wanted()).meter, Ina3221)


def test_what_is_asked_for_is_taken_or_its_reason_given(tmp_path: Path) -> None:
    fs = captured.board("raspberry-pi-4b", tmp_path)
    assert isinstance(meters.find(fs, PI, None, Wanted("hwmon")).meter, Ina2xx)
    assert isinstance(meters.find(fs, PI, None, Wanted("hwmon:1-0040")).meter, Ina2xx)
    assert "hwmon:1-0040" in meters.find(fs, PI, None, Wanted("hwmon:hwmon7")).reason
    assert isinstance(meters.find(fs, PI, None, Wanted("modelled")).meter, Modelled)
    assert "load the module" in meters.find(fs, PI, None, Wanted("rapl")).reason
    assert meters.find(fs, PI, None, Wanted("none")) == meters.Found(None, 'meter = "none"')
    assert "leave --root out" in meters.find(fs, PI, None, Wanted("jtop")).reason


def test_the_model_is_the_last_resort_and_passes_nothing_over_in_silence(tmp_path: Path) -> None:
    none = {"sys/class/hwmon/hwmon2/name": "other"}
    found = meters.find(captured.board("raspberry-pi-4b", tmp_path, none), PI, None, Wanted())
    assert isinstance(found.meter, Modelled)
    assert found.meter.info.source == "modelled"
    off = captured.board("jetson-agx-orin", tmp_path / "agx")
    found = meters.find(off, "NVIDIA Jetson AGX Orin Developer Kit", None, Wanted())
    assert (found.meter, [one.name for one in found.passed_over]) == (None, ["ina3221"])
    assert found.reason.startswith("ina3221: of its rails ")


def test_a_survey_says_of_every_kind_what_it_is_or_why_not(tmp_path: Path) -> None:
    seen = meters.survey(captured.board("raspberry-pi-4b", tmp_path), PI, None, Wanted())
    assert list(seen) == ["plug", "hwmon", "ina3221", "jtop", "pmic", "rapl", "modelled"]
    assert {kind for kind, one in seen.items() if not isinstance(one, Missing)} == {"hwmon", "modelled"}
    assert all(one.reason for one in seen.values() if isinstance(one, Missing))


# ---- client.toml -------------------------------------------------------------------------------------------------


def test_a_plug_in_client_toml(tmp_path: Path) -> None:
    path = tmp_path / "client.toml"
    path.write_text('meter = "plug"\n[plug]\nkind = "shelly"\nbroker = "mqtt://me:secret@host"\ntopic = "plug-1"\n')
    wanted = wanted_meter(load_toml(path, ClientConfig))
    assert wanted == Wanted("plug", PlugSettings("shelly", Address("host", 1883, False, "me", "secret"), "plug-1"))


def test_what_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"^meter: 'watts' is not known; use auto, none, plug, hwmon, ina3221, jtop, "):
        wanted_meter(ClientConfig(meter="watts"))
    with pytest.raises(SetupError, match="'hwmon:' is not known"):
        wanted_meter(ClientConfig(meter="hwmon:"))
    with pytest.raises(SetupError, match=r"^\[plug\]: --broker http://x is no broker") as raised:
        wanted_meter(ClientConfig(plug=PlugConfig(kind="shelly", broker="http://x", topic="t")))
    assert "secret" not in str(raised.value)
    path = tmp_path / "client.toml"
    path.write_text('meter = "plug"\n')
    with pytest.raises(ConfigError, match="add \\[plug\\] with kind, broker and topic"):
        load_toml(path, ClientConfig)
    with pytest.raises(ConfigError, match="profile 'toaster' is not known"):
        meters.find(captured.board("raspberry-pi-4b", tmp_path / "b"), PI, None, Wanted("modelled", profile="toaster"))
