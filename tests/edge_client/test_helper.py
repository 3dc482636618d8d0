"""The privileged helper: what it does, what it refuses, and that whoever goes leaves the board as it was."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from edge_client.errors import HardwareError, SetupError
from edge_client.hardware.board import discover
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.sysfs import SysFs
from edge_client.helper import client, service
from edge_client.helper.client import HelperLine
from edge_client.helper.command import UNITS, run_helper, unit_text, write_units
from edge_client.helper.vocabulary import (
    Answer,
    HoldClock,
    OpenCounter,
    ReleaseClock,
    Restore,
    read_answer,
    read_request,
)
from tests.edge_client import trees
from tests.edge_client.helper_process import HelperProcess, exec_stop_post
from tests.edge_client.trees import POLICY, put, settings

COUNTER = "sys/class/powercap/intel-rapl:0/energy_uj"


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[HelperProcess]:
    trees.nano(tmp_path)
    put(tmp_path, {COUNTER: 123})
    process = HelperProcess(tmp_path)
    yield process
    if process.process.poll() is None:
        process.kill()


@pytest.fixture
def lines() -> Iterator[Callable[[Path], HelperLine]]:
    """Makes lines that are closed in the end."""
    made: list[HelperLine] = []

    def make(path: Path) -> HelperLine:
        made.append(HelperLine(path))
        return made[-1]

    yield make
    for line in made:
        line.close()


Lines = Callable[[Path], HelperLine]


def governor(root: Path) -> str:
    return (root / POLICY / "scaling_governor").read_text().strip()


def speed(root: Path) -> str:
    return (root / POLICY / "scaling_setspeed").read_text().strip()


# ---- an agent without rights ----


def test_an_agent_holds_the_clock_through_the_helper(helper: HelperProcess, lines: Lines, tmp_path: Path) -> None:
    line = lines(helper.path)
    board = discover(SysFs(tmp_path), settings(tmp_path), helper=line)
    assert board.cpufreq.available_hz()[0] == 102e6
    with board.cpufreq.hold(210e6):
        assert (governor(tmp_path), speed(tmp_path)) == ("userspace", "204000")
        assert not settings(tmp_path).path.exists()  # the memory of what was before is the helper's
        assert board.cpufreq.read(204e6).accepted_hz == 1479e6  # as these files say, whatever was set
    assert governor(tmp_path) == "schedutil"
    line.close()
    assert helper.stop() == 0


def test_what_an_agent_held_is_put_back_when_it_goes(helper: HelperProcess, lines: Lines, tmp_path: Path) -> None:
    line, next_one = lines(helper.path), lines(helper.path)
    line.ask(HoldClock(freq_hz=204e6))
    with pytest.raises(HardwareError, match="the helper: another agent holds this board; end one of the two"):
        next_one.ask(HoldClock(freq_hz=921e6))
    line.close()
    next_one.ask(Restore())  # answered after the good-bye of the one before
    assert governor(tmp_path) == "schedutil"
    next_one.ask(HoldClock(freq_hz=921e6))
    assert speed(tmp_path) == "921600"
    assert helper.stop() == 0
    assert governor(tmp_path) == "schedutil"
    assert not helper.path.exists()


def test_after_sigkill_the_units_exec_stop_post_restores(helper: HelperProcess, lines: Lines, tmp_path: Path) -> None:
    lines(helper.path).ask(HoldClock(freq_hz=204e6))
    helper.kill()
    assert governor(tmp_path) == "userspace"
    exec_stop_post("fimi-helper.service", tmp_path)
    assert governor(tmp_path) == "schedutil"
    exec_stop_post("fimi-helper.service", tmp_path)  # nothing is left to do


def test_a_helper_started_again_restores_first_and_the_agents_line_mends_itself(
    helper: HelperProcess, lines: Lines, tmp_path: Path
) -> None:
    line = lines(helper.path)
    line.ask(HoldClock(freq_hz=204e6))
    helper.kill()
    again = HelperProcess(tmp_path)
    try:
        assert governor(tmp_path) == "schedutil"
        line.ask(HoldClock(freq_hz=204e6))
        assert governor(tmp_path) == "userspace"
    finally:
        again.kill()


def test_without_a_helper_training_goes_on_and_says_why(lines: Lines, tmp_path: Path) -> None:
    trees.nano(tmp_path)
    board = discover(SysFs(tmp_path), settings(tmp_path), helper=lines(tmp_path / "none.sock"))
    with pytest.raises(HardwareError, match="sudo systemctl start fimi-helper"), board.cpufreq.hold(204e6):
        raise AssertionError("not reached")
    board.restore()


# ---- counters ----


class Closed(SysFs):
    """Files of which this user may not read the energy counters."""

    def open(self, path: str) -> int:
        raise PermissionError(13, "Permission denied", path)


def test_a_counter_that_only_root_may_read_is_opened_by_the_helper(
    helper: HelperProcess, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SysFs, "open", Closed.open)
    fs = client.HelpedSysFs(tmp_path, line=lines(helper.path))
    assert fs.number(COUNTER) == 123.0
    assert fs.trouble("proc/pressure/cpu") == "Permission denied"  # nothing else is
    assert fs.trouble(COUNTER.replace(":0", ":7")) == "Permission denied"  # the helper has no such file
    elsewhere = client.HelpedSysFs(tmp_path, line=lines(tmp_path / "none.sock"))
    assert elsewhere.number(COUNTER) is None


# ---- the vocabulary ----


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"{}",
        b"not json",
        b'{"ask":"run","command":"id"}',
        b'{"ask":"hold_clock"}',
        b'{"ask":"hold_clock","freq_hz":-1}',
        b'{"ask":"hold_clock","freq_hz":1e9,"path":"/etc/shadow"}',
        b'{"ask":"hold_tx_power","interface":"wlan0; rm","power_w":0.1}',
        b'{"ask":"hold_tx_power","interface":"wlan0","power_w":1000}',
        b'{"ask":"hold_share","interface":"eth0 root","bits_per_s":1e6}',
        b'{"ask":"hold_share","interface":"-batch","bits_per_s":1e6}',
        b'{"ask":"hold_share","interface":"eth0","bits_per_s":0}',
        b'{"ask":"hold_share","interface":"eth0","bits_per_s":1e12}',
        b'{"ask":"mark_socket","on":true,"mark":1}',
        b'{"ask":"open_counter","path":"etc/shadow"}',
        b'{"ask":"open_counter","path":"sys/class/powercap/intel-rapl:0/../../../../etc/shadow"}',
        b'{"ask":"open_counter","path":"sys/class/powercap/intel-rapl:0/energy_uj\\n"}',
    ],
)
def test_anything_else_is_refused(packet: bytes) -> None:
    with pytest.raises(HardwareError, match="not in the helper's vocabulary"):
        read_request(packet)


def test_a_stranger_is_answered_and_the_helper_lives_on(helper: HelperProcess, lines: Lines) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.connect(str(helper.path))
        stranger.send(b'{"ask":"shutdown"}')
        assert "not in the helper's vocabulary" in (read_answer(stranger.recv(4096)).problem or "")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rude:
        rude.connect(str(helper.path))
        rude.send(msgspec.json.encode(ReleaseClock()))  # and gone without an answer
    assert lines(helper.path).ask(Restore())[0] == Answer()


def test_a_link_in_place_of_a_counter_is_not_followed_out_of_sys(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("42")
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "energy_uj").symlink_to(secret)
    answer, fd = service.Desk(SysFs(tmp_path), settings(tmp_path)).answer(object(), OpenCounter(path=COUNTER))
    assert fd is None
    assert "is not below" in (answer.problem or "")


# ---- starting it ----


def test_what_is_wrong_at_the_start_is_said(tmp_path: Path) -> None:
    trees.nano(tmp_path)
    fs = SysFs(tmp_path)
    with pytest.raises(SetupError, match="--group nosuch: there is no such group; make it with: sudo groupadd nosuch"):
        run_helper(fs, settings(tmp_path), tmp_path / "h.sock", "nosuch")
    with pytest.raises(SetupError, match="give a path that this user may write"):
        run_helper(fs, settings(tmp_path), tmp_path / "proc/device-tree/model/h.sock", None)


def test_only_the_owner_and_the_group_may_connect(tmp_path: Path) -> None:
    with service.listening(tmp_path / "h.sock", None):
        assert (tmp_path / "h.sock").stat().st_mode & 0o777 == 0o600
    own = "root" if os.getgid() == 0 else None
    with service.listening(tmp_path / "h.sock", own):
        assert (tmp_path / "h.sock").stat().st_mode & 0o777 == (0o660 if own else 0o600)


def test_a_boot_undoes_everything_by_itself(tmp_path: Path) -> None:
    before = SettingsFile(tmp_path / "settings.json", "boot-1")
    before.save("cpufreq", {"policy0/scaling_governor": "schedutil"})
    assert SettingsFile(tmp_path / "settings.json", "boot-1").load() == {
        "cpufreq": {"policy0/scaling_governor": "schedutil"}
    }
    later = SettingsFile(tmp_path / "settings.json", "boot-2")
    assert later.load() == {}
    later.save("txpower", {"dbm": "17.00"})
    assert later.load() == {"txpower": {"dbm": "17.00"}}  # and nothing of before


def test_the_units_name_the_command_and_nothing_is_left_to_fill_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write_units(tmp_path / "units", "/etc/fimi/client.toml") == 0
    said = capsys.readouterr().out
    for name in UNITS:
        text = (tmp_path / "units" / name).read_text()
        assert "@" not in text
        assert f"{tmp_path}/units/{name}" in said
    agent = (tmp_path / "units/fimi-client.service").read_text()
    assert "ExecStopPost=" in agent
    assert "run --config /etc/fimi/client.toml" in agent
    assert "SupplementaryGroups" not in unit_text("fimi-client.service", "c", "f", ())
    assert "SupplementaryGroups=i2c video\n" in unit_text("fimi-client.service", "c", "f", ("i2c", "video"))
    with pytest.raises(SetupError, match="give a folder that you may write"):
        write_units(tmp_path / "units/fimi-client.service/x", "f")


class BadOrder(selectors.DefaultSelector):
    """Tells of the connection that was registered last first, as a kernel may."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return sorted(super().select(timeout), key=lambda ready: -ready[0].fd)


def test_who_has_gone_is_let_go_before_the_next_one_is_answered(tmp_path: Path) -> None:
    trees.nano(tmp_path)
    desk = service.Desk(SysFs(tmp_path), SettingsFile(tmp_path / "settings.json"))
    (gone, at_gone), (next_one, at_next), (wake, alarm) = (
        socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(3)
    )
    with BadOrder() as selector, gone, at_gone, next_one, at_next, wake, alarm:
        for end in (at_gone, at_next):
            selector.register(end, selectors.EVENT_READ)
        gone.send(msgspec.json.encode(HoldClock(freq_hz=204e6)))
        service._turn(selector, alarm, wake, desk)
        assert at_next.fileno() > at_gone.fileno()
        gone.close()
        next_one.send(msgspec.json.encode(HoldClock(freq_hz=921e6)))
        service._turn(selector, alarm, wake, desk)
        assert read_answer(next_one.recv(1000)) == Answer()
        assert speed(tmp_path) == "921600"
        desk.restore()
