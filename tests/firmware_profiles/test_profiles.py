"""Every shipped profile loads, says where each number comes from, and is refused when one is wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from firmware_profiles.loader import FOLDER, load_profile, shipped
from firmware_profiles.schema import Number, Profile, Table
from firmware_profiles.strict import ConfigError

NAMES = ("jetson-nano", "jetson-orin-nano", "raspberry-pi-3b-plus", "raspberry-pi-4b", "raspberry-pi-5", "x86-rapl")


def coefficients(value: object) -> list[Number | Table]:
    if isinstance(value, (Number, Table)):
        return [value]
    if isinstance(value, msgspec.Struct):
        return [found for field in value.__struct_fields__ for found in coefficients(getattr(value, field))]
    return []


def test_these_profiles_are_shipped() -> None:
    assert shipped() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_profile_loads_and_is_described_in_the_readme(name: str) -> None:
    profile = load_profile(name)
    found = coefficients(profile)
    assert len(found) >= 18
    assert all(number.source for number in found)
    assert {number.provenance for number in found} >= {"assumed", "datasheet"}
    assert f"`{name}`" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_every_field_is_described_in_the_readme() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    profile = load_profile("raspberry-pi-5")
    for section in ("cpu", "power", "thermal", "sensor", "link"):
        for field in getattr(profile, section).__struct_fields__:
            assert f"`{field}`" in text, f"{section}.{field} is not in firmware_profiles/README.md"


def test_known_figures_stand_in_the_profiles() -> None:
    nano, orin, pi3, pi4, pi5, x86 = (load_profile(name) for name in NAMES)
    assert (nano.cpu.opps_hz.value[0], nano.cpu.opps_hz.value[-1]) == (102e6, 1479e6)
    assert (orin.cpu.clusters, len(orin.cpu.opps_hz.value), orin.cpu.opps_hz.value[-1]) == ((4, 2), 20, 1510.4e6)
    assert (x86.cpu.pinning, x86.power.idle_w.value, x86.power.full_w.value) == ("limits", 9.3, 25.0)
    assert (pi3.power.idle_w.value, pi3.power.full_w.value, pi3.cpu.opps_hz.value[-1]) == (1.9, 5.3, 1.4e9)
    assert (pi4.power.idle_w.value, pi4.power.full_w.value) == (2.7, 6.4)
    assert pi4.power.idle_w.provenance == "measured"
    assert pi5.cpu.true_floor_hz is not None
    assert pi5.cpu.true_floor_hz.value == 1.5e9


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("cores = 4", "cores = 0", "cpu.cores: 0 is out of range; it must be a whole number >= 1"),
        ("cores = 4", "kores = 4", "cpu.kores: unknown field; did you mean `cores`?"),
        ("600e6", "600", "cpu.opps_hz: lies outside 10 MHz to 10 GHz; give hertz"),
        ("600e6, ", "", "cpu.voltage_v: has 10 values; give one for each of 9 OPPs"),
        ("600e6, 700e6", "700e6, 600e6", "cpu.opps_hz: is not ascending; sort it"),
        ("0.896", "896", "cpu.voltage_v: lies outside 0.3 to 2; give volts"),
        ("value = 6.4", "value = 2.4", "power.full_w.value: must be above idle_w; give watts at full load"),
        ("value = 6.4", "value = 6400", "power.full_w.value: is above 100; give watts"),
        ("idle_w =", "idle_mw =", "power.idle_mw: wrong unit; give `idle_w` in watts"),
        ('kind = "wifi"', 'kind = "lora"', "link.kind: 'lora' is not known; it must be one of 'ethernet', 'wifi'"),
        ("value = 0.333", "value = 1.0", "cpu.stall_share.value: must be a share; give a number in [0, 1)"),
        ('"measured"', '"guessed"', "'guessed' is not known; it must be one of 'assumed', 'datasheet', 'measured'"),
        ("raspberry-pi-4b", "my-board", "name: 'my-board' is not the file's name; it must be 'raspberry-pi-4b'"),
    ],
)
def test_a_wrong_profile_gets_one_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    text = (FOLDER / "raspberry-pi-4b.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "raspberry-pi-4b.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith(sentence)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'pi-9' is not known; use one of jetson-nano, jetson-orin-nano, "):
        load_profile("pi-9")


def test_schema_is_frozen() -> None:
    profile: Profile = load_profile("jetson-nano")
    with pytest.raises(AttributeError):
        profile.name = "other"  # type: ignore[misc]
