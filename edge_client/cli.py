"""fimi-client: takes part in a fleet.

    fimi-client run --broker mqtt://HOST --fleet NAME --id DEVICE --data DEVICE.npz [--config client.toml] ...
    fimi-client doctor [--json] [--trial]  what this board can do, what it lacks, and what mends it
    fimi-client evaluate --data FILE    how good the model that it was last sent is on its samples
    fimi-client export --out FILE       that model in the runtime's own form, for use without FIMI
    fimi-client show [--root DIR]       what this board is and can do, as JSON
    fimi-client restore [--root DIR]    put back the settings that a killed client left changed (systemd: ExecStopPost)
    fimi-client radio-check             ask the access point whether this board's transmit power is heeded
    fimi-client helper [--group GROUP]  the privileged process that sets clock, transmit power and upload rate for it
    fimi-client units DIR               write systemd units for agent and helper, and udev rules as the other way

Exit status: 0 ended as asked; 2 command line or configuration; 3 the device's data; 5 the broker refuses this client or
cannot be trusted; 6 a setting could not be restored; 7 an extra is not installed; 8 training.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import signal
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edge_client import calibration, model_commands, options
from edge_client.agent.link import Line
from edge_client.agent.setup import Setup
from edge_client.agent.shell import Shell
from edge_client.config import ClientConfig, check_complete, load_place, merge, parse_broker, try_cpus, wanted_meter
from edge_client.errors import FimiClientError, HardwareError, SetupError
from edge_client.events import Device
from edge_client.hardware import board as boards
from edge_client.hardware import radio_check, sampler
from edge_client.hardware.alone import alone
from edge_client.hardware.board import Board
from edge_client.hardware.meters import Wanted
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.sysfs import SysFs
from edge_client.hardware.txpower import IwTxPower
from edge_client.helper import client as helpers
from edge_client.helper import command
from edge_client.helper.client import SOCKET
from edge_client.options import Own
from edge_client.protocol.joining import tls_context
from edge_client.protocol.topics import Topics
from edge_client.runtimes import HERE, MODULES
from edge_client.runtimes import Name as Runtime
from edge_client.training import data
from firmware_profiles.strict import ConfigError, load_toml

log = logging.getLogger("fimi")

_LEFT = "settings.json"


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    flags = vars(options.parser(version()).parse_args(argv))
    name = flags.pop("command")
    config_path = flags.pop("config", None)
    own: Own = {flag: flags.pop(flag) for flag in options.OWN if flag in flags}
    wrong: ConfigError | None = None
    try:
        try:
            config = load_toml(Path(config_path), ClientConfig) if config_path else ClientConfig()
        except ConfigError as error:
            if name != "restore":
                raise
            wrong, config = error, load_place(Path(config_path or ""))  # a board is put back whatever else is wrong
        config = merge(config, flags)
        logging.basicConfig(
            level="ERROR" if name == "doctor" else config.log_level.upper(),  # what is wrong stands in its report
            format=f"%(asctime)s {config.id or 'fimi-client'} %(levelname)s %(message)s",
        )
        status = _COMMANDS[name](config, own)
        if wrong is not None:
            raise wrong
        return status
    except (FimiClientError, ConfigError) as error:
        print(f"fimi-client: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def version() -> str:
    """The installed version, or "unknown" in a source tree that is not installed."""
    try:
        return importlib.metadata.version("fimi")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _run(config: ClientConfig, own: Own) -> int:  # noqa: ARG001
    check_complete(config)
    assert config.broker and config.fleet and config.id and config.data  # check_complete said so
    runtimes = HERE.choice(config.runtime)
    samples = data.load(Path(config.data))
    _root(config)
    try_cpus(config.cpu_list)
    with _alone(config):
        return _take_part(config, samples, runtimes)


def _take_part(config: ClientConfig, samples: data.LocalData, runtimes: tuple[Runtime, ...]) -> int:
    assert config.broker and config.fleet and config.id and config.data
    wanted = wanted_meter(config)
    runtimes = calibration.runtimes(wanted.calibration, config.calibration, runtimes)
    if config.runtime == "auto" and runtimes == ("numpy",):
        log.warning("NumPy trains, at a twentieth of the speed of a runtime; install one with: %s", MODULES["onnx"][1])
    board = _board(config, wanted)
    board.restore()  # what a client that was killed had changed
    device = Device(
        name=config.id,
        label_counts=samples.label_counts,
        image_shape=samples.image_shape,
        storage_samples=config.storage_samples,
        capabilities=board.capabilities(runtimes),
        client_version=version(),
        calibration=calibration.offer(wanted.calibration) if wanted.calibration else None,
    )
    broker = parse_broker(config.broker)
    line = Line(
        broker=broker,
        topics=Topics(config.fleet),
        device=config.id,
        max_packet_bytes=config.max_packet_bytes,
        tls=_tls(config) if broker.tls else None,
        ca_file=config.ca_file,
    )
    setup = Setup(
        device=device,
        line=line,
        board=board,
        data=Path(config.data).resolve(),
        state_dir=config.state_path,
        runtimes=runtimes,
        bfloat16=config.bfloat16,
        memory_bytes=config.trainer_bytes,
        threads=config.n_threads,
        cpus=config.cpu_list,
        rules=config.limits.rules,
        meter_period_s=config.meter_period_s,
        heartbeat_s=config.heartbeat_s,
    )
    try:
        asyncio.run(_serve(setup))
    except FimiClientError as error:
        if not _settings(board.fs, _left(config)).load():
            raise
        log.error("%s", error)  # a board that is not as it was is the graver of the two
    return _check_restored(config)


async def _serve(setup: Setup) -> None:
    shell = Shell(setup)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # started with nohup: it is to outlive its terminal
        loop.add_signal_handler(number, shell.stop, f"the client was ended by {number.name}")
    await shell.run()


def _show(config: ClientConfig, own: Own) -> int:  # noqa: ARG001
    board = _board(config)
    seen = {
        "capabilities": board.capabilities(HERE.working()),
        "power_w": sampler.look(board.meter) if board.meter else None,
        "no_meter": board.no_meter,
        "upload_share": board.upload_share(),
        "temperature_c": board.temperature_c(),
        "limits": None if (limits := board.limits.read()) is None else sorted(limits),
        "waited_us": board.waited_us(),
        "version": version(),
    }
    print(msgspec.json.format(msgspec.json.encode(seen)).decode())
    return 0


def _radio_check(config: ClientConfig, own: Own) -> int:  # noqa: ARG001
    _root(config)
    with _alone(config):
        return _check_radio(config)


def _check_radio(config: ClientConfig) -> int:
    board = _board(config, Wanted("none"))
    board.restore()
    if not isinstance(board.tx, IwTxPower):
        raise SetupError("there is no Wi-Fi card whose transmit power iw tells; name it with --interface")
    if config.rssi is None:
        raise SetupError("[rssi] is missing in client.toml; give `command`, which prints what the access point hears")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of what restores
    reader = radio_check.signal_reader(board.fs, config.rssi.command)
    found = radio_check.check(board.tx, reader, config.rssi.settle_s)
    radio_check.keep(boards.radio_file(_settings(board.fs, _left(config))), found)
    told = "heeds its transmit power" if found.capability == "enforced" else "ignores what it is set to"
    print(f"{found.interface} {told}: asked for {found.asked_db:g} dB less, the access point saw {found.followed_db:g}")
    return _check_restored(config)


def _restore(config: ClientConfig, own: Own) -> int:  # noqa: ARG001
    _board(config, Wanted("none"), "none").restore()  # a helper restores what it has changed by itself
    return _check_restored(config)


def _doctor(config: ClientConfig, own: Own) -> int:
    from edge_client.doctor import command as doctor

    board = _board(config)
    settings = _settings(board.fs, _left(config))
    found = doctor.examine(config, board, settings, version(), trial=bool(own["trial"]))
    doctor.show(found, as_json=bool(own["json"]))
    return 0


def _helper(config: ClientConfig, own: Own) -> int:
    root = _root(config)
    folder = Path(config.state_dir) if config.state_dir else root / SOCKET.rpartition("/")[0]
    fs, path = SysFs(root), own["socket"]
    return command.run_helper(fs, _settings(fs, folder / _LEFT), Path(path) if path else None, own["group"])


def _units(config: ClientConfig, own: Own) -> int:  # noqa: ARG001
    assert own["folder"] and own["unit_config"]
    return command.write_units(Path(own["folder"]), own["unit_config"])


def _settings(fs: SysFs, path: Path) -> SettingsFile:
    return SettingsFile(path, fs.read("proc/sys/kernel/random/boot_id"))


def _left(config: ClientConfig) -> Path:
    """The file that is there as long as a setting of the board is changed."""
    return config.state_path / _LEFT


@contextlib.contextmanager
def _alone(config: ClientConfig) -> Iterator[None]:
    """Nobody else changes this board's settings inside the context; raises SetupError."""
    try:
        config.state_path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"--state-dir {config.state_path}: {error.strerror}; give a folder to write to") from error
    with alone(config.state_path):
        yield


def _check_restored(config: ClientConfig) -> int:
    path = _left(config)
    if _settings(SysFs(_root(config)), path).load():
        raise HardwareError(f"not everything could be restored; what remains stands in {path}")
    return 0


def _root(config: ClientConfig) -> Path:
    root = Path(config.root)
    if not root.is_dir():
        raise SetupError(f"--root {root} is no folder; give the folder that holds the board's sys/ and bin/")
    return root


def _board(config: ClientConfig, wanted: Wanted | None = None, helper: str | None = None) -> Board:
    """The board; `helper` goes before the configuration's. Raises SetupError where its calibration is another's."""
    fs = SysFs(_root(config))
    wanted = wanted or wanted_meter(config)
    if wanted.calibration is not None:
        calibration.check(wanted.calibration, config.calibration, boards.name_of(fs), config.n_threads)
    return boards.discover(
        fs,
        _settings(fs, _left(config)),
        config.interface,
        wanted,
        config.cpu_list,
        helpers.find(fs, helper or config.helper),
    )


def _tls(config: ClientConfig) -> ssl.SSLContext:
    try:
        return tls_context(config.ca_file, config.cert_file, config.key_file)
    except ValueError as error:
        raise SetupError(str(error)) from error


_COMMANDS: dict[str, Callable[[ClientConfig, Own], int]] = {
    "run": _run,
    "doctor": _doctor,
    "evaluate": model_commands.evaluate_model,
    "export": model_commands.export_model,
    "show": _show,
    "radio-check": _radio_check,
    "restore": _restore,
    "helper": _helper,
    "units": _units,
}


if __name__ == "__main__":
    sys.exit(main())
