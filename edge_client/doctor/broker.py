"""Whether the broker can be reached and lets this client in: one connection, no message."""

from __future__ import annotations

import asyncio
import ssl

import aiomqtt

from edge_client.doctor.checks import Check
from edge_client.protocol.joining import Address, Settings, obstacle

_LIMIT_S = 5.0
_SETTINGS = Settings(url="--broker", ca_file="--ca-file")


def broker(address: Address | None, device: str | None, tls: ssl.SSLContext | None, ca_file: str | None) -> Check:
    """Connect and hang up again, under a name that disturbs no running client."""
    if address is None:
        return Check(name="broker", status="missing", message="no broker is named", remedy="--broker mqtt://HOST")
    try:
        asyncio.run(_join(address, device or "board", tls))
    except aiomqtt.MqttError as error:
        what, _, right = obstacle(error, _SETTINGS, tls=address.tls, ca_file=ca_file).why.partition("; ")
        port = f"nc -vz {address.host} {address.port}: is it up, and does a firewall let it through?"
        return Check(name="broker", status="missing", message=f"{address}: {what}", remedy=right or port)
    return Check(name="broker", status="ok", message=f"{address} lets this client in")


async def _join(address: Address, device: str, tls: ssl.SSLContext | None) -> None:
    async with aiomqtt.Client(
        address.host,
        address.port,
        username=address.username,
        password=address.password,
        identifier=f"fimi-doctor-{device}",
        protocol=aiomqtt.ProtocolVersion.V5,
        timeout=_LIMIT_S,
        tls_context=tls,
    ):
        pass
