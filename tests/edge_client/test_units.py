"""The units as systemd reads them, and the udev rules as udev and a shell do. Nothing is started or installed here: see
tests/e2e/test_systemd.py."""

from __future__ import annotations

import grp
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from edge_client.helper import command
from edge_client.helper.command import closed, unit_text, write_units
from tests.edge_client import trees

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed (package systemd)")
POLICY = "sys/devices/system/cpu/cpufreq/policy0"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def units(tmp_path: Path) -> tuple[str, str]:
    """The paths of helper's and agent's unit."""
    write_units(tmp_path / "units", "/etc/fimi/client.toml")
    return str(tmp_path / "units/fimi-helper.service"), str(tmp_path / "units/fimi-client.service")


@needs_systemd
def test_systemd_has_nothing_to_say_against_the_units(units: tuple[str, str]) -> None:
    done = analyze("verify", "--man=no", *units)
    about_ours = [line for line in (done.stdout + done.stderr).splitlines() if "fimi" in line]
    assert (done.returncode, about_ours) == (0, [])
    agent = Path(units[1])
    agent.write_text(agent.read_text().replace("ProtectHostname", "ProtectHostnme"))
    assert "Unknown key 'ProtectHostnme'" in analyze("verify", "--man=no", *units).stderr  # so it does look


@needs_systemd
@pytest.mark.parametrize(("unit", "most"), [(0, 45), (1, 41)])
def test_the_units_expose_little(units: tuple[str, str], unit: int, most: int) -> None:
    if "--offline" not in analyze("--help").stdout:
        pytest.skip("this systemd-analyze judges running services only (before version 250)")
    done = analyze("security", "--offline=true", f"--threshold={most}", units[unit])
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_a_client_in_somebodys_home_cannot_be_started_by_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Debian 12 closes home folders to others: systemd would say 203/EXEC, for ever."""
    client = tmp_path / "home/pi/venv/bin/fimi-client"
    client.parent.mkdir(parents=True)
    client.touch(0o755)
    for path in (client, *client.parents):
        if path.is_relative_to(tmp_path):
            path.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(client), "units"])
    monkeypatch.setattr(command, "closed", lambda path: closed(path, tmp_path))
    write_units(tmp_path / "units", "/etc/fimi/client.toml")
    assert f"ExecStart={client} run" in (tmp_path / "units/fimi-client.service").read_text()
    said = capsys.readouterr().out
    assert "sudo install -D -m 640 -g fimi client.toml /etc/fimi/client.toml" in said
    assert "cannot start" not in said
    (tmp_path / "home/pi").chmod(0o700)
    write_units(tmp_path / "units", "/etc/fimi/client.toml")
    said = capsys.readouterr().out
    assert f"The user fimi cannot start {client}, for {tmp_path}/home/pi is closed to others" in said
    assert "sudo python3 -m venv /opt/fimi" in said


def test_what_no_trying_again_mends_is_not_tried_again() -> None:
    """2: configuration, 3: data, 7: runtime; but a broker that refuses (5) may be mended at its own end."""
    assert "RestartPreventExitStatus=2 3 7\n" in unit_text("fimi-client.service", "c", "f", ())
    assert "RestartPreventExitStatus=2\n" in unit_text("fimi-helper.service", "c", "f", ())


def test_the_rules_give_the_group_what_the_agent_writes_and_reads(tmp_path: Path) -> None:
    trees.nano(tmp_path)
    trees.put(tmp_path, {"sys/class/powercap/intel-rapl:0/energy_uj": 1})
    group = grp.getgrgid(os.getgid()).gr_name
    text = unit_text("90-fimi.rules", "c", "f", ())
    commands = re.findall(r"RUN\+=\"/bin/sh -c '(.*)'\"$", text, re.MULTILINE)
    assert len(commands) == 2
    for line in commands:
        here = line.replace("$$", "$").replace("chgrp fimi", f"chgrp {group}").replace("/sys/", f"{tmp_path}/sys/")
        subprocess.run(["/bin/sh", "-c", here], check=True, capture_output=True)
    for name in ("scaling_governor", "scaling_setspeed", "scaling_min_freq", "scaling_max_freq"):
        assert (tmp_path / POLICY / name).stat().st_mode & stat.S_IWGRP, name
    assert not (tmp_path / POLICY / "scaling_cur_freq").stat().st_mode & stat.S_IWGRP
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    assert counter.stat().st_mode & (stat.S_IRGRP | stat.S_IWGRP) == stat.S_IRGRP
