"""Smart plugs: what they say, how old it may be, and one on a broker."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_client.hardware.plug import Plug, PlugSettings, Reading, dialect, parse_shelly, parse_tasmota
from edge_client.protocol.joining import Address
from tests.edge_client.conftest import Broker

# Tasmota's documentation: ENERGY of a plug with one relay.
ENERGY = {
    "TotalStartTime": "2020-10-21T22:15:00", "Total": 3.705, "Yesterday": 0.028, "Today": 0.026, "Period": 1,
    "Power": 5, "ApparentPower": 7, "ReactivePower": 5, "Factor": 0.71, "Voltage": 233, "Current": 0.031,
}  # fmt: skip
SENSOR = {"Time": "2022-01-11T21:57:38", "ENERGY": ENERGY}
# Shelly's documentation: status of a Switch component.
SWITCH = {
    "id": 0, "source": "WS_in", "output": True, "apower": 8.9, "voltage": 237.5, "current": 0.062,
    "aenergy": {"total": 6.532, "by_minute": [45.199, 47.141, 88.397], "minute_ts": 1626935779},
    "temperature": {"tC": 23.5, "tF": 74.4},
}  # fmt: skip


def said(body: object) -> bytes:
    return json.dumps(body).encode()


# ---- messages ----------------------------------------------------------------------------------------------------


def test_tasmota_counts_kilowatt_hours() -> None:
    assert parse_tasmota(said(SENSOR)) == Reading(5.0, pytest.approx(3.705 * 3.6e6))
    assert parse_tasmota(said({"StatusSNS": SENSOR})) == Reading(5.0, pytest.approx(3.705 * 3.6e6))
    assert parse_tasmota(said({"ENERGY": {"Power": 5.25}})) == Reading(5.25, None)  # with WattRes 2


def test_shelly_counts_watt_hours() -> None:
    assert parse_shelly(said(SWITCH)) == Reading(8.9, pytest.approx(6.532 * 3.6e3))
    answer = {"id": 1, "src": "shellyplusplugs-1", "dst": "fimi-1", "result": SWITCH}
    assert parse_shelly(said(answer)) == Reading(8.9, pytest.approx(6.532 * 3.6e3))
    assert parse_shelly(said({"apower": 4})) == Reading(4.0, None)


@pytest.mark.parametrize("power", [0, -1, None, True, "5", [5, 0], {"1": 5}, float("inf")])
def test_what_is_no_power_is_no_reading(power: object) -> None:
    assert parse_tasmota(said({"ENERGY": ENERGY | {"Power": power}})) is None
    assert parse_shelly(said(SWITCH | {"apower": power})) is None


@pytest.mark.parametrize("payload", [b"", b"Online", b"[]", b"5", b'{"ENERGY": 5}', b"{}", b'{"Time": "x"}', b"\xff"])
def test_other_messages_are_left_aside(payload: bytes) -> None:
    assert parse_tasmota(payload) is None
    assert parse_shelly(payload) is None


def test_both_see_the_wall_slowly() -> None:
    for kind in ("tasmota", "shelly"):
        info = dialect(kind, "t").info
        assert (info.name, info.boundary, info.period_s) == (kind, "wall", 1.0)
        assert info.lag_s >= 1.0
        assert info.offset_w >= 0.1


# ---- on a broker -------------------------------------------------------------------------------------------------


@contextmanager
def plug_on(broker: Broker, asked: str, answer: str, body: object) -> Iterator[threading.Event]:
    """A plug that answers on `answer` whenever it is asked on `asked`; its event: it was asked."""
    client, was_asked, listens = mqtt.Client(CallbackAPIVersion.VERSION2), threading.Event(), threading.Event()

    def on_message(client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        topic = answer or json.loads(message.payload)["src"] + "/rpc"
        client.publish(topic, said(body))
        was_asked.set()

    client.on_message = on_message
    client.on_subscribe = lambda *_: listens.set()
    client.on_connect = lambda client, *_: client.subscribe(asked)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert listens.wait(10)
        yield was_asked
    finally:
        client.disconnect()
        client.loop_stop()


def until(meter: Plug, wanted: float | None) -> bool:
    """Whether the meter shows it within some seconds."""
    end = time.monotonic() + 10
    while (seen := meter.read_power_w()) != wanted and time.monotonic() < end:
        time.sleep(0.01)  # nothing but the meter tells
    return seen == wanted


@pytest.mark.parametrize(
    ("kind", "asked", "answer", "body", "power_w"),
    [
        ("tasmota", "cmnd/pi-1/STATUS", "stat/pi-1/STATUS10", {"StatusSNS": SENSOR}, 5.0),
        ("tasmota", "cmnd/pi-1/STATUS", "tele/pi-1/SENSOR", SENSOR, 5.0),
        ("shelly", "pi-1/rpc", "", {"id": 1, "result": SWITCH}, 8.9),
        ("shelly", "pi-1/rpc", "pi-1/status/switch:0", SWITCH, 8.9),
    ],
)
def test_it_is_asked_and_answers(
    broker: Broker, kind: str, asked: str, answer: str, body: object, power_w: float
) -> None:
    meter = Plug(PlugSettings(kind, Address("127.0.0.1", broker.port), "pi-1"))  # type: ignore[arg-type]
    assert meter.read_power_w() is None
    with plug_on(broker, asked, answer, body) as was_asked:
        meter.open()
        try:
            assert until(meter, power_w)
            assert was_asked.is_set()
        finally:
            meter.close()
    meter.close()


def test_what_is_retained_is_of_unknown_age(broker: Broker) -> None:
    publisher = mqtt.Client(CallbackAPIVersion.VERSION2)
    publisher.connect("127.0.0.1", broker.port)
    publisher.loop_start()
    publisher.publish("tele/pi-1/SENSOR", said(SENSOR), qos=1, retain=True).wait_for_publish(10)
    meter = Plug(PlugSettings("tasmota", Address("127.0.0.1", broker.port), "pi-1"))
    meter.open()
    try:
        fresh = SENSOR | {"ENERGY": ENERGY | {"Power": 6}}
        end = time.monotonic() + 10
        while meter.read_power_w() is None and time.monotonic() < end:
            publisher.publish("stat/pi-1/STATUS10", said({"StatusSNS": fresh}), qos=1).wait_for_publish(10)
        assert meter.read_power_w() == 6.0
    finally:
        meter.close()
        publisher.disconnect()
        publisher.loop_stop()


def test_an_old_reading_is_a_failure_not_a_repetition(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    meter = Plug(PlugSettings("shelly", Address("nowhere", 1), "pi-1"), now=lambda: now[0])
    message = mqtt.MQTTMessage(0, b"pi-1/status/switch:0")
    message.payload = said(SWITCH)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    meter._on_message(client, None, message)
    now[0] += 5.0
    assert meter.read_power_w() == 8.9
    now[0] += 0.1
    assert meter.read_power_w() is None
    assert meter.read_power_w() is None
    assert caplog.messages == [
        "the plug pi-1 has not told its power for 5 s; is it on, on its broker, and is `topic` right?"
    ]
    message.payload = said({"output": False, "apower": 0.0})  # says nothing about this board
    meter._on_message(client, None, message)
    assert meter.read_power_w() is None


def test_a_plug_that_never_speaks_is_named_too(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    meter = Plug(PlugSettings("tasmota", Address("nowhere", 1), "pi-2"), now=lambda: now[0])
    assert meter.read_power_w() is None
    assert caplog.messages == []
    now[0] += 5.1
    assert meter.read_power_w() is None
    assert len(caplog.messages) == 1


def test_whole_watts_are_less_certain_than_decimals() -> None:
    meter = Plug(PlugSettings("tasmota", Address("nowhere", 1), "pi-1"))
    message = mqtt.MQTTMessage(0, b"tele/pi-1/SENSOR")
    offsets = []
    for power in (5, 5.25, 5):
        message.payload = said({"ENERGY": ENERGY | {"Power": power}})
        meter._on_message(mqtt.Client(CallbackAPIVersion.VERSION2), None, message)
        offsets.append(meter.info.offset_w)
    assert offsets == [0.3, 0.05, 0.05]


def test_a_broker_that_is_away_leaves_reads_failing_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    meter = Plug(PlugSettings("tasmota", Address("127.0.0.1", 9), "pi-1"))
    meter.open()
    try:
        end = time.monotonic() + 10
        while not caplog.messages and time.monotonic() < end:
            assert meter.read_power_w() is None
            time.sleep(0.01)  # nothing but the log tells
    finally:
        meter.close()
    assert caplog.messages[0] == (
        "the plug pi-1 cannot be heard: its broker at mqtt://127.0.0.1:9 does not answer; trying again"
    )


def test_a_broker_that_refuses_us_is_named(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    broker.stop()
    broker.allow("allow_anonymous false")
    broker.start()
    meter = Plug(PlugSettings("shelly", Address("127.0.0.1", broker.port), "pi-1"))
    meter.open()
    try:
        end = time.monotonic() + 10
        while not caplog.messages and time.monotonic() < end:
            time.sleep(0.01)  # nothing but the log tells
    finally:
        meter.close()
    assert f"mqtt://127.0.0.1:{broker.port} refuses us (Not authorized); see [plug]" in caplog.messages[0]
