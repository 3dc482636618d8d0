"""The wire contract as an AsyncAPI 3 document, made from the code: `python -m edge_client.protocol.asyncapi`.

Messages and their schemas come from messages.py and values.py, addresses from topics.py; only who says what on which
topic is written down here. Source of the format: https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from edge_client.protocol import messages
from edge_client.protocol.messages import VERSION, Message
from edge_client.protocol.topics import Topics

PATH = Path(__file__).with_name("asyncapi.json")

_FLEET, _DEVICE = "xfleetx", "xdevicex"
_TOPICS = Topics(_FLEET)

CHANNELS: dict[str, tuple[str, str, tuple[type[Message], ...]]] = {
    "hello": (
        _TOPICS.hello,
        "Retained: a fleet has a server, or its run is over. Server to all devices.",
        (messages.ServerHello, messages.Bye),
    ),
    "model": (_TOPICS.model, "Chunks of a global model. Server to all devices.", (messages.Chunk,)),
    "deviceInbox": (
        _TOPICS.to_device(_DEVICE),
        "Server to one device.",
        (
            messages.ProfileRequest,
            messages.Task,
            messages.Abort,
            messages.UpdateAck,
            messages.ShardPart,
            messages.Chunk,
            messages.BlobProgress,
        ),
    ),
    "serverInbox": (
        _TOPICS.to_server(_DEVICE),
        "One device to the server.",
        (
            messages.Join,
            messages.ProfileReport,
            messages.ShardNeeds,
            messages.Heartbeat,
            messages.Update,
            messages.TaskClosed,
            messages.Refusal,
            messages.Chunk,
            messages.BlobProgress,
        ),
    ),
}
"""Topic, meaning, and the messages that travel on it. `online` carries no message and is added below."""

_FROM_DEVICE = ("serverInbox", "online")


def document() -> dict[str, Any]:
    """The document, seen from the device: it receives what the server says and sends the rest."""
    kinds = sorted({kind for _, _, used in CHANNELS.values() for kind in used}, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():  # Python and msgspec disagree by version whether a docstring keeps its indentation
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    channels = {
        name: _channel(topic, meaning, {kind.__name__: kind.__name__ for kind in used})
        for name, (topic, meaning, used) in CHANNELS.items()
    }
    channels["online"] = _channel(
        _TOPICS.online(_DEVICE),
        'Retained: "1" while the device is connected, "0" afterwards (its last will).',
        {"online": "online"},
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "FIMI wire contract",
            "version": str(VERSION),
            "description": inspect.getdoc(messages),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/msgpack",
        "channels": channels,
        "operations": {
            f"{'send' if name in _FROM_DEVICE else 'receive'}{name[0].upper()}{name[1:]}": {
                "action": "send" if name in _FROM_DEVICE else "receive",
                "channel": {"$ref": f"#/channels/{name}"},
            }
            for name in channels
        },
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in kinds}
            | {
                "online": {
                    "name": "online",
                    "contentType": "text/plain",
                    "payload": {"type": "string", "enum": ["0", "1"]},
                }
            },
            "schemas": schemas,
        },
    }


def _channel(topic: str, meaning: str, used: dict[str, str]) -> dict[str, Any]:
    address = topic.replace(_FLEET, "{fleet}").replace(_DEVICE, "{device}")
    parameters = {
        name: {"description": f"Name of the {name}: letters, digits, '.', '_', '-', at most 64"}
        for name in ("fleet", "device")
        if f"{{{name}}}" in address
    }
    return {
        "address": address,
        "description": meaning,
        "parameters": parameters,
        "messages": {name: {"$ref": f"#/components/messages/{of}"} for name, of in used.items()},
    }


def _message(kind: type[Message]) -> dict[str, Any]:
    return {
        "name": kind.__name__,
        "summary": (inspect.getdoc(kind) or "").splitlines()[0],
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }


def render() -> str:
    """The document as it stands in the file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file, or to standard output with "-"."""
    if sys.argv[1:] == ["-"]:
        sys.stdout.write(render())
    else:
        PATH.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
