"""Real processes: a board whose clock lies is planned with what it really does, and the report names it.

The board is a Jetson Nano, whose firmware tells no clock: its lie shows by the time that known work takes.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from edge_client.protocol.messages import SegmentOutcome
from server.closed_loop import believed_device
from server.records import RoundRecord
from server.replanning import believe, cost
from server.strategies import planner_device
from tests.e2e.test_plain_boards import device_data
from tests.e2e.test_three_clients import LIMIT_S, ROOT, left_behind, run_of, serve
from tests.e2e.world import write_world
from tests.edge_client.conftest import free_port
from tools.boards.faults import Faults
from tools.boards.fleet import Fleet
from tools.boards.fleet_config import BoardConfig, FleetConfig

pytestmark = pytest.mark.slow

TOP_HZ = 1479e6


def world(folder: Path, boards: str, *, rounds: int) -> Path:
    """A run of plain FL on one Nano, with rounds of some seconds and time enough for its cheapest clock."""
    file = write_world(folder, strategies=["tfl"], rounds=rounds, local_samples=600, local_epochs=240)
    text = file.read_text().partition("\n[[boards]]")[0]
    text = text.replace("window_s = 1.0\nsettle_s = 0.3", "window_s = 2.5\nsettle_s = 1.0\nfreqs = 4")
    text = text.replace("[plan]\n", "[plan]\nreplan = true\nround_slack = 4.0\n")
    file.write_text(text + boards)
    return file


def windows_of(records: Iterable[RoundRecord]) -> list[SegmentOutcome]:
    return [window for record in records for update in record.updates for window in update.segments]


def compute_s(record: RoundRecord) -> float:
    return sum(window.duration_s for window in windows_of([record]))


async def run_with_a_board_that_begins_to_lie(config: Path, folder: Path, port: int) -> str:
    """Server and client as processes of their own, the board's law in this one; its clock is not applied from the
    moment on that the plan stands."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server.cli", "run", str(config), "--out", str(folder / "runs"),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert server.stdout is not None
    board = BoardConfig(id="nano-1", profile="jetson-nano", data=str(device_data(folder / "nano-1.npz", 0)))
    wanted = FleetConfig(broker=f"127.0.0.1:{port}", fleet="demo", board=(board,), usable_share=0.25)
    fleet, said = Fleet(wanted, folder, io.StringIO()), ""
    try:
        async for line in server.stdout:
            said += line.decode()
            if line.startswith(b"broker at"):
                await fleet.start()
            elif line.startswith(b"plan tfl"):
                fleet.boards[0].faults = Faults(clock_not_applied=True)
        assert await server.wait() == 0, said
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()
        await fleet.stop()
    return said


async def test_a_board_that_begins_to_lie_is_planned_anew_with_what_it_does(tmp_path: Path) -> None:
    """Its plan asks for a slow clock, and it runs at 1479 MHz from then on: quicker, for more joules."""
    port = free_port()
    config = world(tmp_path / "world", f"\n[broker]\nport = {port}\n[fleet]\ndevices = 1\n", rounds=4)
    said = await asyncio.wait_for(run_with_a_board_that_begins_to_lie(config, tmp_path, port), LIMIT_S)
    run = run_of(tmp_path / "runs")
    records = run.rounds("tfl")
    windows = windows_of(records)
    if any(window.starved for window in windows):
        pytest.skip("this host is too busy: a round waited for the processor, and tells no clock")
    [first] = run.plan("tfl").plan.devices
    assert max(segment.freq_hz for segment in first.segments) < 0.8 * TOP_HZ
    # one timing is no finding; from the second on each window is one that was asked to be slow
    assert (windows[0].verified_hz, windows[0].verified_by, windows[0].finding) == (None, None, None)
    slow = [one for one in windows[1:] if one.requested_hz is not None and one.requested_hz < 0.7 * TOP_HZ]
    assert slow, said
    for window in slow:
        assert (window.verified_by, window.violation_s) == ("work", window.duration_s)
        assert window.verified_hz is not None and window.requested_hz is not None
        assert window.verified_hz > 1.25 * window.requested_hz
        assert window.finding in ("not_applied", "floor", "boost", "too_fast")
    # the round after the finding goes by another plan, and what plans count on by then is what the board takes
    revisions = run.revisions("tfl")
    assert revisions and min(one.round for one in revisions) <= 3, said
    assert compute_s(records[0]) < 0.75 * first.executed_compute_s
    [device] = [planner_device(one, None) for one in run.devices()]
    beliefs, _ = believe([device], records[:-1])
    [share] = run.current_plan("tfl").plan.devices
    _, seconds = cost(share, believed_device(device, beliefs["nano-1"]), added=True)
    assert compute_s(records[-1]) == pytest.approx(seconds, rel=0.25)
    report = json.loads((run.path / "report.json").read_text())
    named = report["clocks"]["nano-1"]["troubles"]
    assert sum(named.values()) == sum(window.finding is not None for window in windows) >= len(slow)
    html = (run.path / "report.html").read_text()
    assert all(name.replace("_", " ") in html or name in html for name in named)
    assert left_behind(tmp_path) == []


def test_a_board_whose_profile_shows_the_lie_is_asked_for_what_it_does(tmp_path: Path) -> None:
    boards = '\n[[boards]]\nid = "nano-1"\nprofile = "jetson-nano"\nfaults = { clock_not_applied = true }\n'
    server = serve("run", str(world(tmp_path / "world", boards, rounds=1)), "--out", str(tmp_path / "runs"))
    said, _ = server.communicate(timeout=LIMIT_S)
    assert server.returncode == 0, said
    run = run_of(tmp_path / "runs")
    points = run.devices()[0].profile.points
    [record] = run.rounds("tfl")
    if any(point.starved for point in points) or any(window.starved for window in windows_of((record,))):
        pytest.skip("this host is too busy: the board waited for the processor, and its times tell no clock")
    assert {point.freq_hz: point.finding for point in points} == {
        point.freq_hz: None if point.freq_hz == TOP_HZ else "not_applied" for point in points
    }
    [share] = run.plan("tfl").plan.devices
    assert {segment.freq_hz for segment in share.segments} == {TOP_HZ}
    assert {window.finding for window in windows_of((record,))} == {None}
    assert compute_s(record) == pytest.approx(share.executed_compute_s, rel=0.25)
    notes = json.loads((run.path / "report.json").read_text())["notes"]
    [told] = [note for note in notes if note.startswith("nano-1 did not keep its clock when it was profiled: ")]
    assert told.count("was 1479 MHz by work (not applied)") == len(points) - 1
