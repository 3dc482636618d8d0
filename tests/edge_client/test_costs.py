"""A battery that does not hold a task does not take it on: joules by hand, the session, and a virtual board's client.

The profile: 0.5 J a sample at 0.5 GHz, 0.8 J at 1 GHz, 2 W idle. The task: 10 samples at 1 GHz, 20 at 0.5 GHz, 18 J.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge_client.costs import expected_j, more_telling
from edge_client.events import Finished, Heard, Profiled
from edge_client.protocol.messages import (
    Join,
    NetworkSpec,
    OppPoint,
    ProfileReport,
    ProfileRequest,
    Refusal,
    Segment,
    ServerHello,
    Update,
)
from tests.edge_client.agents import NETWORK as SMALL
from tests.edge_client.agents import TOPICS, served, start_round, weights, write_data
from tests.edge_client.agents import task as small_task
from tests.edge_client.conftest import Broker, broker
from tests.edge_client.session_states import ENERGY, NETWORK, READY, closed, go, refused, task, update
from tests.edge_client.test_obedience import point
from tools.boards.faults import Faults
from tools.boards.fleet import Fleet
from tools.boards.fleet_config import BoardConfig, FleetConfig

__all__ = ["broker"]

REQUEST = ProfileRequest(run="r", network=NETWORK, batch_size=4, freqs_hz=(0.5e9, 1e9), window_s=1.0, settle_s=0.0)
OTHER = NetworkSpec(name="other", image_shape=(8, 8, 1), n_classes=3)
TASK = task(segments=(Segment(freq_hz=1e9, samples=10), Segment(freq_hz=0.5e9, samples=20)))


def costing(freq_hz: float | None, j_per_sample: float | None, verified_hz: float | None = None) -> OppPoint:
    return msgspec.structs.replace(point(1e9, 0.1, verified_hz or freq_hz), freq_hz=freq_hz, j_per_sample=j_per_sample)


def report(*points: OppPoint, idle_w: float | None = 2.0) -> ProfileReport:
    idle = msgspec.structs.replace(ENERGY, idle_power_w=idle_w)
    return ProfileReport(device="dev", run="r", idle=idle, points=points)


PROFILE = (REQUEST, report(costing(0.5e9, 0.5), costing(1e9, 0.8)))


def test_joules_of_a_task_by_hand() -> None:
    assert expected_j(TASK, PROFILE, None) == pytest.approx(18.0)  # 10 x 0.8 + 20 x 0.5
    assert expected_j(TASK, PROFILE, 3.0) == pytest.approx(24.0)  # and 3 s of upload at 2 W
    no_floor = (REQUEST, report(*PROFILE[1].points, idle_w=None))
    assert expected_j(TASK, no_floor, 3.0) == pytest.approx(18.0)


def test_a_clock_counts_as_when_it_was_asked_for_else_as_when_it_ran() -> None:
    """Below 1.5 GHz this board runs at 1.5: a plan asks for 1.5, which was not asked for in the profile."""
    floored = (REQUEST, report(costing(1e9, 0.9, 1.5e9), costing(2.4e9, 1.2)))
    at = [expected_j(task(segments=(Segment(freq_hz=hz, samples=30),)), floored, None) for hz in (1e9, 1.5e9, 2.4e9)]
    assert at == pytest.approx([27.0, 27.0, 36.0])


@pytest.mark.parametrize(
    "profile",
    [
        None,
        (msgspec.structs.replace(REQUEST, batch_size=8), PROFILE[1]),
        (msgspec.structs.replace(REQUEST, network=OTHER), PROFILE[1]),
        (REQUEST, report(costing(0.5e9, 0.5))),
        (REQUEST, report(costing(0.5e9, 0.5), costing(1e9, None))),
        (REQUEST, report()),
    ],
    ids=["no profile", "other batches", "another network", "a clock not measured", "no meter", "no points"],
)  # fmt: skip
def test_what_was_not_measured_is_not_guessed(profile: tuple[ProfileRequest, ProfileReport] | None) -> None:
    assert expected_j(TASK, profile, 3.0) is None


def test_a_board_without_a_clock_to_set_has_one_price() -> None:
    own = (msgspec.structs.replace(REQUEST, freqs_hz=()), report(costing(None, 0.7)))
    assert expected_j(task(segments=(Segment(freq_hz=None, samples=30),)), own, None) == pytest.approx(21.0)
    assert expected_j(task(segments=(Segment(freq_hz=None, samples=30),)), PROFILE, None) is None


def test_a_window_that_wakes_the_trainer_replaces_no_profile() -> None:
    wake = (msgspec.structs.replace(REQUEST, freqs_hz=(1e9,), window_s=0.5), report(costing(1e9, 0.9)))
    other = (msgspec.structs.replace(wake[0], batch_size=8), wake[1])
    assert more_telling(PROFILE, wake) == PROFILE
    assert more_telling(None, wake) == wake
    assert more_telling(wake, PROFILE) == PROFILE
    assert more_telling(PROFILE, other) == other


PROFILED, _ = go(READY, REQUEST, Profiled(2, PROFILE[1]))


@pytest.mark.parametrize(("battery_j", "phase"), [(16.9, "ready"), (18.0, "fetching"), (None, "fetching")])
def test_the_session_refuses_what_the_battery_does_not_hold(battery_j: float | None, phase: str) -> None:
    state, commands = go(PROFILED, Heard(TASK, battery_j))
    assert state.phase == phase
    if phase == "ready":
        assert refused(commands) == "the task takes 18 J or more, its battery holds 17 J, and nothing charges the board"


def test_an_upload_that_was_timed_counts_with_the_idle_floor() -> None:
    slow = msgspec.structs.replace(update(), upload=msgspec.structs.replace(update().upload, duration_s=50.0))
    state = replace(PROFILED, finished=Finished(task(7), slow, closed(7)))
    _, commands = go(state, Heard(TASK, 110.0))
    assert refused(commands) == "the task takes 118 J or more, its battery holds 110 J, and nothing charges the board"


def test_a_task_under_way_is_not_refused_when_it_is_said_again() -> None:
    state, _ = go(PROFILED, Heard(TASK, 100.0))
    again, commands = go(state, Heard(TASK, 1.0))
    assert (again, commands) == (state, [])


def test_a_device_without_a_profile_takes_the_task() -> None:
    assert go(READY, Heard(TASK, 0.1))[0].phase == "fetching"


async def test_a_virtual_board_on_its_battery_refuses_what_it_does_not_hold(tmp_path: Path, broker: Broker) -> None:
    """A Raspberry Pi 4B of 2.7 W and more, with 0.2 Wh: 720 J. It does 40 samples, and refuses a million."""
    write_data(tmp_path / "d.npz")
    (tmp_path / "client.toml").write_text('runtime = "numpy"\n')
    board = BoardConfig(
        id="dev-1", profile="raspberry-pi-4b", data="d.npz", client_config=str(tmp_path / "client.toml"),
        faults=Faults(battery_wh=0.2),
    )  # fmt: skip
    config = FleetConfig(broker=f"127.0.0.1:{broker.port}", fleet=TOPICS.fleet, board=(board,), usable_share=0.2)
    fleet = Fleet(config, tmp_path, io.StringIO())
    top_hz = 1500e6
    async with served(broker) as server:
        try:
            await fleet.start()
            await server.hello(ServerHello(server_id="s", run="r1", network=SMALL))
            await server.wait_for(Join)
            await server.say(
                ProfileRequest(
                    run="r1", network=SMALL, batch_size=8, freqs_hz=(top_hz, 600e6), window_s=1.0, settle_s=0.2
                )
            )
            [top, _] = (await server.wait_for(ProfileReport)).points
            assert top.j_per_sample is not None
            epochs = int(1000.0 / top.j_per_sample / 40)  # 1000 J
            segments = (Segment(freq_hz=top_hz, samples=40 * epochs),)
            await server.say(small_task(local_epochs=epochs, segments=segments))
            refusal = await server.wait_for(Refusal)
            assert refusal.reason.startswith(f"the task takes {40 * epochs * top.j_per_sample:.0f} J or more, its")
            assert refusal.reason.endswith(" J, and nothing charges the board")
            held = small_task(round_=1, segments=(Segment(freq_hz=top_hz, samples=80),))
            await start_round(server, held, weights())
            assert (await server.wait_for(Update)).samples == 80
        finally:
            await fleet.stop()
