"""`fimi-client doctor [--json]`: looks at the board, prints what it found, and ends with 0 whatever that is."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
import time
from collections.abc import Iterator

import msgspec

from edge_client.config import ClientConfig, parse_broker, wanted_meter
from edge_client.doctor import checks, owner, report
from edge_client.doctor.bandwidth import bandwidth
from edge_client.doctor.broker import broker
from edge_client.doctor.checks import Check
from edge_client.doctor.report import Report
from edge_client.errors import SetupError
from edge_client.hardware import meters, sampler
from edge_client.hardware.board import Board
from edge_client.hardware.settings import SettingsFile
from edge_client.protocol.joining import tls_context
from edge_client.runtimes import HERE


def examine(config: ClientConfig, board: Board, settings: SettingsFile, version: str, *, trial: bool = False) -> Report:
    """All checks of this board, with a trial of its runtimes if asked for; raises SetupError for a configuration that
    is wrong in itself."""
    kinds = meters.survey(board.fs, board.name, board.firmware, wanted_meter(config))
    power_w = sampler.look(board.meter) if board.meter else None
    found = [
        checks.clock(board),
        checks.limits(board),
        checks.radio(board),
        bandwidth(board),
        *checks.meter(board, kinds, power_w),
        *checks.surroundings(board),
        *checks.runtimes(config.runtime),
        *(_trials(config, board) if trial else ()),
        owner.user(board.fs.root),
        checks.rights(board),
        *owner.allowed(config.limits.rules, board.conditions(time.localtime())),
        *checks.state(config.state_path, settings),
        checks.samples(config.data),
        _broker(config),
    ]
    source = board.meter.info.source if board.meter else "unavailable"
    summary = report.summarise(found, config.runtime, source)
    return Report(version=version, board=board.name, checks=tuple(found), summary=summary)


def _trials(config: ClientConfig, board: Board) -> Iterator[Check]:
    from edge_client.doctor import trial

    working = [name for name in HERE.working() if config.runtime in ("auto", name)]
    yield from trial.checks(trial.trials(config, board, working))


def _broker(config: ClientConfig) -> Check:
    address = parse_broker(config.broker) if config.broker else None
    tls: ssl.SSLContext | None = None
    if address is not None and address.tls:
        try:
            tls = tls_context(config.ca_file, config.cert_file, config.key_file)
        except ValueError as error:
            raise SetupError(str(error)) from error
    return broker(address, config.id, tls, config.ca_file)


def show(found: Report, *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    print(report.text(found, width, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
