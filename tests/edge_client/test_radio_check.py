"""What a card says of its link, and whether it heeds its power, as iw prints it and as an access point hears it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_client import cli
from edge_client.errors import HardwareError
from edge_client.hardware import radio_check, txpower, wifi
from edge_client.hardware.board import discover, radio_file
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.sysfs import SysFs
from edge_client.hardware.txpower import IwTxPower
from firmware_profiles.loader import load_profile
from tests.edge_client.trees import put, settings
from tools.boards.board import VirtualBoard
from tools.boards.link import LinkMeter
from tools.boards.radio import Radio, RadioConfig

REPOSITORY = Path(__file__).resolve().parents[2]
LINK = """Connected to 11:22:33:44:55:66 (on wlan0)
\tSSID: home
\tfreq: 2437
\tsignal: -52 dBm
\trx bitrate: 65.0 MBit/s MCS 7
\ttx bitrate: 72.2 MBit/s MCS 7 short GI
"""
PHY = """Wiphy phy0
\t\tFrequencies:
\t\t\t* 2412.0 MHz [1] (20.0 dBm)
\t\t\t* 2437.0 MHz [6] (17.0 dBm)
\t\t\t* 2484.0 MHz [14] (disabled)
"""


def test_what_iw_prints() -> None:
    assert wifi.parse_link(LINK) == wifi.Link(-52.0, 72.2e6)
    assert wifi.parse_link("Not connected.\n") == wifi.Link()
    assert wifi.parse_channel_mhz("\tchannel 6 (2437 MHz), width: 20 MHz, center1: 2437 MHz\n") == 2437.0
    assert wifi.parse_channel_mhz("Interface wlan0") is None
    assert wifi.parse_limit_dbm(PHY, 2437.0) == 17.0
    assert wifi.parse_limit_dbm(PHY, None) == 20.0
    assert wifi.parse_limit_dbm(PHY, 2484.0) is None  # forbidden here


def board_with(root: Path, **more: object) -> SysFs:
    info = f'printf "\\tchannel 6 (2437 MHz)\\n\\ttxpower $(cat {root}/dbm) dBm\\n"'
    set_ = f'echo "$6" >> {root}/set; [ "$5" = fixed ] && echo "$(($6/100)).00" > {root}/dbm'
    cases = {"dev info": info, "dev link": f"cat {root}/link", "phy ": f"cat {root}/phy", "dev set": set_}
    lines = [f'"{words}") {what} ;;' for words, what in cases.items()]
    iw = "\n".join(["#!/bin/sh", 'case "$1 $3" in', *lines, "esac"])
    return put(root, {"bin/iw": iw, "dbm": "15.00", "link": LINK, "phy": PHY, **more})


def test_more_than_the_channel_allows_is_not_asked_for(tmp_path: Path) -> None:
    card = txpower.find(board_with(tmp_path), settings(tmp_path))
    with card.hold(0.1) as accepted_w:
        assert accepted_w == pytest.approx(txpower.to_w(17.0))
    assert (tmp_path / "set").read_text().split() == ["1700", "1500"]


def test_the_link_and_the_bytes_of_everybody(tmp_path: Path) -> None:
    board = discover(board_with(tmp_path, **{"sys/class/net/wlan0/statistics/tx_bytes": 12345}), settings(tmp_path))
    assert board.link() == wifi.Link(-52.0, 72.2e6)
    assert board.interface_bytes() == 12345
    bare = discover(SysFs(tmp_path / "bare"), settings(tmp_path / "bare"))
    assert (bare.link(), bare.interface_bytes()) == (wifi.Link(), None)


def test_the_power_is_put_back_on_the_card_that_was_changed(tmp_path: Path) -> None:
    """Traffic leaves by another interface now; the settings say which one was changed."""
    routes = "Iface\tDestination\tGateway\neth0\t00000000\t0101A8C0"
    fs, file = board_with(tmp_path), settings(tmp_path)
    file.save("txpower", {"interface": "wlan0", "dbm": "15.00"})
    put(tmp_path, {"proc/net/route": routes, "bin/iw": f'#!/bin/sh\n[ $2 = wlan0 ] && echo "$@" >> {tmp_path}/log'})
    discover(fs, file).restore()
    assert (tmp_path / "log").read_text().splitlines()[-1] == "dev wlan0 set txpower fixed 1500"
    assert not file.path.exists()


@pytest.mark.parametrize(("followed", "capability"), [(9.0, "enforced"), (5.0, "enforced"), (4.9, "unsupported")])
def test_the_signal_must_follow_by_half(followed: float, capability: str) -> None:
    assert radio_check.verdict(10.0, followed) == capability


def test_the_access_points_answer(tmp_path: Path) -> None:
    fs = put(tmp_path, {"bin/ask": "#!/bin/sh\necho 'signal avg: -61 [-63, -62] dBm -61'"})
    assert radio_check.signal_reader(fs, f"{tmp_path}/bin/ask --mac x")() == -61.0
    for said, printed in (("echo none", "'none'"), ("echo 40", "'40'")):
        put(tmp_path, {"bin/ask": f"#!/bin/sh\n{said}"})
        with pytest.raises(HardwareError, match=f"printed {printed}; its last number must be dBm, as -52"):
            radio_check.signal_reader(fs, f"{tmp_path}/bin/ask")()


@pytest.mark.parametrize(("ignores", "capability", "followed"), [(False, "enforced", 10.0), (True, "unsupported", 0.0)])
def test_a_card_that_lies_about_its_power_is_caught(
    ignores: bool, capability: str, followed: float, tmp_path: Path
) -> None:
    """A virtual board whose iw reads back what was written, whatever the card does."""
    config = RadioConfig(bandwidth_hz=1e6, path_loss_db=60.0, max_power_w=1.5, ignores_power=ignores)
    twin = VirtualBoard("b", load_profile("raspberry-pi-4b"), 0.5, tmp_path, 0, LinkMeter(), None, Radio(config, "s"))
    file = SettingsFile(tmp_path / "settings.json")
    card = discover(SysFs(twin.root), file).tx
    assert isinstance(card, IwTxPower)
    assert card.capability == "accepted_unverified"
    now = time.monotonic()

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds
        twin.tick(now)

    reader = radio_check.signal_reader(SysFs(twin.root), f"cat {twin.root}/run/firmware/ap_signal_dbm")
    found = radio_check.check(card, reader, 3.0, pause)
    twin.close()
    assert (found.capability, found.followed_db) == (capability, followed)
    assert card.read_w() == pytest.approx(txpower.to_w(31.0))  # as before
    assert not file.path.exists()
    radio_check.keep(radio_file(file), found)
    assert discover(SysFs(twin.root), file).tx.capability == capability
    assert radio_check.recall(radio_file(file), "wlan1") is None


def test_a_check_that_is_ended_puts_the_card_back(tmp_path: Path) -> None:
    board_with(tmp_path, **{"bin/ask": f"#!/bin/sh\necho asked > {tmp_path}/asked; exec sleep 60"})
    os.mkfifo(tmp_path / "asked")
    (tmp_path / "client.toml").write_text(f'[rssi]\ncommand = "{tmp_path}/bin/ask"\nsettle_s = 0.001\n')
    words = ["radio-check", "--root", str(tmp_path), "--config", str(tmp_path / "client.toml")]
    process = subprocess.Popen([sys.executable, "-m", "edge_client.cli", *words], cwd=REPOSITORY)
    try:
        assert (tmp_path / "asked").read_text() == "asked\n"  # the first power is set, the access point is being asked
        assert (tmp_path / "run/fimi/settings.json").exists()
        process.terminate()
        assert process.wait(30) == 143
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "run/fimi/settings.json").exists()


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["radio-check", "--root", str(tmp_path)]) == 2
    assert "there is no Wi-Fi card whose transmit power iw tells" in capsys.readouterr().err
    board_with(tmp_path)
    assert cli.main(["radio-check", "--root", str(tmp_path)]) == 2
    assert "[rssi] is missing in client.toml" in capsys.readouterr().err
    toml = tmp_path / "client.toml"
    toml.write_text(f'[rssi]\ncommand = "cat {tmp_path}/signal"\nsettle_s = 0.001\n')
    (tmp_path / "signal").write_text("-50\n")
    assert cli.main(["radio-check", "--root", str(tmp_path), "--config", str(toml)]) == 0
    assert "wlan0 ignores what it is set to: asked for 10 dB less, the access point saw 0" in capsys.readouterr().out
