"""The transmit power of a Wi-Fi card, through a stand-in for iw."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.hardware import txpower
from edge_client.hardware.board import discover
from edge_client.hardware.sysfs import SysFs
from tests.edge_client.trees import put, settings

IW = """#!/bin/sh
echo "$@" >> {root}/iw.log
[ "$3" = info ] && echo "	txpower $(cat {root}/dbm) dBm"
[ "$3" = set ] && [ "$5" = fixed ] && [ -e {root}/honest ] && echo $(($6/100)).00 > {root}/dbm
exit 0"""


def wifi(root: Path) -> SysFs:
    return put(root, {"bin/iw": IW.format(root=root), "dbm": "20.00"})


def test_watts_and_dbm() -> None:
    assert txpower.to_dbm(0.1) == pytest.approx(20)
    assert txpower.to_w(10) == pytest.approx(0.01)
    assert txpower.parse_dbm("Interface wlan0\n\ttxpower 31.00 dBm\n") == 31
    assert txpower.parse_dbm("\ttxpower -1.50 dBm") == -1.5
    assert txpower.parse_dbm("type managed") is None


def test_transmit_power_is_set_read_back_and_restored(tmp_path: Path) -> None:
    fs = put(tmp_path / "r", {"honest": ""})
    fs = wifi(tmp_path / "r")
    file = settings(tmp_path)
    card = txpower.find(fs, file)
    assert card.capability == "accepted_unverified"
    with card.hold(0.01) as accepted_w:
        assert accepted_w == pytest.approx(0.01)
        assert file.load()["txpower"] == {"interface": "wlan0", "dbm": "20.00"}
    calls = (tmp_path / "r/iw.log").read_text().splitlines()
    assert calls[-1] == "dev wlan0 set txpower fixed 2000"
    assert "dev wlan0 set txpower fixed 1000" in calls
    assert not file.path.exists()


def test_a_radio_that_ignores_the_request_is_seen_in_the_read_back(tmp_path: Path) -> None:
    card = txpower.find(wifi(tmp_path), settings(tmp_path))
    with card.hold(0.01) as accepted_w:
        assert accepted_w == pytest.approx(0.1)


def test_a_wired_board_has_no_transmit_power(tmp_path: Path) -> None:
    card = txpower.find(SysFs(tmp_path), settings(tmp_path))
    assert card.capability == "unsupported"
    with card.hold(0.01) as accepted_w:
        assert accepted_w is None
    card.restore()
    routes = "Iface\tDestination\tGateway\nwlan0\t0000FEA9\t0\neth0\t00000000\t0101A8C0"
    fs = put(tmp_path, {"proc/net/route": routes, "bin/iw": "#!/bin/sh\n[ $2 = wlan0 ] && echo '\ttxpower 20.00 dBm'"})
    assert txpower.default_interface(routes) == "eth0"
    assert txpower.find(fs, settings(tmp_path)).capability == "unsupported"
    assert txpower.find(fs, settings(tmp_path), "wlan0").capability == "accepted_unverified"


def test_a_transmit_power_left_changed_is_restored_later(tmp_path: Path) -> None:
    fs, file = wifi(tmp_path), settings(tmp_path)
    file.save("txpower", {"dbm": "17.00"})
    discover(fs, file).restore()
    assert (tmp_path / "iw.log").read_text().splitlines()[-1] == "dev wlan0 set txpower fixed 1700"
    file.save("txpower", {})
    discover(fs, file).restore()
    assert (tmp_path / "iw.log").read_text().splitlines()[-1] == "dev wlan0 set txpower auto"
    assert not file.path.exists()
    file.save("txpower", {"dbm": "many"})
    discover(fs, file).restore()
    assert file.load()


def test_a_card_that_was_pulled_out_is_not_waited_for(tmp_path: Path) -> None:
    """Its memory would else stand before that of the card that is put in next, which then kept what we had set."""
    fs, file = wifi(tmp_path), settings(tmp_path)
    put(tmp_path, {"bin/iw": "#!/bin/sh\necho 'command failed: No such device (-19)' >&2; exit 237"})
    file.save("txpower", {"interface": "wlan1", "dbm": "20.00"})
    put(tmp_path, {"sys/class/net/wlan1/mtu": 1500})
    discover(fs, file).restore()
    assert file.load()  # it is there: whatever iw says, it is tried again
    (tmp_path / "sys/class/net/wlan1/mtu").unlink()
    (tmp_path / "sys/class/net/wlan1").rmdir()
    discover(fs, file).restore()
    assert not file.path.exists()


def test_a_power_that_could_not_be_put_back_is_not_set(tmp_path: Path) -> None:
    card = txpower.find(wifi(tmp_path), settings(tmp_path))
    put(tmp_path, {"run/fimi": "no folder"})
    with card.hold(0.01) as accepted_w:
        assert accepted_w == pytest.approx(0.1)
    assert "fixed 1000" not in (tmp_path / "iw.log").read_text()
