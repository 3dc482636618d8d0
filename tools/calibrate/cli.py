"""fimi-calibrate: what training costs on a board at each clock, measured and fitted.

    fimi-calibrate sweep --root / --data BOARD.npz --out SWEEP.csv    drive the board through its clocks (resumable)
    fimi-calibrate fit SWEEP.csv --out PROFILE.toml                    fit law and table
    fimi-calibrate show PROFILE.toml|SWEEP.csv [--png FILE]
    fimi-calibrate compare A B
    fimi-calibrate predict PROFILE.toml --samples N --duration-s S --freq-hz F
    fimi-calibrate radio UPLOADS.csv

Exit status: 0 done; 2 a file or option is wrong; of `sweep` also 3 the data, 6 the clock or the meter, 7 an extra is
not installed, 8 training, 130 interrupted (the same command goes on).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from edge_client.errors import FimiClientError
from firmware_profiles.strict import ConfigError
from tools.calibrate import compare, predict, radio, summary
from tools.calibrate.csv_text import clock, number, read_text, signed, whole
from tools.calibrate.errors import CalibrateError
from tools.calibrate.profile_file import open_calibration, write_profile
from tools.calibrate.rows import read_rows


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status = int(_COMMANDS[arguments.command](arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (CalibrateError, ConfigError, FimiClientError) as error:
        print(f"fimi-calibrate: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _fit(arguments: argparse.Namespace) -> int:
    if arguments.csv.suffix == ".toml":
        raise CalibrateError(f"{arguments.csv}: is a profile; give the CSV of a sweep, or use `fimi-calibrate show`")
    calibration = open_calibration(arguments.csv, **_fitting(arguments))
    _mention_unknown(arguments.csv)
    if arguments.out is not None:
        write_profile(arguments.out, calibration)
    if arguments.json:
        _print_json(summary.as_json(calibration))
    else:
        print(summary.as_text(calibration, str(arguments.csv)))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    calibration = open_calibration(arguments.file, **_fitting(arguments))
    if arguments.png is None:
        print(summary.as_text(calibration, str(arguments.file)))
        return 0
    try:
        from tools.calibrate import figure
    except ModuleNotFoundError as error:
        raise CalibrateError(f"--png needs {error.name}; install it with: pip install 'fimi[server]'") from None
    figure.save(figure.draw(calibration, arguments.file.name), arguments.png)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    a, b = (open_calibration(path, **_fitting(arguments)) for path in (arguments.a, arguments.b))
    if arguments.json:
        _print_json(compare.as_json(a, b))
    else:
        print(compare.as_text(a, b))
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    calibration = open_calibration(arguments.profile, **_fitting(arguments))
    timing = predict.Timing(
        arguments.samples, arguments.duration_s, arguments.freq_hz, arguments.energy_j, arguments.timing_start_c
    )
    clocks = arguments.at_hz or [opp.freq_hz for opp in calibration.opp]
    if arguments.start_c is None and arguments.for_s is not None:
        raise CalibrateError("--for-s says nothing without --start-c; give how warm the board is when it begins")
    warmth = None if arguments.start_c is None else predict.Warmth(arguments.start_c, arguments.for_s or math.inf)
    found = predict.predict(calibration, timing, clocks, warmth)
    if arguments.json:
        _print_json([asdict(one) for one in found])
        return 0
    print(f"{'MHz':>7} {'s/sample':>10} {'±':>6} {'J/sample':>10} {'±':>6}")
    for one in found:
        print(
            f"{one.freq_hz / 1e6:>7g} {one.s_per_sample:>10.4g} {one.s_uncertainty:>6.1%}"
            f" {one.j_per_sample:>10.4g} {one.j_uncertainty:>6.1%}"
        )
    return 0


def _sweep(arguments: argparse.Namespace) -> int:
    from tools.calibrate.sweep import Settings, sweep

    given = vars(arguments)
    names = [field.name for field in fields(Settings) if field.name not in ("cores", "opps_hz")]
    cores = tuple(part.strip() for part in arguments.cores.split(","))
    return sweep(Settings(**{name: given[name] for name in names}, cores=cores, opps_hz=tuple(arguments.opps)))


def _radio(arguments: argparse.Namespace) -> int:
    found = radio.calibrate_radio(read_text(arguments.csv), str(arguments.csv), arguments.idle_w)
    if arguments.json:
        _print_json(found)
    else:
        print(radio.as_text(found))
    return 0


def _fitting(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"idle_w": arguments.idle_w, "cores": arguments.cores, "network": arguments.network}


def _mention_unknown(path: Path) -> None:
    sheet, _ = read_rows(read_text(path), str(path))
    if sheet.unknown:
        print(f"fimi-calibrate: {path}: columns that are not used: {', '.join(sheet.unknown)}", file=sys.stderr)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fimi-calibrate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_sweep(commands.add_parser("sweep", help="drive the board through its clocks, a line a window; resumable"))
    fit = commands.add_parser("fit", help="fit a sweep's CSV, or one made by hand, and write a profile")
    fit.add_argument("csv", type=Path, metavar="CSV")
    fit.add_argument("--out", type=Path, metavar="PROFILE.toml")
    show = commands.add_parser("show", help="the fit over the points, as a table or a picture")
    show.add_argument("file", type=Path, metavar="PROFILE|CSV")
    show.add_argument("--png", type=Path, metavar="FILE")
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
    uploads = commands.add_parser("radio", help="what an upload costs at each transmit power")
    uploads.add_argument("csv", type=Path, metavar="CSV")
    uploads.add_argument("--idle-w", type=_cell(number), help="the idle floor (default: the file's idle windows)")
    for command in (fit, both, other, uploads):
        command.add_argument("--json", action="store_true", help="print an object for programs")
    for command in (fit, show, both, other):
        command.add_argument("--idle-w", type=_cell(number), help="the idle floor (default: the file's idle windows)")
        command.add_argument("--cores", type=_cell(whole), help="which windows (default: the most cores in the file)")
        command.add_argument("--network", help="which windows, where a file holds several networks")
    return parser


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
    add("--runtime", choices=("torch", "numpy"), default="torch")


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "fit": _fit,
    "show": _show,
    "compare": _compare,
    "predict": _predict,
    "sweep": _sweep,
    "radio": _radio,
}


if __name__ == "__main__":
    sys.exit(main())
