"""Uploads that share a link: the parts that plans give, and the rates that tasks carry. Numbers by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from server.config import PlanConfig
from server.measured import planner_device, planner_devices
from server.plan.solve import solve
from server.records import Enrolled, LinkMeasurement, LinkShare, OwnPace
from server.rounds.training import make_job
from server.run_plans import make_plan
from server.strategies import Terms, plan_strategy, planned_work, settle_terms
from server.uplinks import at_once, radios, seconds_now, shares, unplanned_seconds, upload_joules
from tests.rounds.test_training import INITIAL, course
from tests.server.test_strategies import enrolled
from tests.server.test_unplanned import blind, run_of
from tests.server.test_unplanned import enrolled as steps_enrolled

SLOW = LinkMeasurement(up_bits=1_000_000, up_bits_per_s=1e6, power_w=0.5)  # alone 1 s
FAST = LinkMeasurement(up_bits=1_000_000, up_bits_per_s=8e6, power_w=0.8)  # alone on a link of 2 Mbit/s: 0.5 s
SHARED = 2e6


def pair() -> list[Enrolled]:
    return [msgspec.structs.replace(enrolled(id_), link=link) for id_, link in (("a", SLOW), ("b", FAST))]


def terms(shared: float | None = SHARED, **plan: float) -> Terms:
    devices = planner_devices(pair(), None, shared)
    return settle_terms(devices, PlanConfig(**plan), learning=None, local_epochs=1)


def test_at_once_all_end_together() -> None:
    """1 s and 0.5 s of the link: 1.5 s in all, two thirds and one third of the time."""
    crowd = at_once({"a": SLOW, "b": FAST}, SHARED)
    assert crowd["a"].part == pytest.approx(2 / 3)
    assert crowd["b"].part == pytest.approx(1 / 3)
    assert [share.bits_per_s for share in crowd.values()] == pytest.approx([1e6 / 1.5] * 2)


@pytest.mark.parametrize(
    ("links", "shared"), [({"a": SLOW, "b": FAST}, None), ({"a": SLOW}, SHARED)], ids=["own links", "one device"]
)
def test_where_nothing_is_shared_every_link_is_its_own(links: dict[str, LinkMeasurement], shared: float | None) -> None:
    assert at_once(links, shared) == {}
    for id_, radio in radios(links, shared).items():
        assert (radio.kind, radio.link_bits_per_s, radio.overhead_w, radio.tx_power_w) == (
            "wired", links[id_].up_bits_per_s, links[id_].power_w, None,
        )  # fmt: skip


def test_on_a_shared_link_nobody_is_faster_than_it_and_watts_are_drawn_in_turns() -> None:
    a, b = planner_devices(pair(), None, SHARED)
    assert [(d.radio.kind, d.radio.link_bits_per_s, d.radio.overhead_w) for d in (a, b)] == [
        ("shared_link", 1e6, 0.0), ("shared_link", 2e6, 0.0),
    ]  # fmt: skip
    # 2 s of an upload that has the link for 1 s of them: 0.5 W for 1 s, and the board's 2 W for 2 s
    assert upload_joules(a, 2.0, added=True) == pytest.approx(0.5)
    assert upload_joules(a, 2.0, added=False) == pytest.approx(4.5)
    assert unplanned_seconds([a, b]) == {"a": pytest.approx(1.5), "b": pytest.approx(1.5)}


def test_the_round_counts_with_uploads_that_all_begin_at_once() -> None:
    """100 samples at the top clock take 2/3 s, then 1.5 s; with links of their own the slower needs 1 s."""
    assert terms().round_s == pytest.approx(1.5 * (2 / 3 + 1.5))
    assert terms(shared=None).round_s == pytest.approx(1.5 * (2 / 3 + 1.0))


def test_the_plan_s_parts_fill_the_link_and_are_the_pace_of_the_tasks() -> None:
    devices = planner_devices(pair(), None, SHARED)
    # the top clock, 2/3 s, and all at once, 1.5 s, would just be in time, and nothing else
    plan = plan_strategy("tfl", devices, terms(round_s=2 / 3 + 1.5001), solve)
    assert sum(share.part for share in plan.link.values()) == pytest.approx(1.0, abs=1e-3)
    for share, device in zip(plan.plan.devices, devices, strict=True):
        link = plan.link[share.id]
        assert link.bits_per_s == pytest.approx(1e6 / share.upload_s)
        assert link.part == pytest.approx(link.bits_per_s / (device.radio.link_bits_per_s or 0.0))
        assert share.tx_power_w is None  # what is drawn is no power to be set
        assert planned_work(share, link).link == link
    job = make_job(course(), 7, 1, INITIAL, plan, tuple(pair()), {})
    assert {id_: task.upload_bits_per_s for id_, task in job.tasks.items()} == {
        id_: link.bits_per_s for id_, link in plan.link.items()
    }
    assert {task.tx_power_w for task in job.tasks.values()} == {None}


def test_no_pace_where_links_are_their_own_or_nobody_plans_the_uploads() -> None:
    own = planner_devices(pair(), None, None)
    shared = planner_devices(pair(), None, SHARED)
    plans = [
        plan_strategy("tfl", own, terms(shared=None), solve),
        plan_strategy("tfl-top", shared, terms(), solve),
    ]
    for plan in plans:
        assert plan.link == {}
        job = make_job(course(), 7, 1, INITIAL, plan, tuple(pair()), {})
        assert {task.upload_bits_per_s for task in job.tasks.values()} == {None}
    top = plans[1].plan.devices
    assert [share.upload_s for share in top] == pytest.approx([1.5, 1.5])
    assert [share.upload_j for share in top] == pytest.approx([0.5, 0.8 / 8])  # 1 Mbit at 1 and at 8 Mbit/s


def test_a_plan_s_uploads_take_longer_where_the_link_no_longer_carries_them() -> None:
    """b's part of a full link doubles when its rate halves: 4/3 of the link are wanted."""
    devices = {device.id: device for device in planner_devices(pair(), None, SHARED)}
    plan = plan_strategy("tfl-top", tuple(devices.values()), terms(), solve).plan.devices
    assert seconds_now(plan, devices) == {"a": pytest.approx(1.5), "b": pytest.approx(1.5)}
    slower = devices | {"b": replace(devices["b"], radio=replace(devices["b"].radio, link_bits_per_s=1e6))}
    assert seconds_now(plan, slower) == {"a": pytest.approx(2.0), "b": pytest.approx(2.0)}
    assert {id_: share.part for id_, share in shares(slower.values(), plan).items()} == {
        "a": pytest.approx(2 / 3), "b": pytest.approx(2 / 3),
    }  # fmt: skip
    alone = {"a": planner_device(enrolled("a"), None)}
    own = plan_strategy("tfl-top", tuple(alone.values()), terms(shared=None), solve).plan.devices
    assert seconds_now(own, alone) == {"a": 0.5}


def test_a_device_without_joules_has_its_part_and_the_others_share_the_rest(tmp_path: Path) -> None:
    """Three uploads of 0.1 Mbit on 1 Mbit/s: 0.3 s all at once. b and c keep a third each, a has a third at most."""
    run = run_of(tmp_path, strategies=("tfl",))
    fleet = msgspec.structs.replace(run.config.fleet, shared_link_bits_per_s=1e6)
    run = replace(run, config=msgspec.structs.replace(run.config, fleet=fleet))
    devices = (steps_enrolled(id_="a"), blind("b"), blind("c"))
    plan = make_plan(run, "tfl", devices)
    part = LinkShare(bits_per_s=pytest.approx(1e5 / 0.3), part=pytest.approx(1 / 3))
    assert plan.unplanned == tuple(
        OwnPace(id=id_, samples=100, compute_s=1.0, upload_s=pytest.approx(0.3), link=part) for id_ in "bc"
    )
    assert (plan.link["b"], plan.link["c"]) == (part, part)
    assert plan.link["a"].bits_per_s <= 1e6 / 3 * (1 + 1e-9)
    job = make_job(course(), 7, 1, INITIAL, plan, devices, {})
    assert job.tasks["b"].upload_bits_per_s == pytest.approx(1e5 / 0.3)
    assert make_plan(run, "tfl", ()) == plan  # as it is on disk
