"""`make arm64`: what a board's install comes to on arm64 Debian 12, and one federated round there, on any machine.

    python -m tools.arm64 [--folder build/arm64-root] [--runtime onnx] [STAGE ...]

Stages, all of them unless some are named: `root` (debootstrap), `install` (fimi[onnx] in a virtual environment inside),
`measure` (its size, at most 145 MB, and the seconds until the client has started), `round` (server and broker here, the
client inside). The first two are done once; an interrupted one is done again. Root only. Status 1: something is not as
it must be; one sentence says what.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tools.arm64 import debian, install
from tools.arm64.enter import Entrance, entrance
from tools.arm64.trouble import Trouble
from tools.arm64.watched import say

STAGES = ("root", "install", "measure", "round")
HERE = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.arm64", description=__doc__.partition("\n")[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)} (default: all)")
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "arm64-root", help="of the root and its stages")
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="of Debian")
    parser.add_argument("--dist", type=Path, default=HERE / "dist", help="folder of FIMI's wheel")
    parser.add_argument("--runtime", default="onnx", help="that trains in the round")
    parser.add_argument("--by", choices=["native", "binfmt", "proot"], help="how to enter (default: the best there is)")
    parser.add_argument("--compile", action="store_true", help="make bytecode of everything, as pip does unasked")
    arguments = parser.parse_args(argv)
    unknown = sorted(set(arguments.stages) - set(STAGES))
    if unknown:
        parser.error(f"no stage {', '.join(unknown)}; there are {', '.join(STAGES)}")
    signal.signal(signal.SIGTERM, _ended)
    try:
        return _run(arguments, arguments.stages or STAGES)
    except Trouble as trouble:
        print(f"arm64: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _ended(number: int, frame: object) -> NoReturn:  # noqa: ARG001
    raise SystemExit(128 + number)


def _run(arguments: argparse.Namespace, stages: Sequence[str]) -> int:
    if os.geteuid() != 0:
        raise Trouble("root only: it changes into another root and mounts; run: sudo make arm64")
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Trouble(f"another command is at work in {folder}; wait for it, or give another --folder") from None
        result = _load(folder)
        with entrance(debian.root_of(folder), arguments.by) as way:
            say(f"commands run inside by {way.kind}")
            if "root" in stages:
                debian.make(folder, way, arguments.mirror)
            if "install" in stages:
                install.install(folder, way, install.newest_wheel(arguments.dist), bytecode=arguments.compile)
            if "measure" in stages:
                result |= _measured(folder, way, arguments.runtime)
            if "round" in stages:
                result |= _round(folder, way, arguments.runtime)
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    installed_mb = result.get("installed_mb")
    if isinstance(installed_mb, float) and installed_mb > install.LIMIT_MB:
        raise Trouble(f"the install takes {installed_mb} MB, more than {install.LIMIT_MB:.0f}")
    return 0


def _load(folder: Path) -> dict[str, object]:
    """What an earlier call found out, for stages that are not done now."""
    file = folder / "result.json"
    held: dict[str, object] = json.loads(file.read_text()) if file.is_file() else {}
    return held


def _measured(folder: Path, way: Entrance, runtime: str) -> dict[str, object]:
    startup_s = install.startup_s(way)
    say(f"fimi-client starts in {startup_s:.2f} s, emulated; {install.doctor(way, runtime)}")
    return {
        **_weighed(folder),
        "startup_s": round(startup_s, 2),
        "entered_by": way.kind,
        "versions": install.versions(folder),
    }


def _weighed(folder: Path) -> dict[str, object]:
    found = install.size(folder)
    say(
        f"fimi[{install.EXTRA}] takes {found.installed_mb:.1f} MB, {found.files_mb:.1f} of the wheels and "
        f"{found.bytecode_mb:.1f} of bytecode (at most {install.LIMIT_MB:.0f})"
    )
    return {
        "files_mb": found.files_mb,
        "bytecode_mb": found.bytecode_mb,
        "installed_mb": round(found.installed_mb, 1),
    }


def _round(folder: Path, way: Entrance, runtime: str) -> dict[str, object]:
    from tools.arm64.round import one_round  # the server's side: not needed for the other stages

    say(f"one round, runtime {runtime}: minutes")
    done = one_round(folder / "round", way, runtime)
    say(f"the round is complete, the update accepted, the client restored its board: {done.seconds:.0f} s in all")
    return {
        **_weighed(folder),  # again: what was not compiled by pip was by now
        "round": {
            "runtime": runtime,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "samples": done.samples,
            "accuracy": done.accuracy,
            "round_s": round(done.round_s, 1),
            "run_s": round(done.seconds, 1),
        },
    }


if __name__ == "__main__":
    sys.exit(main())
