"""fimi-calibrate: what training costs on a board at each clock, measured and fitted.

    fimi-calibrate sweep --root / --data BOARD.npz --out SWEEP.csv    drive the board through its clocks (resumable)
    fimi-calibrate fit SWEEP.csv --out PROFILE.toml                    fit law and table
    fimi-calibrate show PROFILE.toml|SWEEP.csv|UPLOADS.csv [--png FILE]
    fimi-calibrate compare A B
    fimi-calibrate predict PROFILE.toml --samples N --duration-s S --freq-hz F
    fimi-calibrate radio-sink                                          on a machine behind the access point
    fimi-calibrate radio-sweep --to HOST:9009 --out UPLOADS.csv        drive the radio through its powers (resumable)
    fimi-calibrate radio UPLOADS.csv --out PROFILE.toml                fit what uploads cost

Exit status: 0 done; 2 a file or option is wrong; of a sweep also 3 the data, 6 the clock or the meter, 7 an extra is
not installed, 8 training, 130 interrupted (the same command goes on).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from edge_client.errors import FimiClientError
from firmware_profiles.calibrated import Calibration
from firmware_profiles.calibrated_radio import CalibratedRadio
from firmware_profiles.strict import ConfigError
from tools.calibrate import compare, options, predict, radio_summary, summary
from tools.calibrate.csv_text import read_text
from tools.calibrate.errors import CalibrateError
from tools.calibrate.profile_file import merge_radio, merge_sweep, open_calibration, open_either, write_profile
from tools.calibrate.radio import calibrate_radio
from tools.calibrate.rows import read_rows


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = options.parser(__doc__ or "").parse_args(argv)
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
        write_profile(arguments.out, merge_sweep(arguments.out, calibration))
    if arguments.json:
        _print_json(summary.as_json(calibration))
    else:
        print(summary.as_text(calibration, str(arguments.csv)))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    sweep, uploads = open_either(arguments.file, **_fitting(arguments))
    if arguments.png is not None:
        _draw(sweep, uploads, arguments)
        return 0
    texts = [] if sweep is None else [summary.as_text(sweep, str(arguments.file))]
    texts += [] if uploads is None else [radio_summary.as_text(uploads, str(arguments.file))]
    print("\n\n".join(texts))
    return 0


def _draw(sweep: Calibration | None, uploads: CalibratedRadio | None, arguments: argparse.Namespace) -> None:
    """The sweep's picture where there is a sweep, unless the radio's is asked for."""
    if arguments.radio and uploads is None:
        raise CalibrateError(f"{arguments.file}: has no uploads; fimi-calibrate radio UPLOADS.csv --out adds them")
    try:
        from tools.calibrate import figure, radio_figure
    except ModuleNotFoundError as error:
        raise CalibrateError(f"--png needs {error.name}; install it with: pip install 'fimi[server]'") from None
    name = arguments.file.name
    if sweep is not None and not arguments.radio:
        drawn = figure.draw(sweep, name)
    else:
        assert uploads is not None  # a file has one of both
        drawn = radio_figure.draw(uploads, name)
    figure.save(drawn, arguments.png)


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
    if arguments.csv.suffix == ".toml":
        raise CalibrateError(f"{arguments.csv}: is a profile; give the CSV of uploads, or use `fimi-calibrate show`")
    found = calibrate_radio(read_text(arguments.csv), str(arguments.csv), arguments.idle_w)
    if arguments.out is not None:
        write_profile(arguments.out, merge_radio(arguments.out, found))
    if arguments.json:
        _print_json(radio_summary.as_json(found))
    else:
        print(radio_summary.as_text(found, str(arguments.csv)))
    return 0


def _radio_sweep(arguments: argparse.Namespace) -> int:
    from tools.calibrate.radio_sweep import RadioSettings, radio_sweep

    given = vars(arguments)
    chosen = {field.name: given[field.name] for field in fields(RadioSettings)}
    lists = {name: tuple(chosen[name]) for name in ("levels_w", "payload_bytes")}
    return radio_sweep(RadioSettings(**{**chosen, **lists}))


def _radio_sink(arguments: argparse.Namespace) -> int:
    from tools.calibrate.sending import sink

    async def serve() -> None:
        server = await sink(*arguments.listen)
        print(f"swallows what comes to {arguments.listen[0]}:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()

    asyncio.run(serve())
    return 0


def _fitting(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"idle_w": arguments.idle_w, "cores": arguments.cores, "network": arguments.network}


def _mention_unknown(path: Path) -> None:
    sheet, _ = read_rows(read_text(path), str(path))
    if sheet.unknown:
        print(f"fimi-calibrate: {path}: columns that are not used: {', '.join(sheet.unknown)}", file=sys.stderr)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "fit": _fit,
    "show": _show,
    "compare": _compare,
    "predict": _predict,
    "sweep": _sweep,
    "radio": _radio,
    "radio-sweep": _radio_sweep,
    "radio-sink": _radio_sink,
}


if __name__ == "__main__":
    sys.exit(main())
