"""The line to the broker: connects, reconnects, and keeps what must not be lost until the broker has it.

Control messages wait in an outbox and are published one after another at QoS 1; one that the connection died under is
published again on the next connection, and the server takes it twice. Chunks are not queued here: their sender owns a
window (see protocol/chunks.py). A message larger than the broker takes is refused before it is published: the broker
would answer it with a disconnect, and the client would send it again, for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_client.errors import LinkError
from edge_client.protocol.chunks import ENVELOPE_BYTES
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.joining import Address, Settings, obstacle
from edge_client.protocol.messages import AnyMessage, decode, encode
from edge_client.protocol.tasks import end
from edge_client.protocol.topics import Topics

log = logging.getLogger(__name__)

_KEEPALIVE_S = 20
_SESSION_S = 3600
_SEND_BUFFER_BYTES = 256 * 1024  # a deep kernel buffer would let heartbeats wait behind megabytes of chunks
_SETTINGS = Settings(url="--broker", ca_file="--ca-file")


@dataclass(frozen=True)
class Line:
    """What a connection needs to know."""

    broker: Address
    topics: Topics
    device: str
    max_packet_bytes: int
    tls: ssl.SSLContext | None = None
    ca_file: str | None = None  # what `tls` trusts, for messages
    backoff_s: tuple[float, float] = (0.5, 30.0)


class Link:
    """One device's connection. `on_message(topic, message)` and `on_line(up)` are called in the event loop."""

    def __init__(
        self, line: Line, on_message: Callable[[str, AnyMessage], None], on_line: Callable[[bool], None]
    ) -> None:
        self._line = line
        self._on_message = on_message
        self._on_line = on_line
        self._outbox: deque[bytes] = deque()
        self._work = asyncio.Event()
        self._online = asyncio.Event()
        self._client: aiomqtt.Client | None = None
        self._lost: asyncio.Future[None]  # there as soon as there is a client, done when its connection is lost
        self._first = True
        self.bytes_sent = 0
        self.bytes_received = 0

    @property
    def room_bytes(self) -> int:
        """Largest chunk data that fits a message."""
        return self._line.max_packet_bytes - ENVELOPE_BYTES

    @property
    def socket(self) -> socket.socket | None:
        """The connection's socket, None while there is none; only to set options of it."""
        paho = None if self._client is None else self._client._client  # aiomqtt has no public name for either
        return None if paho is None else cast("socket.socket | None", paho.socket())

    # ---- sending ----

    def post(self, message: AnyMessage) -> None:
        """Send for certain, in order, as soon as there is a connection; raises LinkError when it is too large."""
        self._outbox.append(self._fit(message))
        self._work.set()

    async def send(self, message: AnyMessage) -> int:
        """Publish a chunk: waits for a connection and until the bytes are with the kernel; returns its packet's size.

        A chunk whose connection dies is not repeated here: the receiver will ask for it.
        """
        payload = self._fit(message)
        await self._online.wait()
        client = self._client
        if client is not None:
            await self._publish(client, payload)
        return self._packet_bytes(payload)

    def weigh(self, message: AnyMessage) -> int:
        """Bytes of the packet that `send` makes of a message; raises LinkError when it is too large."""
        return self._packet_bytes(self._fit(message))

    async def mention(self, message: AnyMessage) -> None:
        """Publish if there is a connection; a heartbeat that is late is worth nothing."""
        if self._client is not None and self._online.is_set():
            await self._publish(self._client, self._fit(message))

    async def _publish(self, client: aiomqtt.Client, payload: bytes) -> None:
        """Publish once at QoS 0: until the kernel has it, or the connection is lost, of which aiomqtt tells nobody who
        waits for a packet that is partly sent."""
        publish = asyncio.ensure_future(client.publish(self._inbox, payload, qos=0, timeout=float("inf")))
        try:
            await asyncio.wait({publish, self._lost}, return_when=asyncio.FIRST_COMPLETED)
            if publish.done():
                with contextlib.suppress(aiomqtt.MqttError):
                    publish.result()
                    self.bytes_sent += len(payload)
        finally:
            await end(publish)

    async def flushed(self, timeout_s: float) -> None:
        """Wait until the outbox is empty, at most so long."""
        end = asyncio.get_running_loop().time() + timeout_s
        while self._outbox and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)

    @property
    def _inbox(self) -> str:
        return self._line.topics.to_server(self._line.device)

    def _packet_bytes(self, payload: bytes) -> int:
        """MQTT 5, 3.3: type, remaining length (7 bits a byte), topic with its length, no properties (1), payload."""
        rest = 2 + len(self._inbox) + 1 + len(payload)
        return 1 + max(1, -(-rest.bit_length() // 7)) + rest

    def _fit(self, message: AnyMessage) -> bytes:
        payload = encode(message)
        if len(payload) + len(self._inbox) + 32 > self._line.max_packet_bytes:
            raise LinkError(
                f"a {type(message).__name__} of {len(payload)} bytes exceeds the broker's limit of "
                f"{self._line.max_packet_bytes} (max_packet_bytes in client.toml)"
            )
        return payload

    # ---- the connection ----

    async def run(self) -> None:
        """Stay connected until cancelled; raises LinkError where trying again would not help."""
        wait_s, most_s = self._line.backoff_s
        pause_s = wait_s
        while True:
            joined = False
            try:
                async with self._connect() as client:
                    pause_s, joined = wait_s, True
                    await self._serve(client)
            except aiomqtt.MqttError as error:
                why = str(error) if joined else self._obstacle(error)
                broker = self._line.broker
                log.warning("no connection to %s:%d (%s); trying again", broker.host, broker.port, why)
            finally:
                self._client = None
                if self._online.is_set():
                    self._online.clear()
                    self._on_line(False)
            await asyncio.sleep(pause_s * random.uniform(0.7, 1.3))
            pause_s = min(most_s, 2 * pause_s)

    def _connect(self) -> aiomqtt.Client:
        broker, online = self._line.broker, self._line.topics.online(self._line.device)
        expiry = Properties(PacketTypes.CONNECT)
        expiry.SessionExpiryInterval = _SESSION_S
        return aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=f"fimi-{self._line.topics.fleet}-{self._line.device}",
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(online, b"0", qos=1, retain=True),
            clean_start=self._first,  # afterwards the broker keeps what comes while the line is down
            properties=expiry,
            keepalive=_KEEPALIVE_S,
            timeout=_KEEPALIVE_S,
            tls_context=self._line.tls,
            socket_options=(
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES),
            ),
        )

    async def _serve(self, client: aiomqtt.Client) -> None:
        topics, device = self._line.topics, self._line.device
        inbox = topics.to_device(device)
        await client.subscribe([(inbox, 1), (topics.model, 1), (topics.hello, 1)])
        await client.publish(topics.online(device), b"1", qos=1, retain=True)
        self._first = False
        self._client, self._lost = client, asyncio.get_running_loop().create_future()
        self._online.set()
        self._on_line(True)
        drain = asyncio.create_task(self._drain(client))
        try:
            async for message in client.messages:
                self._take(message)
        except asyncio.CancelledError:
            with contextlib.suppress(aiomqtt.MqttError):
                await client.publish(topics.online(device), b"0", qos=1, retain=True, timeout=2)
            raise
        finally:
            self._lost.set_result(None)
            await end(drain)

    async def _drain(self, client: aiomqtt.Client) -> None:
        """Publish the outbox in order; a message leaves it when the broker has acknowledged it."""
        with contextlib.suppress(aiomqtt.MqttError):  # the connection's own loop sees the same error
            while True:
                while self._outbox:
                    await client.publish(self._inbox, self._outbox[0], qos=1, timeout=float("inf"))
                    self.bytes_sent += len(self._outbox.popleft())
                self._work.clear()
                await self._work.wait()

    def _take(self, received: aiomqtt.Message) -> None:
        payload = received.payload
        if not isinstance(payload, bytes | bytearray) or not payload:
            return
        self.bytes_received += len(payload)
        try:
            message = decode(payload)
        except ProtocolError as error:
            log.warning("%s: %s", received.topic, error)
            return
        self._on_message(str(received.topic), message)

    def _obstacle(self, error: aiomqtt.MqttError) -> str:
        """Why it could not be joined this time; raises LinkError where trying again does not mend it."""
        broker = self._line.broker
        met = obstacle(error, _SETTINGS, tls=broker.tls, ca_file=self._line.ca_file)
        if met.for_good:
            raise LinkError(f"the broker at {broker} cannot be joined: {met.why}") from error
        return met.why
