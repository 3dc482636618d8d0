"""A command that takes minutes: all it says goes to a log, and a line now and then tells that it is alive."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import psutil

from edge_client.protocol.processes import die_with_parent
from tools.arm64.trouble import Trouble

Child = subprocess.Popen[str]

EVERY_S = 15.0
"""Between two lines of progress."""

TAIL = 12
"""Lines of the log that are shown where the command fails."""


def say(line: str) -> None:
    """A line of progress, at once even where the output is a pipe."""
    print(f"arm64: {line}", flush=True)


def watched(words: Sequence[str | Path], log: Path, what: str) -> float:
    """Run it to its end and return its seconds; raises Trouble with the log's last lines where it fails."""
    begun = told = time.monotonic()
    say(what)
    with log.open("a") as kept:
        kept.write(f"== {what}\n")
        kept.flush()
        process = started(words, subprocess.PIPE)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                kept.write(line)
                if time.monotonic() - told > EVERY_S:
                    told = time.monotonic()
                    say(f"  {told - begun:.0f} s: {line.strip()}")
            process.wait()
        finally:
            end_all(process)
    if process.returncode != 0:
        raise Trouble(f"{what}: failed with status {process.returncode}; {log} ends with\n{tail(log)}")
    return time.monotonic() - begun


def answer(words: Sequence[str | Path], what: str) -> str:
    """What a short command prints; raises Trouble where it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Trouble(f"{what}: failed with status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def started(words: Sequence[str | Path], output: int | IO[str], env: Mapping[str, str] | None = None) -> Child:
    """A child that dies with this process, what it says in one stream."""
    number = signal.SIGKILL if words[0] == "proot" else signal.SIGTERM  # nothing else ends proot
    return subprocess.Popen(
        [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        preexec_fn=partial(die_with_parent, os.getpid(), number),  # noqa: PLW1509
    )


def end_all(process: Child) -> None:
    """Kill it and all that it started, at whatever depth; nothing happens where it has ended by itself."""
    if process.poll() is None:
        try:
            family = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        process.kill()
        for one in family:
            if one.is_running():
                one.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def tail(log: Path) -> str:
    """Its last lines, indented."""
    lines = log.read_text(errors="replace").splitlines()[-TAIL:] if log.is_file() else []
    return "\n".join(f"    {line}" for line in lines)
