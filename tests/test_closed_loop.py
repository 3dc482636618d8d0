"""What a round's updates teach about the devices, with numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import RadioOutcome, SegmentOutcome, Update, UploadOutcome
from server import closed_loop
from server.plan import refit
from server.plan.problem import AnalyticCpu, Device, OppTable, Radio
from server.records import LinkShare
from tests.rounds.fake_device import reading

BOARD = Device(
    id="a",
    local_counts=np.array([4], dtype=np.int32),
    storage_samples=10,
    upload_bits=800.0,
    cpu=OppTable(np.array([0.5e9, 1e9]), np.array([0.2, 0.1]), np.array([0.8, 0.6]), power_idle_w=2.0),
    radio=Radio(kind="wired", overhead_w=1.0, link_bits_per_s=100.0),
)


def segment(freq_hz: float | None, samples: int, duration_s: float, energy_j: float, **odd: object) -> SegmentOutcome:
    sound = SegmentOutcome(
        requested_hz=freq_hz,
        accepted_hz=freq_hz,
        verified_hz=None,
        violation_s=0.0,
        samples=samples,
        duration_s=duration_s,
        energy=reading(energy_j, duration_s),
        starved=False,
        throttled=None,
    )
    return msgspec.structs.replace(sound, **odd)


def update(*segments: SegmentOutcome, upload_s: float = 8.0, upload_j: float = 24.0, device: str = "a") -> Update:
    """An upload of 800 bits; at 2 W idle and 24 J in 8 s it takes 1 W more."""
    return Update(
        device=device,
        run="r",
        round=1,
        weights=blob_ref(b"u", 64),
        samples=1,
        train_loss=1.0,
        segments=segments,
        compute=reading(),
        upload=UploadOutcome(
            bits=800,
            duration_s=upload_s,
            energy=reading(upload_j, upload_s),
            radio=RadioOutcome(requested_w=None, accepted_w=None, capability="unsupported"),
        ),
    )


def learn(*updates: Update) -> tuple[closed_loop.DeviceBelief, tuple[closed_loop.Seen, ...]]:
    beliefs, seen = closed_loop.learn_round([BOARD], closed_loop.first_beliefs([BOARD]), 1, updates)
    return beliefs["a"], seen


def test_a_board_as_profiled_stays_as_it_is() -> None:
    belief, seen = learn(update(segment(1e9, 100, 10.0, 60.0)))
    assert [each.what for each in seen] == [
        "s a sample at 1000 MHz", "J a sample at 1000 MHz", "bit/s of the uplink", "W of the uplink",
    ]  # fmt: skip
    assert [each.outlook.predicted for each in seen] == pytest.approx([0.1, 0.6, 100.0, 1.0])
    assert [each.outlook.measured for each in seen] == pytest.approx([0.1, 0.6, 100.0, 1.0])
    assert closed_loop.misses(seen) == ()
    same = closed_loop.believed_device(BOARD, belief)
    np.testing.assert_allclose(same.cpu.s_per_sample, [0.2, 0.1])
    np.testing.assert_allclose(same.cpu.j_per_sample, [0.8, 0.6])
    assert (same.radio.link_bits_per_s, same.radio.overhead_w) == pytest.approx((100.0, 1.0))


def test_a_slower_dearer_board_is_believed_so_at_every_clock_and_said_to_have_missed() -> None:
    belief, seen = learn(update(segment(1e9, 100, 13.0, 90.0), upload_s=16.0, upload_j=64.0))
    drift, own, noise = refit.DRIFT**2 + refit.WALK**2, refit.POINT**2, refit.NOISE**2
    believed = closed_loop.believed_device(BOARD, belief)
    slower = math.log(1.3) / (drift + own + noise)
    assert believed.cpu.s_per_sample == pytest.approx(
        [0.2 * math.exp(slower * drift), 0.1 * math.exp(slower * (drift + own))]
    )
    assert believed.cpu.j_per_sample[1] / 0.6 == pytest.approx(1.5 ** ((drift + own) / (drift + own + noise)))
    link = (drift + own) / (drift + own + noise + closed_loop.LINK_NOISE**2)  # half the rate, twice the watts
    assert believed.radio.link_bits_per_s == pytest.approx(100.0 * 0.5**link)
    assert believed.radio.overhead_w == pytest.approx(2.0**link)
    assert [each.what for each in closed_loop.misses(seen)] == [each.what for each in seen]
    assert {(each.device, each.round) for each in seen} == {("a", 1)}


@pytest.mark.parametrize(
    "odd",
    [
        segment(1e9, 100, 13.0, 90.0, starved=True),
        segment(1e9, 10, 0.9, 9.0),
        segment(0.7e9, 100, 13.0, 90.0),
        segment(None, 100, 13.0, 90.0),
        segment(1e9, 0, 13.0, 90.0),
    ],
    ids=["starved", "short", "no such clock", "no clock", "no samples"],
)
def test_what_is_not_sound_teaches_nothing(odd: SegmentOutcome) -> None:
    _, seen = learn(update(odd))
    assert [each.what for each in seen] == ["bit/s of the uplink", "W of the uplink"]


def test_a_board_with_one_operating_point_is_learned_of_without_a_clock() -> None:
    """Its clock cannot be set, so none is asked for: what it took is what its only point takes."""
    table = OppTable(np.array([np.nan]), np.array([0.1]), np.array([0.6]), power_idle_w=2.0)
    board = replace(BOARD, cpu=table)
    beliefs, seen = closed_loop.learn_round(
        [board], closed_loop.first_beliefs([board]), 1, [update(segment(None, 100, 13.0, 90.0))]
    )
    assert [each.what for each in seen][:2] == ["s a sample", "J a sample"]
    assert 0.1 < closed_loop.believed_device(board, beliefs["a"]).cpu.s_per_sample[0] < 0.13


@pytest.mark.parametrize("odd", [{"throttled": True}, {"violation_s": 4.0}], ids=["throttled", "off its clock"])
def test_a_clock_that_was_not_kept_is_planned_with_what_it_really_brings(odd: dict[str, object]) -> None:
    """30 % slower and half as dear again at 1 GHz; 0.5 GHz, where the board obeys, stays as it was."""
    belief, _ = learn(update(segment(1e9, 100, 13.0, 90.0, **odd)))
    believed = closed_loop.believed_device(BOARD, belief)
    assert believed.cpu.s_per_sample == pytest.approx([0.2, 0.13], rel=0.02)
    assert believed.cpu.j_per_sample == pytest.approx([0.8, 0.9], rel=0.03)
    believed_as_whole, _ = learn(update(segment(1e9, 100, 13.0, 90.0)))
    assert closed_loop.believed_device(BOARD, believed_as_whole).cpu.s_per_sample[0] > 0.24


def test_a_moment_off_the_clock_is_no_disobedience() -> None:
    straight, _ = learn(update(segment(1e9, 100, 13.0, 90.0)))
    moment, _ = learn(update(segment(1e9, 100, 13.0, 90.0, violation_s=1.0)))
    np.testing.assert_array_equal(straight.seconds.mean, moment.seconds.mean)


def test_unknown_joules_leave_the_joules_as_they_were() -> None:
    blind = msgspec.structs.replace(reading(), energy_j=None)
    belief, seen = learn(
        update(msgspec.structs.replace(segment(1e9, 100, 13.0, 90.0), energy=blind)),
        update(segment(1e9, 100, 13.0, 90.0), device="a stranger"),
    )
    assert seen[0].what == "s a sample at 1000 MHz"
    assert len(seen) == 3
    np.testing.assert_array_equal(belief.joules.mean, np.zeros(3))


def test_joules_stay_above_idle() -> None:
    """1 s at 1 W where idling takes 2 W: such a board would gain energy by training."""
    belief, _ = learn(*[update(segment(1e9, 10, 10.0, 10.0))] * 20)
    believed = closed_loop.believed_device(BOARD, belief)
    assert (believed.cpu.j_per_sample >= 1.01 * 2.0 * believed.cpu.s_per_sample * (1 - 1e-12)).all()


def test_a_device_without_a_table_is_refused() -> None:
    law = AnalyticCpu(0.01, 1e7, 1.0, 0.5, 1e-27, 1e8, 1e9)
    with pytest.raises(ValueError, match="a has no measured operating points"):
        closed_loop.first_beliefs([replace(BOARD, cpu=law)])


# ---- paced uploads -----------------------------------------------------------------------------------------------

ON_LINK = replace(BOARD, radio=Radio(kind="shared_link", tx_power_w=1.0, link_bits_per_s=400.0))
BESIDE = replace(ON_LINK, id="b")
QUARTER = LinkShare(bits_per_s=100.0, part=0.25)
"""Of a link of 400 bit/s: 800 bits in 8 s, for 2 s of which it is the board's turn."""
REST = LinkShare(bits_per_s=300.0, part=0.75)


def rates(
    board: Device, sent: Update, share: LinkShare | None, rest: LinkShare | None = REST
) -> tuple[float, list[float]]:
    """The link as believed after an update, and what the rate was measured to be; another board has the `rest`."""
    paced = {id_: given for id_, given in (("a", share), ("b", rest)) if given is not None}
    both = [board, BESIDE]
    beliefs, seen = closed_loop.learn_round(both, closed_loop.first_beliefs(both), 1, [sent], paced)
    believed = closed_loop.believed_device(board, beliefs["a"]).radio.link_bits_per_s
    assert believed is not None
    return believed, [one.outlook.measured for one in seen if one.what == "bit/s of the uplink"]


def test_a_pace_that_was_kept_says_nothing_of_how_fast_the_link_is() -> None:
    assert rates(ON_LINK, update(upload_s=8.0), QUARTER) == (400.0, [])
    assert rates(ON_LINK, update(upload_s=9.9), QUARTER) == (400.0, [])  # the pacer's own lag: 19 % short


def test_a_pace_that_was_missed_by_far_shows_what_its_part_of_the_link_brought() -> None:
    """800 bits in 16 s instead of 8: the link has half the rate, and is not one of 50 bit/s."""
    believed, measured = rates(ON_LINK, update(upload_s=16.0), QUARTER)
    assert measured == pytest.approx([200.0])
    prior = refit.DRIFT**2 + refit.WALK**2 + refit.POINT**2
    assert believed == pytest.approx(400.0 * 0.5 ** (prior / (prior + refit.NOISE**2 + closed_loop.LINK_NOISE**2)))


def test_a_missed_pace_had_also_what_nobody_had_a_part_of() -> None:
    """50 bit/s where only 3/4 of the link were given away: its quarter and the free one, half of the link, brought no
    more, so the link has 100; with nobody else on it, all of the link brought 50."""
    half = LinkShare(bits_per_s=200.0, part=0.5)
    assert rates(ON_LINK, update(upload_s=16.0), QUARTER, half)[1] == pytest.approx([100.0])
    assert rates(ON_LINK, update(upload_s=16.0), QUARTER, None)[1] == pytest.approx([50.0])


def test_what_came_over_a_link_it_has_at_least_up_to_what_is_the_run_s() -> None:
    """Believed to have less than 300 bit/s after a missed pace; then 800 bit/s come over it, of which 400 are ours, or
    200 beside others, which says nothing new."""
    beliefs = closed_loop.first_beliefs([ON_LINK])
    missed, _ = closed_loop.learn_round([ON_LINK], beliefs, 1, [update(upload_s=32.0)], {"a": QUARTER})
    low = closed_loop.believed_device(ON_LINK, missed["a"]).radio.link_bits_per_s
    assert low is not None
    assert low < 300.0
    for upload_s, measured in ((1.0, [400.0]), (32.0, [])):
        after, seen = closed_loop.learn_round([ON_LINK], missed, 2, [update(upload_s=upload_s)])
        assert [one.outlook.measured for one in seen if one.what == "bit/s of the uplink"] == measured
        rate = closed_loop.believed_device(ON_LINK, after["a"]).radio.link_bits_per_s
        assert rate is not None
        assert (rate > low) is bool(measured)
    assert rates(ON_LINK, update(upload_s=1.0), None) == (400.0, [])  # not more than it may have, and no miss


def test_an_upload_that_its_client_held_back_is_not_its_link_s_rate_either() -> None:
    sent = update(upload_s=16.0)
    radio = msgspec.structs.replace(sent.upload.radio, share="htb", requested_bits_per_s=50.0)
    held = msgspec.structs.replace(sent, upload=msgspec.structs.replace(sent.upload, radio=radio))
    assert rates(BOARD, held, None) == (100.0, [])
    assert rates(BOARD, sent, None)[1] == [50.0]


def test_watts_on_a_shared_link_are_those_of_its_turns() -> None:
    """2 J over idle for 800 bits at 400 bit/s are 1 W for 2 s, however long the upload took; 4 J are 2 W."""
    for upload_s, added_j, watts in ((8.0, 2.0, 1.0), (4.0, 2.0, 1.0), (8.0, 4.0, 2.0)):
        sent = update(upload_s=upload_s, upload_j=2.0 * upload_s + added_j)
        beliefs, seen = closed_loop.learn_round(
            [ON_LINK], closed_loop.first_beliefs([ON_LINK]), 1, [sent], {"a": QUARTER}
        )
        (seen_w,) = (one.outlook for one in seen if one.what == "W of the uplink")
        assert seen_w.measured == pytest.approx(watts)
        meter = 0.01 * (2.0 * upload_s + added_j) / added_j  # 1 % of all joules, of which few are the upload's
        own = refit.DRIFT**2 + refit.WALK**2 + refit.POINT**2
        assert seen_w.deviation == pytest.approx(math.sqrt(own + refit.NOISE**2 + closed_loop.LINK_NOISE**2 + meter**2))
    radio = closed_loop.believed_device(ON_LINK, beliefs["a"]).radio
    assert radio.tx_power_w is not None
    assert 1.0 < radio.tx_power_w < 2.0
    assert radio.overhead_w == 0.0
