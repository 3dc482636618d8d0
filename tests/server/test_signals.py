"""Whatever ends a run from outside ends it in order: Ctrl-C, SIGTERM, and a terminal that is gone."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A "run" that writes a file on its way out, after having tried to say so on its terminal.
CODE = """
import asyncio, sys
from pathlib import Path
from server.pipeline import run_to_end
from server.progress import Progress

progress = Progress()

async def steps():
    try:
        progress.say("begun")
        await asyncio.sleep(60)
    finally:
        progress.say("ending")
        Path(sys.argv[1]).write_text("in order")

try:
    run_to_end(steps(), progress)
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_in_order(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path / "end")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "begun\n"
        run.send_signal(number)
        said, error = run.communicate(timeout=60)
    assert (run.returncode, said, error) == (130, "ending\n", "interrupted\n")
    assert (tmp_path / "end").read_text() == "in order"


def test_a_terminal_that_is_gone_does_not_end_the_clean_up(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", CODE, str(tmp_path / "end")],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one system call
    )
    os.close(theirs)
    said = b""
    while b"begun" not in said:
        said += os.read(ours, 4096)
    os.close(ours)  # the ssh session is closed: the kernel hangs up, and every write is an error from now on
    assert run.wait(60) == 130
    assert (tmp_path / "end").read_text() == "in order"


def test_under_nohup_a_run_outlives_its_terminal(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", CODE, str(tmp_path / "end")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "begun\n"
        run.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(0.5)
        run.terminate()
        assert run.wait(60) == 130
        run.communicate()
