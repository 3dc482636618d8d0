"""A real sweep of a virtual board: killed in mid-window, interrupted, and gone on with by the same command."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.tools.calibrate.virtual_board import CALIBRATE, ENVIRONMENT, start, until, virtual_board
from tools.calibrate.cli import main
from tools.calibrate.rows import Row, read_rows

CLOCKS = ("600000000", "1000000000", "1500000000")


def rows_of(path: Path) -> tuple[Row, ...]:
    return read_rows(path.read_text(), path.name)[1]


def restore(root: Path) -> subprocess.CompletedProcess[str]:
    """What README tells whoever does not start the sweep again."""
    command = [sys.executable, "-m", "edge_client.cli", "restore", "--root", str(root), "--state-dir"]
    return subprocess.run(
        [*command, str(root / "run/fimi-calibrate")], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )


def test_a_sweep_survives_sigkill_and_ctrl_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sweep.csv"
    with virtual_board(tmp_path) as board:
        root = Path(board["root"])
        policy, held = root / "sys/devices/system/cpu/cpufreq/policy0", root / "run/fimi-calibrate/settings.json"
        as_booted = {name: (policy / name).read_text() for name in ("scaling_governor", "scaling_min_freq")}

        def settings() -> dict[str, str]:
            return {name: (policy / name).read_text() for name in as_booted}

        def frozen_in_a_window(sweep: subprocess.Popen[str], rows: int) -> None:
            """Stopped with more than `rows` rows written and its clock on the board: no moment is left to chance."""
            while True:
                until(lambda: out.exists() and len(rows_of(out)) > rows and held.exists() and settings() != as_booted)
                sweep.send_signal(signal.SIGSTOP)
                until(lambda: psutil.Process(sweep.pid).status() == psutil.STATUS_STOPPED)
                if held.exists() and settings() != as_booted:
                    return
                sweep.send_signal(signal.SIGCONT)

        command = [*CALIBRATE, "sweep", "--root", str(root), "--data", str(tmp_path / "board.npz"), "--out", str(out)]
        command += ["--network", "softmax", "--runtime", "numpy", "--batch-size", "8", "--cores", "1"]
        command += ["--window-s", "1.5", "--drop-first-s", "0.4", "--repeats", "2", "--tries", "8", "--opps", *CLOCKS]

        killed = start(*command)
        frozen_in_a_window(killed, 2)
        workers = psutil.Process(killed.pid).children(recursive=True)
        assert main([*command[len(CALIBRATE) :]]) == 2  # two would take turns in undoing each other's clock
        assert "another client or sweep is at work on this board" in capsys.readouterr().err
        killed.kill()
        killed.communicate()
        assert workers and not psutil.wait_procs(workers, timeout=10)[1]
        assert settings() != as_booted
        assert (restored := restore(root)).returncode == 0, restored.stderr
        assert (settings(), held.exists()) == (as_booted, False)
        first = rows_of(out)

        again = start(*command)
        frozen_in_a_window(again, len(first))
        again.kill()  # and nobody restores: the next start does
        again.communicate()
        assert settings() != as_booted

        stopped = start(*command)
        seen = len(rows_of(out))
        until(lambda: len(rows_of(out)) > seen and held.exists())
        stopped.send_signal(signal.SIGINT)
        _, said = stopped.communicate(timeout=60)
        assert (stopped.returncode, settings(), held.exists()) == (130, as_booted, False), said
        assert "windows left; the same command goes on" in said

        whole = start(*command)
        _, said = whole.communicate(timeout=120)
        assert whole.returncode == 0, said
        assert (settings(), held.exists()) == (as_booted, False)
    rows = rows_of(out)
    assert rows[: len(first)] == first
    good = [(row.freq_hz, row.repeat, row.idle) for row in rows if not row.rejected]
    assert len(good) == len(set(good))
    trained = {(freq_hz, repeat) for freq_hz, repeat, idle in good if not idle}
    lost = {(row.freq_hz, row.repeat) for row in rows if row.rejected and not row.idle}
    wanted = {(float(clock), repeat) for clock in CLOCKS for repeat in (1, 2)}
    assert trained | lost == wanted  # a busy host may starve a window
    assert sum(idle for *_, idle in good) == 2
    told = main(["fit", str(out), "--out", str(tmp_path / "p.toml")])
    if len({freq_hz for freq_hz, _ in trained}) == len(CLOCKS):
        assert told == 0
        assert "cheapest for the whole board" in capsys.readouterr().out
    else:
        assert told == 2  # so busy a host that a clock has no window at all: two are no law
        assert "measure at least 3" in capsys.readouterr().err
