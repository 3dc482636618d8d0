"""Where messages go. All topics of a fleet stand below fimi/<version>/<fleet>/.

server/hello              retained, ServerHello or Bye                 server -> all
server/model              Chunk of a global model                      server -> all
server/inbox/<device>     every message of a device                    device -> server
device/<device>/inbox     Task, Abort, acks, Chunk of a shard          server -> device
device/<device>/online    retained "1"; the last will makes it "0"     device -> server
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import VERSION

_LEVEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_level(name: str, what: str) -> str:
    """A name that can stand in a topic: letters, digits, '.', '_', '-', at most 64."""
    if not _LEVEL.fullmatch(name):
        raise ProtocolError(
            f"{what} {name!r} must be 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first"
        )
    return name


@dataclass(frozen=True)
class Topics:
    """The topics of one fleet."""

    fleet: str

    def __post_init__(self) -> None:
        check_level(self.fleet, "fleet")

    @property
    def root(self) -> str:
        return f"fimi/{VERSION}/{self.fleet}"

    @property
    def hello(self) -> str:
        return f"{self.root}/server/hello"

    @property
    def model(self) -> str:
        return f"{self.root}/server/model"

    def to_server(self, device: str) -> str:
        return f"{self.root}/server/inbox/{check_level(device, 'device')}"

    @property
    def all_to_server(self) -> str:
        return f"{self.root}/server/inbox/+"

    def to_device(self, device: str) -> str:
        return f"{self.root}/device/{check_level(device, 'device')}/inbox"

    def online(self, device: str) -> str:
        return f"{self.root}/device/{check_level(device, 'device')}/online"

    @property
    def all_online(self) -> str:
        return f"{self.root}/device/+/online"

    def device_of(self, topic: str) -> str:
        """The device in a `to_server` or `online` topic."""
        levels = topic.removeprefix(self.root + "/").split("/")
        if len(levels) == 3 and (levels[:2] == ["server", "inbox"] or (levels[0], levels[2]) == ("device", "online")):
            return levels[2] if levels[0] == "server" else levels[1]
        raise ProtocolError(f"topic {topic!r} names no device of fleet {self.fleet!r}")
