"""Power at the wall from a smart plug that publishes over MQTT: Tasmota, and Shelly of the second generation and later.

Tasmota (tasmota.github.io/docs): tele/TOPIC/SENSOR every TelePeriod, at least 10 s, so that we ask by
cmnd/TOPIC/STATUS 10 and read stat/TOPIC/STATUS10 {"StatusSNS": {"ENERGY": {"Power": W, "Total": kWh}}}. Power comes in
whole watts unless WattRes is set.
Shelly (shelly-api-docs.shelly.cloud, Mqtt and Switch): PREFIX/status/switch:0 {"apower": W, "aenergy": {"total": Wh,
"minute_ts": s}} where "Generic status update over MQTT" is on, when something changes; so that we ask by PREFIX/rpc
{"src": SRC, "method": "Switch.GetStatus", ...} and read SRC/rpc {"result": the same}.

A plug answers in about a second, its numbers are as old again, and what the supply loses counts with the rest. Retained
messages are of unknown age and left aside; a reading older than a few seconds is a failure, never repeated.
"""

from __future__ import annotations

import logging
import math
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import uuid4

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_client.hardware.interfaces import MeterInfo
from edge_client.protocol.joining import Address

log = logging.getLogger(__name__)

PERIOD_S = 1.0
STALE_S = 5.0

_WHOLE_W, _FINE_W = 0.3, 0.05  # one sigma of whole watts, 1/sqrt(12); assumed where WattRes gives decimals

Kind = Literal["tasmota", "shelly"]


@dataclass(frozen=True)
class PlugSettings:
    """Which plug, on which broker. `topic`: Tasmota's Topic, Shelly's MQTT prefix."""

    kind: Kind
    broker: Address
    topic: str
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True)
class Reading:
    """One message: watts, and the plug's own count of joules (None: it gives none)."""

    power_w: float
    energy_j: float | None


def parse_tasmota(payload: bytes) -> Reading | None:
    """tele/TOPIC/SENSOR or stat/TOPIC/STATUS10; None for another message, or one of a plug with several channels."""
    body = _object(payload)
    body = _part(body, "StatusSNS") or body
    energy = _part(body, "ENERGY")
    return _reading(energy.get("Power"), energy.get("Total"), 3.6e6) if energy else None


def parse_shelly(payload: bytes) -> Reading | None:
    """PREFIX/status/switch:0 or the answer on SRC/rpc; None for another message."""
    body = _object(payload)
    body = _part(body, "result") or body
    return _reading(body.get("apower"), _part(body, "aenergy").get("total"), 3.6e3)


def _object(payload: bytes) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(payload)
    except msgspec.MsgspecError:
        return {}
    return body if isinstance(body, dict) else {}


def _part(body: dict[str, Any], name: str) -> dict[str, Any]:
    part = body.get(name)
    return part if isinstance(part, dict) else {}


def _reading(power: object, count: object, joules: float) -> Reading | None:
    power_w, counted = _number(power), _number(count)
    if power_w is None or power_w <= 0:  # the board that asks is running behind this plug
        return None
    return Reading(power_w, None if counted is None else counted * joules)


def _number(value: object) -> float | None:
    """A finite number, None for anything else; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


@dataclass(frozen=True)
class _Dialect:
    """How one kind speaks: where it says what, and how it is asked."""

    says: tuple[str, ...]
    ask: tuple[str, str]
    parse: Callable[[bytes], Reading | None]
    info: MeterInfo


def dialect(kind: Kind, topic: str) -> _Dialect:
    """Topics and parser of one plug."""
    if kind == "tasmota":
        info = MeterInfo("tasmota", "wall", 0.03, offset_w=_WHOLE_W, lag_s=2.0, period_s=PERIOD_S)
        says = (f"stat/{topic}/STATUS10", f"tele/{topic}/SENSOR")
        return _Dialect(says, (f"cmnd/{topic}/STATUS", "10"), parse_tasmota, info)
    info = MeterInfo("shelly", "wall", 0.03, offset_w=0.1, lag_s=2.0, period_s=PERIOD_S)  # assumed: at a few watts
    us = f"fimi-{uuid4().hex[:12]}"
    question = {"id": 1, "src": us, "method": "Switch.GetStatus", "params": {"id": 0}}
    says = (f"{us}/rpc", f"{topic}/status/switch:0")
    return _Dialect(says, (f"{topic}/rpc", msgspec.json.encode(question).decode()), parse_shelly, info)


class Plug:
    """One plug; `open` connects in the background and keeps trying, `close` ends that."""

    def __init__(self, settings: PlugSettings, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._now = now
        self._dialect = dialect(settings.kind, settings.topic)
        self.info = self._dialect.info
        self._client: mqtt.Client | None = None
        self._said = ""
        self._heard_at = now()
        self._latest: Reading | None = None

    def open(self) -> None:
        broker = self._settings.broker
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_message = self._on_message
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        if self._settings.tls is not None:
            client.tls_set_context(self._settings.tls)
        self._heard_at, self._latest = self._now(), None
        client.connect_async(broker.host, broker.port)
        client.loop_start()
        self._client = client

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def read_power_w(self) -> float | None:
        """See PowerMeter: the last answer unless it is stale; asks for the next one."""
        if self._client is not None and self._client.is_connected():
            self._client.publish(*self._dialect.ask)
        if self._now() - self._heard_at <= STALE_S:
            return None if self._latest is None else self._latest.power_w
        if not self._said:
            self._complain(f"has not told its power for {STALE_S:g} s; is it on, on its broker, and is `topic` right?")
        return None

    def _complain(self, what: str) -> None:
        """Say what is wrong, once until it is mended."""
        if what != self._said:
            self._said = what
            log.warning("the plug %s %s", self._settings.topic, what)

    def _on_connect_fail(self, _client: mqtt.Client, _data: object) -> None:
        self._complain(f"cannot be heard: its broker at {self._settings.broker} does not answer; trying again")

    def _on_connect(self, client: mqtt.Client, _data: object, _flags: object, reason: Any, _more: object) -> None:
        if reason.is_failure:
            self._complain(f"cannot be heard: its broker at {self._settings.broker} refuses us ({reason}); see [plug]")
            return
        client.subscribe([(topic, 0) for topic in self._dialect.says])
        client.publish(*self._dialect.ask)

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.retain:
            return
        reading = self._dialect.parse(bytes(message.payload))
        if reading is None:
            log.debug("%s: no power in %r", message.topic, message.payload[:200])
        else:
            self._heard_at, self._latest, self._said = self._now(), reading, ""
            if self._settings.kind == "tasmota" and not reading.power_w.is_integer():
                self.info = replace(self.info, offset_w=_FINE_W)
