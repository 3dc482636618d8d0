"""When a board may work: rules by hand, readings from boards' files, and what the session makes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_client.agent import conditions as watching
from edge_client.conditions import Conditions, Hours, Obstacle, Rules, obstacle, untold
from edge_client.events import Barred, Close, Closed, Drop, Heard, Publish
from edge_client.hardware.board import discover
from edge_client.hardware.supply import Supply, read_supply, read_temperature_c
from edge_client.hardware.sysfs import SysFs
from edge_client.protocol.messages import ProfileRequest, Refusal
from tests.edge_client import captured
from tests.edge_client.session_states import (
    DONE,
    FETCHING,
    NETWORK,
    READY,
    SENDING,
    SETTLING,
    TRAINING,
    closed,
    go,
    refused,
    task,
)
from tests.edge_client.trees import put, settings

NOON = 12 * 60


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("22:00-06:30", [22 * 60, 0, 6 * 60 + 29], [6 * 60 + 30, NOON, 22 * 60 - 1]),
        ("09:00-17:00", [9 * 60, 16 * 60 + 59], [17 * 60, 8 * 60 + 59, 0]),
    ],
)
def test_hours_may_go_over_midnight(text: str, inside: list[int], outside: list[int]) -> None:
    hours = Hours.parse(text)
    assert all(hours.hold(minute) for minute in inside)
    assert not any(hours.hold(minute) for minute in outside)
    assert str(hours) == text


@pytest.mark.parametrize("text", ["", "22-6", "24:00-06:00", "10:60-11:00", "10:00-10:00", "22:00 - 06:00"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no span of the day; give one as 22:00-06:30"):
        Hours.parse(text)


COLD = Obstacle("temperature", "")
LOW = Obstacle("battery", "")


@pytest.mark.parametrize(
    ("rules", "now", "before", "reason"),
    [
        (Rules(), Conditions(NOON, 99.0, 0.01, fed=False), None, None),
        (Rules(max_temperature_c=80), Conditions(NOON, 80.0), None, None),
        (Rules(max_temperature_c=80), Conditions(NOON, 80.6), None, "its processor is at 81 C, it works up to 80 C"),
        (Rules(max_temperature_c=80), Conditions(NOON, 76.0), COLD, "its processor is at 76 C, it works up to 75 C"),
        (Rules(max_temperature_c=80), Conditions(NOON, 75.0), COLD, None),
        (Rules(max_temperature_c=80), Conditions(NOON, 76.0), LOW, None),  # something else was in the way
        (Rules(max_temperature_c=80), Conditions(NOON), None, None),
        (
            Rules(min_battery_share=0.3),
            Conditions(NOON, battery_share=0.29, fed=False),
            None,
            "its battery is at 29%, it works from 30%",
        ),
        (
            Rules(min_battery_share=0.3),
            Conditions(NOON, battery_share=0.34, fed=None),
            LOW,
            "its battery is at 34%, it works from 35%",
        ),
        (Rules(min_battery_share=0.3), Conditions(NOON, battery_share=0.1, fed=True), None, None),
        (
            Rules(only_when_fed=True),
            Conditions(NOON, fed=False),
            None,
            "it works while it charges only, and it runs on its battery",
        ),
        (Rules(only_when_fed=True), Conditions(NOON, fed=None), None, None),
        (
            Rules(hours=Hours.parse("22:00-06:00")),
            Conditions(9 * 60 + 5),
            None,
            "it works between 22:00-06:00 only, and it is 09:05",
        ),
    ],
)
def test_why_a_board_may_not_work(rules: Rules, now: Conditions, before: Obstacle | None, reason: str | None) -> None:
    found = obstacle(rules, now, before)
    assert (found.reason if found else None) == reason


def test_rules_about_what_nothing_tells_are_named() -> None:
    rules = Rules(max_temperature_c=80, min_battery_share=0.2, only_when_fed=True)
    assert [lack.split(":")[0] for lack in untold(rules, Conditions(0))] == [
        "max_temperature_c", "min_battery_percent", "only_when_charging",
    ]  # fmt: skip
    assert untold(rules, Conditions(0, 50.0, 0.5, fed=True)) == []


# ---- what boards show ----

BATTERY = "sys/class/power_supply/BAT0"
MAINS = "sys/class/power_supply/AC"
MOUSE = "sys/class/power_supply/hidpp_battery_0"


def test_a_board_without_a_battery_is_fed(tmp_path: Path) -> None:
    assert read_supply(SysFs(tmp_path)) == Supply(None, fed=True)
    mouse = {f"{MOUSE}/type": "Battery", f"{MOUSE}/scope": "Device", f"{MOUSE}/capacity": 3}
    assert read_supply(put(tmp_path, {**mouse, f"{MOUSE}/status": "Discharging"})) == Supply(None, fed=True)


@pytest.mark.parametrize(
    ("status", "online", "fed"),
    [("Discharging", 0, False), ("Charging", 1, True), ("Full", 1, True), ("Not charging", 1, True),
     ("Discharging", 1, False), ("Unknown", 0, False), ("Unknown", None, None)],
)  # fmt: skip
def test_a_battery_and_its_charger(status: str, online: int | None, fed: bool | None, tmp_path: Path) -> None:
    files: dict[str, object] = {f"{BATTERY}/type": "Battery", f"{BATTERY}/capacity": 57, f"{BATTERY}/status": status}
    if online is not None:
        files |= {f"{MAINS}/type": "Mains", f"{MAINS}/online": online}
    assert read_supply(put(tmp_path, files)) == Supply(0.57, fed)


def test_the_lower_of_two_batteries_counts_and_nonsense_does_not(tmp_path: Path) -> None:
    second = "sys/class/power_supply/BAT1"
    files = {f"{BATTERY}/type": "Battery", f"{BATTERY}/capacity": 57, f"{second}/type": "Battery"}
    assert read_supply(put(tmp_path, {**files, f"{second}/capacity": 31})).battery_share == 0.31
    assert read_supply(put(tmp_path, {f"{second}/capacity": 255})).battery_share == 0.57


@pytest.mark.parametrize(
    ("told", "left_j"),
    [
        ({"energy_now": 10_000_000}, 36_000.0),  # 10 Wh
        ({"charge_now": 2_000_000, "voltage_now": 3_700_000}, 26_640.0),  # 2 Ah at 3.7 V
        ({"energy_now": 0}, 0.0),
        ({"energy_now": -5}, None),
        ({"charge_now": 2_000_000}, None),
        ({"charge_now": 2_000_000, "voltage_now": 0}, None),
        ({}, None),
    ],
    ids=["energy", "charge", "empty", "below nothing", "no volts", "0 volts", "nothing"],
)
def test_joules_left_in_a_battery(told: dict[str, object], left_j: float | None, tmp_path: Path) -> None:
    files = {f"{BATTERY}/{name}": value for name, value in {"type": "Battery", **told}.items()}
    assert read_supply(put(tmp_path, files)).battery_j == (None if left_j is None else pytest.approx(left_j))


def test_joules_of_two_batteries_add_and_are_unknown_where_one_does_not_tell(tmp_path: Path) -> None:
    second = "sys/class/power_supply/BAT1"
    files: dict[str, object] = {f"{one}/type": "Battery" for one in (BATTERY, second)}
    assert read_supply(put(tmp_path, {**files, f"{BATTERY}/energy_now": 1_000_000})).battery_j is None
    assert read_supply(put(tmp_path, {f"{second}/energy_now": 500_000})).battery_j == pytest.approx(5400.0)


@pytest.mark.parametrize(
    ("status", "left_j"), [("Discharging", 3600.0), ("Charging", None), ("Full", None), ("Unknown", None)]
)
def test_a_battery_counts_while_nothing_charges_the_board(status: str, left_j: float | None, tmp_path: Path) -> None:
    fs = put(
        tmp_path,
        {f"{BATTERY}/type": "Battery", f"{BATTERY}/status": status, f"{BATTERY}/energy_now": 1_000_000},
    )
    assert discover(fs, settings(tmp_path)).battery_j() == left_j


def test_the_processors_zone_is_found_among_others(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone"
    files = {f"{zone}0/type": "AO-therm", f"{zone}0/temp": 30000, f"{zone}1/type": "CPU-therm", f"{zone}1/temp": 41500}
    assert read_temperature_c(put(tmp_path, files)) == 41.5
    assert read_temperature_c(put(tmp_path, {f"{zone}1/temp": "nonsense"})) is None
    assert read_temperature_c(SysFs(tmp_path / "nothing")) is None


@pytest.mark.parametrize("tree", ["jetson-nano", "jetson-orin-nano", "raspberry-pi-5", "x86-rapl"])
def test_captured_boards_are_fed_and_warm(tree: str, tmp_path: Path) -> None:
    now = discover(captured.board(tree, tmp_path), settings(tmp_path)).conditions(time.gmtime(0))
    assert now.minute == 0
    assert now.fed is True
    assert now.temperature_c is not None
    assert 20 < now.temperature_c < 90


# ---- what the session makes of it ----


def test_a_task_is_refused_while_work_is_forbidden() -> None:
    barred, commands = go(READY, Barred("it is too hot"))
    assert commands == []
    state, commands = go(barred, task())
    assert refused(commands) == "it is too hot"
    assert state.phase == "ready"
    allowed, _ = go(state, Barred(None))
    assert go(allowed, task())[0].phase == "fetching"


@pytest.mark.parametrize("busy", [FETCHING, TRAINING])
def test_a_task_under_way_ends_and_says_why(busy: object) -> None:
    state, commands = go(busy, Barred("its battery is at 9%"))  # type: ignore[arg-type]
    assert commands == [Drop(), Close(task(), "failed", "its battery is at 9%")]
    state, commands = go(state, Closed(closed()))
    assert (state.phase, commands) == ("ready", [Publish(closed())])


@pytest.mark.parametrize("sent", [SENDING, SETTLING, DONE])
def test_what_is_trained_may_still_be_sent(sent: object) -> None:
    state, commands = go(sent, Barred("it is too hot"))  # type: ignore[arg-type]
    assert commands == []
    assert state.phase == sent.phase  # type: ignore[attr-defined]


def test_a_profile_is_refused_and_one_under_way_ends() -> None:
    request = ProfileRequest(run="r", network=NETWORK, batch_size=4, freqs_hz=(1e9,), window_s=1.0, settle_s=0.0)
    profiling, _ = go(READY, request)
    state, commands = go(profiling, Barred("it is too hot"))
    assert commands[0] == Drop()
    assert refused(commands[1:]) == "it is too hot"
    assert refused(go(state, Heard(request))[1]) == "it is too hot"
    refusal = commands[1]
    assert isinstance(refusal, Publish)
    assert isinstance(refusal.message, Refusal)
    assert refusal.message.run == "r"


# ---- the watch ----


async def test_the_watch_says_what_is_in_the_way_now(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone0"
    board = discover(put(tmp_path, {f"{zone}/type": "cpu-thermal", f"{zone}/temp": 50000}), settings(tmp_path))
    said: list[Barred] = []
    degrees = iter([50, 81, 90, 77, 74, 60])
    ended = asyncio.Event()

    def local_time(temperatures: Iterator[int] = degrees) -> time.struct_time:
        """Called before each look; the board's temperature moves on with it."""
        try:
            put(tmp_path, {f"{zone}/temp": next(temperatures) * 1000})
        except StopIteration:
            ended.set()
        return time.gmtime(0)

    watch = asyncio.create_task(watching.watch(board, Rules(max_temperature_c=80), said.append, 0.0, local_time))
    await asyncio.wait_for(ended.wait(), 30)
    watch.cancel()
    assert said == [
        Barred("its processor is at 81 C, it works up to 80 C"),
        Barred("its processor is at 90 C, it works up to 75 C"),
        Barred("its processor is at 77 C, it works up to 75 C"),
        Barred(None),
    ]
