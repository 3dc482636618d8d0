"""The session by hand: what a profile is, and what ends it."""

from __future__ import annotations

from edge_client.events import Drop, Failed, Open, Profile, Profiled, Publish
from edge_client.protocol.messages import Abort, ProfileRequest, Refusal
from tests.edge_client.session_states import BUSY, NETWORK, READY, REPORT, REQUEST, go, refused, task


def test_a_profile_is_measured_once() -> None:
    state, commands = go(READY, REQUEST)
    assert commands == [Profile(2, REQUEST)]
    assert state.phase == "profiling"
    assert go(state, REQUEST) == (state, [])
    state, commands = go(state, Profiled(2, REPORT))
    assert commands == [Publish(REPORT)]
    assert state.phase == "ready"
    state, commands = go(state, REQUEST)
    assert commands == [Publish(REPORT)]
    assert state.phase == "ready"


def test_another_profile_takes_the_place_of_the_first() -> None:
    longer = ProfileRequest(run="r", network=NETWORK, batch_size=4, freqs_hz=(1e9,), window_s=2, settle_s=0)
    state, _ = go(READY, REQUEST)
    state, commands = go(state, longer)
    assert commands == [Drop(), Profile(3, longer)]
    assert go(state, Profiled(2, REPORT)) == (state, [])
    state, _ = go(state, Profiled(3, REPORT))
    assert state.profiled == (longer, REPORT)
    assert go(state, REQUEST)[1] == [Profile(4, REQUEST)]


def test_a_profile_is_refused_by_strangers_and_the_busy() -> None:
    stranger = ProfileRequest(run="x", network=NETWORK, batch_size=4, freqs_hz=(1e9,), window_s=1, settle_s=0)
    assert refused(go(READY, stranger)[1]) == "run x is not the one this device joined (r)"
    for phase, state in BUSY.items():
        assert refused(go(state, REQUEST)[1]) == f"the device is busy ({phase})"


def test_a_profile_that_fails_is_refused_with_the_reason() -> None:
    state, _ = go(READY, REQUEST)
    state, commands = go(state, Failed(2, "no clock"))
    refusal = Refusal(device="dev", run="r", round=None, reason="no clock")
    assert commands == [Drop(), Publish(refusal)]
    assert (state.phase, state.request) == ("ready", None)


def test_an_abort_of_the_run_ends_a_profile() -> None:
    state, _ = go(READY, REQUEST)
    assert go(state, Abort(run="x", round=0, reason="")) == (state, [])
    state, commands = go(state, Abort(run="r", round=0, reason=""))
    assert commands == [Drop()]
    assert state.phase == "ready"
    assert go(state, Profiled(2, REPORT)) == (state, [])


def test_a_task_takes_the_place_of_a_profile() -> None:
    state, _ = go(READY, REQUEST)
    state, commands = go(state, task())
    assert commands == [Drop(), Open(3, task())]
    assert state.request is None
