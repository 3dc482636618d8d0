"""A radio swept with real uploads: on a virtual board whose amplifier is hidden, killed and gone on with."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.tools.calibrate.virtual_board import CALIBRATE, start, until, virtual_board
from tools.calibrate.cli import main
from tools.calibrate.radio_schedule import Sent, planned, remaining
from tools.calibrate.uploads import Upload, read_uploads

HIDDEN_EFFICIENCY = 0.13
RADIO = f"""bandwidth_hz = 8e6
path_loss_db = 60
noise_dbm_per_hz = -118
efficiency = {HIDDEN_EFFICIENCY}
max_power_w = 0.2
"""


def test_each_repeat_sends_at_each_power_and_size_once() -> None:
    cells = planned((0.05, 0.1), (300, 1400), repeats=2, seed=0)
    assert [cell.idle for cell in cells] == [True, False, False, False, False, False, True, False, False, False]
    first = {(cell.tx_power_w, cell.payload_bytes) for cell in cells if cell.repeat == 1 and not cell.idle}
    assert first == {(0.05, 300), (0.05, 1400), (0.1, 300), (0.1, 1400)}
    done = Upload(2, 1000, 1.0, 3.0, tx_power_w=0.05, payload_bytes=300, repeat=1)
    bad = Upload(3, 1000, 1.0, 3.0, tx_power_w=0.1, payload_bytes=300, repeat=1, rejected="not_accepted")
    left = remaining(cells, (done, bad), tries=2)
    assert Sent(0.05, 300, 1) not in left
    assert left[-1] == Sent(0.1, 300, 1)
    assert Sent(0.1, 300, 1) not in remaining(cells, (done, bad, bad), tries=2)


def test_real_uploads_find_the_hidden_amplifier_after_a_kill_and_a_ctrl_c(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "up.csv"
    with virtual_board(tmp_path, radio=RADIO) as board:
        root = Path(board["root"])
        power, held = root / "run/firmware/txpower_mbm", root / "run/fimi-calibrate/settings.json"
        command = [*CALIBRATE, "radio-sweep", "--root", str(root), "--to", f"127.0.0.1:{board['port']}"]
        command += ["--out", str(out), "--levels-w", "0.05", "0.1", "0.2", "--payload-bytes", "1400"]
        command += ["--window-s", "1.5", "--drop-first-s", "0.5", "--repeats", "2"]

        killed = start(*command)
        until(lambda: out.exists() and out.read_text().count("\n") == 3 and held.exists())
        killed.kill()
        killed.communicate()
        assert power.read_text() != "3100\n"  # it died with its setting on the card

        stopped = start(*command)
        until(lambda: out.read_text().count("\n") == 5 and held.exists())
        stopped.send_signal(signal.SIGINT)
        _, said = stopped.communicate()
        assert (stopped.returncode, power.read_text(), held.exists()) == (130, "3100\n", False), said
        assert "the same command goes on" in said

        whole = start(*command)
        _, said = whole.communicate(timeout=120)
        assert whole.returncode == 0, said
        assert (power.read_text(), held.exists()) == ("3100\n", False)
    rows = read_uploads(out.read_text(), "up.csv")
    seen = [(row.tx_power_w, row.repeat, row.idle) for row in rows]
    assert len(seen) == len(set(seen)) == 8  # six uploads, two idle windows, none twice
    assert main(["radio", str(out), "--json", "--out", str(tmp_path / "p.toml")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["amplifier_efficiency"] == pytest.approx(HIDDEN_EFFICIENCY, rel=0.1)
    assert found["efficiency_uncertainty"] < 0.1
    rates = [level["bits_per_s"] for level in found["levels"]]
    assert rates == sorted(rates)


def test_a_sweep_of_the_radio_says_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with virtual_board(tmp_path, radio=RADIO) as board:
        command = ["radio-sweep", "--root", board["root"], "--to", f"127.0.0.1:{board['port']}"]
        command += ["--out", str(tmp_path / "up.csv"), "--window-s", "0.2", "--drop-first-s", "0.1"]
        assert main([*command, "--levels-w", "0.0001"]) == 2
        assert "--levels-w 0.0001: is below 0.001 W" in capsys.readouterr().err
        assert main([*command, "--payload-bytes", "20"]) == 2
        assert "--payload-bytes 20: a segment has 88 to 65000 bytes" in capsys.readouterr().err
        assert main([*command, "--to", "127.0.0.1:1"]) == 2
        assert "--to 127.0.0.1:1: " in capsys.readouterr().err
        assert (Path(board["root"]) / "run/firmware/txpower_mbm").read_text() == "3100\n"
        (Path(board["root"]) / "bin/iw").unlink()
        assert main(command) == 6
        assert "there is no Wi-Fi card whose transmit power iw tells" in capsys.readouterr().err
