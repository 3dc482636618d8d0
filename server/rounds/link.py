"""The server's connection to the broker: one queue out, one stream in, back again after every break.

What goes out is tried until the broker has acknowledged it (QoS 1); everything in the protocol may come twice. If the
server dies, the broker tells the fleet good-bye in its place (last will, half a minute later).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_client.protocol.joining import Settings, obstacle
from edge_client.protocol.messages import AnyMessage, Bye, encode
from edge_client.protocol.tasks import end
from edge_client.protocol.topics import Topics
from server.broker import BrokerAddress, tls_context
from server.errors import BrokerError

WILL_DELAY_S = 30
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_SETTINGS = Settings(url="broker.url", ca_file="broker.ca_file")


class Link:
    """Sends with `send`, calls `on_message(topic, payload)` in the event loop for what comes in.

    `failure` is set, and `on_failure` called, when the link gives up; until then breaks are mended silently.
    """

    def __init__(
        self,
        address: BrokerAddress,
        topics: Topics,
        run: str,
        on_message: Callable[[str, bytes], None],
        on_connect: Callable[[], None],
    ) -> None:
        self._address = address
        self._tls = tls_context(address)
        self._topics = topics
        self._run = run
        self._on_message = on_message
        self._on_connect = on_connect
        self._outbox: asyncio.Queue[tuple[str, bytes, bool]] = asyncio.Queue()
        self._unsent: tuple[str, bytes, bool] | None = None

    def send(self, topic: str, message: AnyMessage, *, retain: bool = False) -> None:
        """Queue a message; those who send much bound themselves by what the receivers acknowledge."""
        self._outbox.put_nowait((topic, encode(message), retain))

    async def drained(self) -> None:
        """Return when the broker has everything that was queued."""
        await self._outbox.join()

    async def serve(self) -> None:
        """Hold the connection until cancelled; raises BrokerError where it cannot be made, or not again."""
        client = self._client()
        failed = 0
        connected_once = False
        while True:
            try:
                async with client:
                    connected_once, failed = True, 0
                    for topic in (self._topics.all_to_server, self._topics.all_online):
                        await client.subscribe(topic, qos=1)
                    self._on_connect()
                    await self._both_ways(client)
            except aiomqtt.MqttError as error:
                if not connected_once or failed >= len(RETRY_S):
                    met = obstacle(error, _SETTINGS, tls=self._address.tls, ca_file=self._address.ca_file)
                    raise BrokerError(f"the broker at {self._address} cannot be joined: {met.why}") from error
                # A pause between attempts, not a wait for something: there is no event for "the broker is back".
                await asyncio.sleep(RETRY_S[failed])
                failed += 1

    async def _both_ways(self, client: aiomqtt.Client) -> None:
        sender = asyncio.create_task(self._send_all(client))
        receiver = asyncio.create_task(self._receive_all(client))
        try:
            await asyncio.wait((sender, receiver), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = [task for task in (sender, receiver) if task.done()]
            await end(sender, receiver)
        for task in ended:
            task.result()

    async def _send_all(self, client: aiomqtt.Client) -> None:
        while True:
            if self._unsent is None:
                self._unsent = await self._outbox.get()
            topic, payload, retain = self._unsent
            await client.publish(topic, payload, qos=1, retain=retain)
            self._unsent = None
            self._outbox.task_done()

    async def _receive_all(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            if isinstance(payload, (bytes, bytearray)):
                self._on_message(str(message.topic), bytes(payload))

    def _client(self) -> aiomqtt.Client:
        connect = Properties(PacketTypes.CONNECT)
        connect.SessionExpiryInterval = 2 * WILL_DELAY_S
        last_words = Properties(PacketTypes.WILLMESSAGE)
        last_words.WillDelayInterval = WILL_DELAY_S
        return aiomqtt.Client(
            self._address.host,
            self._address.port,
            username=self._address.username,
            password=self._address.password,
            tls_context=self._tls,
            identifier=f"fimi-server-{self._topics.fleet}-{self._run}",
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=MQTT_CLEAN_START_FIRST_ONLY,
            properties=connect,
            will=aiomqtt.Will(
                self._topics.hello,
                encode(Bye(run=self._run, reason="the server is gone")),
                qos=1,
                retain=True,
                properties=last_words,
            ),
            keepalive=20,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            max_queued_outgoing_messages=0,
            max_inflight_messages=64,
        )
