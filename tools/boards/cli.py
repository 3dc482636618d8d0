"""fimi-board: virtual boards for whoever has no Jetson at hand.

Exit codes: 0 ended by a signal, 1 a board or all clients failed, 2 a wrong file, a wrong option or too many boards,
5 no broker.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_client.protocol.processes import die_with_parent
from firmware_profiles.loader import load_profile, shipped
from firmware_profiles.strict import ConfigError, convert, load_toml, toml_value
from tools.boards.admission import AdmissionError
from tools.boards.fleet import BrokerMissingError, Fleet
from tools.boards.fleet_config import FleetConfig

_FIELD = re.compile(r"^one: (?:board\[0\]\.)?(\w+)")
"""How the sentence about a single board's field begins; options are named after the fields."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "list":
        print("\n".join(map(_row, shipped())))
        return 0
    if arguments.end_with_parent:
        die_with_parent()
    try:
        config, base = _fleet_of(arguments)
        asyncio.run(_run(config, base))
    except (ConfigError, AdmissionError, BrokerMissingError) as error:
        print(f"fimi-board: {error}", file=sys.stderr)
        return error.exit_code
    except (RuntimeError, OSError) as error:
        print(f"fimi-board: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(config: FleetConfig, base: Path) -> None:
    await Fleet(config, base).run()


def _fleet_of(arguments: argparse.Namespace) -> tuple[FleetConfig, Path]:
    if arguments.command == "fleet":
        return load_toml(arguments.file, FleetConfig), arguments.file.parent
    board = {
        "id": arguments.id or Path(arguments.profile).stem,
        "profile": arguments.profile,
        "data": arguments.data,
        "storage_samples": arguments.storage_samples,
        "faults": dict(map(_fault, arguments.fault)),
    }
    fleet = {
        "broker": arguments.broker,
        "fleet": arguments.fleet,
        "board": [board],
        "seed": arguments.seed,
        "dir": arguments.dir,
    }
    try:
        return convert(fleet, FleetConfig, "one"), Path()
    except ConfigError as error:
        said = _FIELD.sub(lambda field: "--" + field[1].replace("_", "-"), str(error))
        raise ConfigError(said.replace("--faults.", "--fault ")) from None


def _fault(text: str) -> tuple[str, object]:
    """ "clock_floor_hz=1.5e9" as name and value; raises ConfigError."""
    name, equals, value = text.partition("=")
    if equals:
        with contextlib.suppress(ValueError):
            return name, toml_value(value)
    raise ConfigError(f"--fault {text}: give NAME=VALUE, as clock_floor_hz=1.5e9 or clock_not_applied=true")


def _row(name: str) -> str:
    profile = load_profile(name)
    opps, power = profile.cpu.opps_hz.value, profile.power
    return (
        f"{name:<21} {len(opps):>2} clocks {opps[0] / 1e6:.0f}-{opps[-1] / 1e6:.0f} MHz,"
        f" {power.idle_w.value:g}-{power.full_w.value:g} W, {profile.sensor.kind}, {profile.link.kind}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fimi-board", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fleet = commands.add_parser("fleet", help="start all boards of FLEET.toml, each with its client")
    fleet.add_argument("file", type=Path, metavar="FLEET.toml")
    one = commands.add_parser("one", help="start a single board with its client")
    one.add_argument("--profile", required=True, help="a shipped profile or the path of a TOML")
    one.add_argument("--broker", required=True, help="host:port of the broker")
    one.add_argument("--data", required=True, help="the board's samples, an NPZ file")
    one.add_argument("--fleet", default="demo")
    one.add_argument("--id", default=None, help="default: the profile's name")
    one.add_argument("--storage-samples", type=int, default=None)
    one.add_argument("--seed", type=int, default=0, help="which unit of its type it is")
    one.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what is wrong with it, see tools/README.md",
    )
    one.add_argument("--dir", default="boards", help="where root, ledger and log are made")
    for command in (fleet, one):
        command.add_argument(
            "--end-with-parent", action="store_true", help="end when the process that started this ends"
        )
    commands.add_parser("list", help="show the shipped profiles")
    return parser


if __name__ == "__main__":
    sys.exit(main())
