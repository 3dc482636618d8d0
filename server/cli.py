"""fimi-server: one federated run, or each of its steps alone.

A step reads the run directory that the steps before it wrote, so any of them can be done again:
  fimi-server devices RUN.toml      wait for devices and measure them -> a new run directory
  fimi-server plan RUN_DIR          the plan of each strategy
  fimi-server synth RUN_DIR         the synthetic samples of each device
  fimi-server run --resume RUN_DIR  the rounds that are not on record yet, then the report
  fimi-server report RUN_DIR        report.json and report.html
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from server import assessing, checking, exporting, generating, making, planning
from server.endings import exit_code
from server.errors import ConfigError, FimiServerError

if TYPE_CHECKING:
    from server.config import Strategy
    from server.steps import Run

EXIT_CODES = """exit codes:
  0    done
  1    an error that the server did not foresee
  2    the run file or the command line is wrong
  3    no plan keeps the constraints, or a checked plan breaks one; the message names it
  4    a data set, a checkpoint or a file of the run directory is missing or broken
  5    no broker, its port is taken, or it refuses us or cannot be trusted
  6    too few devices, or a device cannot take part
  7    a package of an extra is not installed; the message has the line that installs it
  8    the disk or the memory is full; what was done is kept
  130  ended by Ctrl-C, SIGTERM or SIGHUP; `run --resume RUN_DIR` goes on
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    arguments = build_parser().parse_args(argv)
    return exit_code("fimi-server", partial(arguments.function, arguments))


def build_parser() -> argparse.ArgumentParser:
    """All commands; nothing heavy is imported for it."""
    parser = argparse.ArgumentParser(
        prog="fimi-server", description=__doc__, epilog=EXIT_CODES, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="a whole run, or the rest of one")
    run.add_argument("config", type=Path, nargs="?", metavar="RUN.toml")
    run.add_argument("--resume", type=Path, metavar="RUN_DIR", help="go on with an interrupted run")
    run.set_defaults(function=run_command)
    without = "go on without devices that alone make a plan impossible"
    run.add_argument("--drop-infeasible", action="store_true", help=without)
    fresh = "draw new synthetic samples, whatever the pool holds (as synth.fresh = true)"
    run.add_argument("--fresh", action="store_true", help=fresh)

    devices = commands.add_parser("devices", help="enrol and measure devices, or list what is known of them")
    devices.add_argument("target", type=Path, nargs="?", metavar="RUN.toml|RUN_DIR", help="left out: the registry")
    devices.set_defaults(function=devices_command)
    for command in (run, devices):
        command.add_argument("--out", type=Path, metavar="DIR", help="folder of runs (default: `out` of RUN.toml)")

    for name, what, function in (
        ("plan", "solve the plan of each strategy anew from devices.json", plan_command),
        ("synth", "draw each device's synthetic samples anew from the plans", synth_command),
        ("report", "report.json and report.html from what is on record", report_command),
    ):
        step = commands.add_parser(name, help=what)
        step.add_argument("run_dir", type=Path, metavar="RUN_DIR", nargs="?" if name == "plan" else None)
        step.set_defaults(function=function)
        if name == "plan":
            step.add_argument("--drop-infeasible", action="store_true", help=without)
            planning.add_options(step)
        if name == "synth":
            step.add_argument("--fresh", action="store_true", help=fresh)
            generating.add_ray_options(step)

    deal = commands.add_parser("partition", help="write one data file a device, for real boards")
    deal.add_argument("config", type=Path, metavar="RUN.toml")
    deal.add_argument("--out", type=Path, required=True, metavar="DIR")
    deal.set_defaults(function=partition_command)
    making.add_commands(commands)
    generating.add_commands(commands)
    assessing.add_commands(commands)
    checking.add_commands(commands)
    exporting.add_commands(commands)
    return parser


# ---- commands ----------------------------------------------------------------------------------------------------


def run_command(arguments: argparse.Namespace) -> None:
    """fimi-server run"""
    if (arguments.config is None) == (arguments.resume is None):
        raise ConfigError("run needs either RUN.toml or --resume RUN_DIR")
    from server import pipeline
    from server.progress import Progress

    progress = Progress()
    drop = arguments.drop_infeasible
    if arguments.resume is not None:
        if arguments.fresh:
            raise ConfigError(
                "run --resume goes on as the run began; for new samples: fimi-server synth --fresh RUN_DIR"
            )
        run = pipeline.open_run(arguments.resume, progress, drop_infeasible=drop)
        progress.say(f"run directory: {run.folder.path}")
        pipeline.run_to_end(pipeline.whole_run(run), progress)
        return
    run = pipeline.new_run(arguments.config, arguments.out, progress, drop_infeasible=drop, fresh=arguments.fresh)
    with _removed_if_refused(run):
        pipeline.run_to_end(pipeline.whole_run(run), progress)


def devices_command(arguments: argparse.Namespace) -> None:
    """fimi-server devices"""
    if arguments.target is None:
        _list_registry((arguments.out or Path("runs")) / "registry.sqlite")
        return
    from server import pipeline
    from server.progress import Progress

    progress = Progress()
    if arguments.target.is_dir():
        run = pipeline.open_run(arguments.target, progress)
        for device in run.folder.devices():
            progress.say(pipeline.describe_device(device))
        return
    run = pipeline.new_run(arguments.target, arguments.out, progress)
    with _removed_if_refused(run):
        pipeline.run_to_end(pipeline.devices_only(run), progress)


def plan_command(arguments: argparse.Namespace) -> None:
    """fimi-server plan"""
    if not planning.plans_a_run(arguments):
        planning.plan_command(arguments)
        return
    from server import run_plans

    run, left = _open_unstarted(arguments.run_dir)
    run_plans.plan_anew(replace(run, drop_infeasible=arguments.drop_infeasible), left)


def synth_command(arguments: argparse.Namespace) -> None:
    """fimi-server synth"""
    from server import steps
    from server.run_dir import Origin

    run, left = _open_unstarted(arguments.run_dir)
    if arguments.fresh:
        run = replace(run, config=steps.with_fresh(run.config))
    with ExitStack() as stack:
        make = None
        if generating.wants_ray(arguments):
            from server.sampling import made_for_run

            make = stack.enter_context(
                made_for_run(run.config, run.base, run.folder, arguments.ray, arguments.workers, run.progress.say)
            )
        for strategy in left:
            shards = steps.make_shards(run, strategy, run.folder.plan(strategy), anew=True, make=make)
            run.progress.say(f"{strategy}: {len(shards)} shards, {sum(map(len, shards.values()))} samples")
    if arguments.fresh:  # last: what an interruption leaves is still of the kind that the run had before
        run.folder.save("origin.json", Origin(base_dir=str(run.base), fresh=True))


def report_command(arguments: argparse.Namespace) -> None:
    """fimi-server report"""
    from server import pipeline, steps
    from server.progress import Progress

    steps.report(pipeline.open_run(arguments.run_dir, Progress()))


def partition_command(arguments: argparse.Namespace) -> None:
    """fimi-server partition"""
    from server import steps
    from server.config import load_config
    from server.data.devices import write_device
    from server.data.load import load_dataset

    config = load_config(arguments.config)
    base = arguments.config.resolve().parent
    source = config.data
    data = load_dataset(source.source, image_size=source.image_size, seed=source.split_seed, base=base)
    ids = [board.id for board in config.boards] or [f"device-{i + 1}" for i in range(config.n_devices)]
    for device, indices in zip(ids, steps.deal_private(config, data, steps.cut(config, data), len(ids)), strict=True):
        write_device(arguments.out / f"{device}.npz", data.x_train[indices], data.y_train[indices], data.n_classes)
        print(f"{arguments.out / device}.npz: {len(indices)} samples")


# ---- helpers -----------------------------------------------------------------------------------------------------


@contextmanager
def _removed_if_refused(run: Run) -> Iterator[None]:
    """A run that is refused before anything was done leaves no directory behind."""
    run.progress.say(f"run directory: {run.folder.path}")
    try:
        yield
    except (FimiServerError, ModuleNotFoundError):
        if run.folder.remove_untouched():
            run.progress.say("refused before anything was done: the run directory is removed again")
        raise


def _open_unstarted(path: Path) -> tuple[Run, tuple[Strategy, ...]]:
    """A run directory and the strategies whose plans and shards may still change: rounds on record keep theirs."""
    from server import pipeline
    from server.progress import Progress

    run = pipeline.open_run(path, Progress())
    begun = [strategy for strategy in run.config.strategies if run.folder.rounds(strategy)]
    if begun:
        run.progress.say(f"kept, because rounds are on record: {', '.join(begun)}")
    return run, tuple(strategy for strategy in run.config.strategies if strategy not in begun)


def _list_registry(path: Path) -> None:
    from server.errors import DataError
    from server.registry import open_registry

    if not path.exists():
        raise DataError(f"no registry at {path}: no device has enrolled yet")
    with open_registry(path) as registry:
        for device in registry.devices():
            measured = len(device.profile.points) if device.profile else 0
            print(
                f"{device.fleet}/{device.id}: {device.capabilities.board}, {sum(device.label_counts)} samples, "
                f"room for {device.storage_samples} synthetic, {measured} measured clocks"
            )


if __name__ == "__main__":
    sys.exit(main())
