"""The command line of fimi-client: commands, and the flags that each takes. Flags named as settings go before them."""

from __future__ import annotations

import argparse
from typing import get_args

from edge_client.helper.client import SOCKET
from edge_client.runtimes import Wanted

RUNTIMES = get_args(Wanted)

OWN = ("json", "trial", "model", "graphs", "out", "socket", "group", "folder", "unit_config")
"""Flags that are no settings of client.toml."""

Own = dict[str, str | None]
"""A command's own flags."""


def parser(version: str) -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="fimi-client", description="Take part in a federated fleet.")
    top.add_argument("--version", action="version", version=f"fimi-client {version}")
    commands = top.add_subparsers(dest="command", required=True, metavar="run | doctor | ...")
    for name, help_ in (
        ("run", "join a fleet and train until ended"),
        ("doctor", "say what this board can do, what it lacks, and what mends it"),
        ("evaluate", "say how good the model that it was last sent is on its samples"),
        ("export", "write that model in the runtime's own form"),
        ("show", "print what this board is and can do, as JSON"),
        ("radio-check", "ask the access point whether the transmit power is heeded"),
        ("restore", "put back settings that a killed client left changed"),
    ):
        one = commands.add_parser(name, help=help_)
        one.add_argument("--config", help="client.toml; flags go before it")
        one.add_argument("--root", help="where sys/, proc/ and bin/ of the board are (default: /)")
        one.add_argument("--state-dir", help="settings to restore, cached shard (default: ROOT/run/fimi)")
        one.add_argument("--interface", help="Wi-Fi interface (default: the one of the default route, else wlan0)")
        one.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
        if name == "doctor":
            one.add_argument("--json", action="store_true", default=None, help="for scripts")
            one.add_argument("--trial", action="store_true", default=None, help="train some seconds with each runtime")
        if name in ("evaluate", "export"):
            one.add_argument("--model", help="weights as safetensors (default: those it was last sent)")
            one.add_argument("--graphs", help="of fimi-server export-step (default: those that came with the model)")
            one.add_argument("--runtime", choices=RUNTIMES, help="whose graphs (default: auto, any that works here)")
        if name == "evaluate":
            one.add_argument("--data", help="npz with this device's samples: x, y, n_classes")
        if name == "export":
            one.add_argument("--out", required=True, metavar="FILE", help="MODEL.onnx or MODEL.tflite")
        if name in ("run", "doctor"):
            one.add_argument("--broker", help="mqtt://[user:password@]host[:port] or mqtts://...")
            one.add_argument("--ca-file", help="PEM of the authority that signed an mqtts broker's certificate")
            one.add_argument("--id", help="this device's name in the fleet")
            one.add_argument("--data", help="npz with this device's samples: x, y, n_classes")
            one.add_argument("--calibration", help="what fimi-calibrate fit wrote of this board")
            one.add_argument("--runtime", choices=RUNTIMES, help="what trains (default: auto, the best of those here)")
        if name == "run":
            one.add_argument("--fleet", help="the fleet's name")
            one.add_argument("--storage-samples", type=int, help="room for synthetic samples (default: 1000)")
            one.add_argument("--cpus", help="CPUs that the trainer stays on, as 0-3; their clocks alone are set")
            one.add_argument("--threads", type=int, help="of the training runtime (default: one for each of --cpus)")
            one.add_argument("--memory-limit", type=int, metavar="MB", help="for client and trainer; splits batches")
    helper = commands.add_parser(
        "helper", help="set clock, transmit power and upload rate for agents that have no rights"
    )
    helper.add_argument("--root", help="where sys/, proc/ and bin/ of the board are (default: /)")
    helper.add_argument("--state-dir", help="settings to restore (default: ROOT/run/fimi-helper)")
    helper.add_argument("--socket", help=f"where to listen (default: ROOT/{SOCKET})")
    helper.add_argument("--group", help="whose members may connect, besides this user")
    helper.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    units = commands.add_parser("units", help="write units for systemd and rules for udev")
    units.add_argument("folder", metavar="DIR", help="where to write them")
    units.add_argument("--unit-config", default="/etc/fimi/client.toml", help="client.toml of the agent's unit")
    return top
