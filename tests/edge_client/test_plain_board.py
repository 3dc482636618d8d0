"""A machine without cpufreq, radio or sensor still trains, and says what it could not do and does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.protocol.messages import (
    Join,
    ProfileReport,
    ProfileRequest,
    Segment,
    ServerHello,
    TaskClosed,
    Update,
)
from tests.edge_client.agents import NETWORK, served, start_round, task, weights, write_data
from tests.edge_client.conftest import Broker
from tests.edge_client.test_cli import end, start_client


async def test_a_plain_machine_trains_and_reports_no_joules(tmp_path: Path, broker: Broker) -> None:
    (tmp_path / "root").mkdir()
    write_data(tmp_path / "d.npz")
    client = start_client(tmp_path, broker.port)
    try:
        async with served(broker) as server:
            await server.hello(ServerHello(server_id="s", run="r1", network=NETWORK))
            join = await server.wait_for(Join)
            assert (join.capabilities.opps_hz, join.capabilities.meter_source) == ((), "unavailable")
            request = ProfileRequest(run="r1", network=NETWORK, batch_size=8, freqs_hz=(), window_s=0.1, settle_s=0.0)
            await server.say(request)
            report = await server.wait_for(ProfileReport)
            (point,) = report.points
            assert (point.freq_hz, point.verified_hz, point.j_per_sample, point.finding) == (None, None, None, None)
            assert point.s_per_sample == pytest.approx(point.duration_s / point.samples)
            assert (report.idle.energy_j, report.idle.idle_power_w) == (None, None)
            await start_round(server, task(segments=(Segment(freq_hz=204e6, samples=80),)), weights())
            update = await server.wait_for(Update)
            (segment,) = update.segments
            assert (segment.samples, segment.finding, segment.verified_by) == (80, "refused", None)
            assert (segment.accepted_hz, segment.verified_hz) == (None, None)
            for reading in (segment.energy, update.compute, update.upload.energy):
                assert (reading.energy_j, reading.source, reading.uncertainty) == (None, "unavailable", None)
            assert update.upload.radio.capability == "unsupported"
            client.terminate()
            closed = await server.wait_for(TaskClosed)
            assert closed.energy.energy_j is None
            assert client.wait(30) == 0
    finally:
        end(client)
