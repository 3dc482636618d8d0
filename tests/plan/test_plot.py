"""Pictures are drawn for every kind of fleet, without a warning, and show what they say they show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.errors import ConfigError
from server.plan.plan_text import device_table
from server.plan.plot import SHOWN, chosen, draw_plan, save_png
from server.plan.plot_sweep import draw_sweep
from server.plan.random_fleet import random_fleet
from server.plan.solve import solve
from server.plan.sweep import parse_range, sweep
from tests.plan.builders import KINDS, device, problem, random_problem, table


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_of_every_kind(kind, tmp_path):
    asked = random_problem(1, 5, kind, "mixed", 0.5)
    figure = draw_plan(asked, solve(asked, batch_size=32))
    save_png(figure, tmp_path / "plan.png")
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    medium = {"wired": [], "shared_link": ["Of the link, %"]}.get(kind, ["Band, MHz"])
    assert titles[:2] == ["Samples", "Clock, GHz"]
    assert titles[2:] == [
        "Seconds of the round", *medium, "Joules", "W saved by a second", "J for 0.01 of mean error less, here",
    ]  # fmt: skip
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [f"d{i}" for i in range(5)]


def test_a_clock_that_is_not_known_has_no_dot(tmp_path):
    asked = problem(device("a", cpu=table((float("nan"), 1.0, 3.0))), round_s=60.0)
    plan = solve(asked)
    save_png(draw_plan(asked, plan), tmp_path / "plan.png")
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    assert device_table(asked, plan)[1].split()[:5] == ["a", "10", "0", "-:", "10"]


def test_bars_are_as_long_as_the_plan_says():
    asked = problem(device("a"), device("b", local=(20, 0)), round_s=60.0)
    figure = draw_plan(asked, solve(asked))
    assert len(figure.axes) == 5  # no target: error has no price
    samples, _, seconds, joules = figure.axes[:4]
    assert [bar.get_width() for bar in samples.patches[:2]] == [10, 20]
    assert [bar.get_width() for bar in seconds.patches] == pytest.approx([20, 40, 1, 1, 39, 19])
    assert [bar.get_width() for bar in joules.patches] == pytest.approx([20, 40, 0.5, 0.5])


def test_what_is_taken_of_a_medium_and_sent_on_it():
    asked = random_problem(2, 3, "scheduled", "laws", 0.5)
    plan = solve(asked)
    panel = draw_plan(asked, plan).axes[3]
    assert [bar.get_width() for bar in panel.patches] == pytest.approx(list(plan.devices.bandwidth_hz / 1e6))
    assert [text.get_text() for text in panel.texts] == [f"{watts:.2g} W" for watts in plan.devices.tx_power_w]


def test_of_many_devices_some_stand_for_all():
    asked = random_fleet(200, 0)
    plan = solve(asked, batch_size=32)
    rows = chosen(plan)
    joules = (plan.devices.compute_j + plan.devices.upload_j)[rows]
    assert len(rows) == SHOWN
    assert (np.diff(joules) >= 0).all()
    assert joules[0] == (plan.devices.compute_j + plan.devices.upload_j).min()
    title = draw_plan(asked, plan).get_suptitle()
    assert "200 devices, of which 40 are shown" in title


@pytest.mark.parametrize("text", ["target-error=0.2:0.3:4", "round-s=4:90:4", "round-s=1:1.5:2"])
def test_a_sweep_with_and_without_plans(text, tmp_path):
    asked = random_problem(1, 3, "wired", "tables", 0.5)
    over = parse_range(text)
    points = list(sweep(replace(asked, target_error=None) if "round" in text else asked, over, solve))
    save_png(draw_sweep(asked, over, points), tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").stat().st_size > 10_000


def test_a_place_that_cannot_be_written(tmp_path):
    asked = problem(device())
    with pytest.raises(ConfigError, match=r"plan\.png: No such file or directory; give a path that can be written"):
        save_png(draw_plan(asked, solve(asked)), tmp_path / "nowhere" / "plan.png")
