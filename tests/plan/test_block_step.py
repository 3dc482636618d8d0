"""The price of a second of every device's round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import learning_curve
from server.plan import block_step as block_step_module
from server.plan.block_step import answer, log_excess, priced, search
from server.plan.blocks import split
from server.plan.build import build_fleet
from tests.plan.builders import KINDS, device, problem, random_problem


def quiet(function, *given):
    with np.errstate(all="ignore"):
        return function(*given)


def blocks_of(asked):
    return quiet(split, build_fleet(asked))


def found_in(block, lam=0.0, mu=0.0, start=None, near=1e-12):
    prices = quiet(priced, block, lam, mu)
    return quiet(search, block, block.scale_w * 1.0 if start is None else start, prices, near)


def test_time_sharing_is_found_on_the_kink_itself():
    # 16 s for 10 samples at 1 s / 3 J or 2 s / 2 J and 1 s of upload: the kink's price is 1 W
    found = found_in(blocks_of(problem(device(), round_s=16.0))[0])
    assert found.price_w.tolist() == [1.0]
    assert (found.quick_s[0], found.slow_s[0]) == (10.0, 20.0)


@pytest.mark.parametrize("start", [1e-9, 1.0 - 2.3e-16, 1.0 + 2.3e-16, 1.0, 77.0])
def test_a_kink_is_found_from_anywhere(start):
    block = blocks_of(problem(device(), round_s=16.0))[0]
    assert found_in(block, start=np.array([start])).price_w.tolist() == [1.0]


def test_nobody_pays_for_time_to_spare():
    found = found_in(blocks_of(problem(device(), round_s=100.0))[0])
    assert found.price_w.tolist() == [0.0]
    assert found.quick_s.tolist() == [20.0]


def test_a_round_that_nobody_can_keep_ends_all_the_same():
    found = found_in(blocks_of(problem(device(), round_s=5.0))[0])
    assert found.quick_s.tolist() == [10.0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cpus", ["tables", "curves"])
def test_the_round_is_used_up_or_time_is_free(kind, cpus):
    asked = replace(random_problem(8, 60, kind, cpus, 0.5), round_s=40.0)
    for block in blocks_of(asked):
        found = found_in(block, 5e4, 1e-6)
        excess = quiet(log_excess, block, found)
        assert (np.abs(excess[found.price_w > 0]) <= 1e-11).all()
        assert (excess[found.price_w == 0] <= 0).all()


@pytest.mark.parametrize("cpus", ["tables", "curves"])
def test_the_search_is_short(monkeypatch, cpus):
    """Starts and steps change no plan, only how long it takes: so count, cold and near the answer."""
    evaluated = []
    monkeypatch.setattr(
        block_step_module, "answer", lambda block, *given: evaluated.append(len(block)) or answer(block, *given)
    )
    block = blocks_of(replace(random_problem(8, 300, "scheduled", cpus, 0.5), round_s=40.0))[0]
    found = found_in(block, 5e4, 1e-6, near=1e-6)
    assert sum(evaluated) <= 11 * len(block)
    evaluated.clear()
    found_in(block, 5e4, 1.01e-6, start=found.price_w * 1.0, near=1e-6)
    assert sum(evaluated) <= 3.2 * len(block)


def test_no_accuracy_asked_means_the_local_samples():
    assert found_in(blocks_of(problem(device("a")))[0], lam=1e9).data.samples.tolist() == [10.0]


def test_full_storage_is_full_to_the_last_sample():
    # exp(ln 110) is not 110
    assert found_in(blocks_of(problem(device("a"), target=0.5))[0], lam=1e30).data.samples.tolist() == [110.0]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.floats(0, 1e6), st.floats(0, 10))
def test_no_other_amount_is_cheaper(seed, price_error_j, price_w):
    fleet = build_fleet(random_problem(seed, 3, "wired", "mixed", 0.5, epochs=2))
    for block in quiet(split, fleet):
        found = quiet(answer, block, np.full(len(block), price_w), quiet(priced, block, price_error_j, 0.0))

        def cost(samples, block=block, found=found):
            worth = learning_curve.effective_samples(block.local, samples, fleet.eta)
            error = learning_curve.error(worth, fleet.curve.alpha, fleet.curve.beta, fleet.curve.gamma)
            return fleet.epochs * samples * found.priced_j + price_error_j / len(fleet) * error

        for part in np.linspace(0, 1, 23):
            other = block.local + part * (block.most - block.local)
            assert (cost(found.data.samples) <= cost(other) * (1 + 1e-12)).all()
