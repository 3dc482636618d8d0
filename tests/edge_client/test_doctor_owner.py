"""The doctor's lines on the user and on the owner's rules."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from edge_client.conditions import Conditions, Hours, Rules
from edge_client.config import ClientConfig, LimitsConfig
from edge_client.doctor import owner
from edge_client.doctor.command import examine
from edge_client.hardware.board import discover
from tests.edge_client.trees import nano, put, settings

ME = pwd.getpwuid(os.geteuid()).pw_name
OWN_GROUP = grp.getgrgid(os.getegid()).gr_name


def test_the_user_and_its_groups_are_named(tmp_path: Path) -> None:
    check = owner.user(tmp_path)
    assert check.status == "ok"
    assert check.message.startswith(f"{ME} (groups ") and OWN_GROUP in check.message


def test_a_door_that_is_shut_names_the_group_that_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"dev/vcio": ""})
    assert owner.user(tmp_path).status == "ok"
    monkeypatch.setattr(os, "access", lambda *_: False)
    check = owner.user(tmp_path)
    assert check.status == "degraded"
    assert check.message.endswith(f" may not open /dev/vcio (group {OWN_GROUP})")
    assert check.remedy == f"sudo usermod -aG {OWN_GROUP} {ME}, then log in again, or restart its unit"


def test_the_owner_s_rules_as_they_stand() -> None:
    noon = Conditions(minute=720, temperature_c=70.0)
    assert list(owner.allowed(Rules(), noon)) == []
    (check,) = owner.allowed(Rules(max_temperature_c=75.0), noon)
    assert (check.status, check.message) == ("ok", "[limits] allows work now")
    (check,) = owner.allowed(Rules(max_temperature_c=60.0), noon)
    assert (check.status, check.message) == (
        "degraded",
        "no work now: its processor is at 70 C, it works up to 60 C",
    )
    lacking, check = owner.allowed(Rules(min_battery_share=0.5, hours=Hours.parse("22:00-06:00")), noon)
    assert lacking.message == "cannot be kept: min_battery_percent: no battery tells its charge"
    assert check.message == "no work now: it works between 22:00-06:00 only, and it is 12:00"


def test_both_stand_in_the_report(tmp_path: Path) -> None:
    fs = nano(tmp_path)
    config = ClientConfig(root=str(tmp_path), runtime="numpy", limits=LimitsConfig(max_temperature_c=10.0))
    found = examine(config, discover(fs, settings(tmp_path)), settings(tmp_path), "1.0")
    names = [check.name for check in found.checks]
    assert names.count("user") == names.count("limits") == 1
