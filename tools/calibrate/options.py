"""The command line of `fimi-calibrate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from edge_client.runtimes import Name
from tools.calibrate.csv_text import clock, number, signed, whole

PORT = 9009
"""Where `radio-sink` listens unless told."""


def parser(about: str) -> argparse.ArgumentParser:
    """All commands; `about` is said on top of --help."""
    whole_parser = argparse.ArgumentParser(
        prog="fimi-calibrate", description=about, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = whole_parser.add_subparsers(dest="command", required=True)
    _add_sweep(commands.add_parser("sweep", help="drive the board through its clocks, a line a window; resumable"))
    fit = commands.add_parser("fit", help="fit a sweep's CSV, or one made by hand, and write a profile")
    fit.add_argument("csv", type=Path, metavar="CSV")
    fit.add_argument("--out", type=Path, metavar="PROFILE.toml")
    show = commands.add_parser("show", help="the fit over the points, as a table or a picture")
    show.add_argument("file", type=Path, metavar="PROFILE|CSV")
    show.add_argument("--png", type=Path, metavar="FILE")
    show.add_argument("--radio", action="store_true", help="the picture of the uploads, where a profile has both")
    both = commands.add_parser("compare", help="two profiles or CSVs, clock by clock")
    both.add_argument("a", type=Path, metavar="A")
    both.add_argument("b", type=Path, metavar="B")
    other = commands.add_parser("predict", help="another network, from one timing of it at one clock")
    other.add_argument("profile", type=Path, metavar="PROFILE|CSV")
    other.add_argument("--samples", type=_cell(whole), required=True, help="trained in the timing")
    other.add_argument("--duration-s", type=_cell(number), required=True, help="that they took")
    other.add_argument("--freq-hz", type=_cell(clock), required=True, help="the clock they were trained at")
    other.add_argument("--energy-j", type=_cell(number), help="what the whole board drew meanwhile, if measured")
    warm = _cell(signed, positive=False)
    other.add_argument("--timing-start-c", type=warm, help="how warm the board was when the timing began")
    other.add_argument("--start-c", type=warm, help="predict work that begins so warm (default: as warm as the sweep)")
    other.add_argument("--for-s", type=_cell(number), help="and lasts so long (default: until it has settled)")
    other.add_argument("--at-hz", type=_cell(clock), nargs="+", help="clocks to predict (default: the measured ones)")
    uploads = commands.add_parser("radio", help="fit uploads: what they cost at each transmit power")
    uploads.add_argument("csv", type=Path, metavar="CSV")
    uploads.add_argument(
        "--out", type=Path, metavar="PROFILE.toml", help="a profile's sweep, where one is there, stays"
    )
    uploads.add_argument("--idle-w", type=_cell(number), help="the idle floor (default: the file's idle windows)")
    _add_radio_sweep(commands.add_parser("radio-sweep", help="drive the radio through its powers; resumable"))
    end = commands.add_parser("radio-sink", help="the other end of radio-sweep: swallows what comes")
    end.add_argument(
        "--listen", type=_address, default=("0.0.0.0", PORT), metavar="HOST:PORT", help=f"default: 0.0.0.0:{PORT}"
    )
    for command in (fit, both, other, uploads):
        command.add_argument("--json", action="store_true", help="print an object for programs")
    for command in (fit, show, both, other):
        command.add_argument("--idle-w", type=_cell(number), help="the idle floor (default: the file's idle windows)")
        command.add_argument("--cores", type=_cell(whole), help="which windows (default: the most cores in the file)")
        command.add_argument("--network", help="which windows, where a file holds several networks")
    return whole_parser


def _add_radio_sweep(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--root", type=Path, default=Path("/"), help="where sys/, proc/ and bin/ of the board are (default: /)")
    add("--to", type=_address, required=True, metavar="HOST:PORT", help="where `fimi-calibrate radio-sink` listens")
    add("--out", type=Path, required=True, metavar="UPLOADS.csv", help="one line a window; what is there is kept")
    add("--interface", help="the Wi-Fi card (default: the default route's)")
    add(
        "--levels-w",
        type=_cell(number),
        nargs="+",
        default=(),
        metavar="W",
        help="radiated powers (default: five from 0.1, or the channel's limit, each half of the one above)",
    )
    add(
        "--payload-bytes",
        type=_cell(whole),
        nargs="+",
        default=(),
        metavar="N",
        help="sizes of segments; with two, as 1400 300, a cost per frame can be told (default: as large as they go)",
    )
    add("--window-s", type=_cell(number), default=30.0, help="length of a window (default: 30)")
    add("--drop-first-s", type=_cell(number, positive=False), default=5.0, help="before it, not counted (default: 5)")
    add("--repeats", type=_cell(whole), default=3, help="windows at each power and size (default: 3)")
    add("--tries", type=_cell(whole), default=3, help="how often a rejected window is measured in all (default: 3)")
    add("--seed", type=int, default=0, help="of the order (default: 0)")


def _add_sweep(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--root", type=Path, default=Path("/"), help="where sys/, proc/ and bin/ of the board are (default: /)")
    add("--data", type=Path, required=True, help="npz with samples to train: x, y, n_classes")
    add("--out", type=Path, required=True, metavar="SWEEP.csv", help="one line a window; what is there is kept")
    add("--window-s", type=_cell(number), default=60.0, help="length of a window (default: 60)")
    add("--drop-first-s", type=_cell(number, positive=False), default=10.0, help="before it, not counted (default: 10)")
    add("--repeats", type=_cell(whole), default=3, help="windows at each clock and core count (default: 3)")
    add("--tries", type=_cell(whole), default=3, help="how often a rejected window is measured in all (default: 3)")
    add("--cores", default="1,all", help="threads of the trainer, e.g. 1,2,all (default: 1,all)")
    add(
        "--opps",
        type=_cell(clock),
        nargs="+",
        default=(),
        metavar="HZ",
        help="clocks (default: up to 8, evenly spread)",
    )
    add("--seed", type=int, default=0, help="of the order (default: 0)")
    add("--network", default="vgg9", help="which network is trained (default: vgg9)")
    add("--batch-size", type=_cell(whole), default=32)
    add("--runtime", choices=get_args(Name), default="torch", help="what trains (default: torch)")
    add(
        "--graphs",
        type=Path,
        metavar="FILE.fimi",
        help="of fimi-server export-step, for any runtime but torch (a client that has trained keeps some, in its "
        "state_dir below graphs/)",
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no address; give HOST:PORT")
    return host.strip("[]"), int(port)


def _cell(read: Callable[[str], float], positive: bool = True) -> Callable[[str], Any]:
    """An option that is read as a cell is."""

    def convert(text: str) -> Any:
        try:
            value = read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        if positive and value == 0:
            raise argparse.ArgumentTypeError("is 0; give more than 0")
        return value

    return convert
