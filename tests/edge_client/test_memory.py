"""How many images fit into a bound on memory: by peaks worked out by hand, and in a real worker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from edge_client.errors import TrainingError
from edge_client.training.memory import Fit, fitting


def process(fixed: int, each: int) -> tuple[Callable[[int], None], Callable[[], int], list[int]]:
    """A process that holds `fixed` bytes and `each` for an image; the sizes that it was asked to do."""
    asked: list[int] = []
    return asked.append, lambda: fixed + each * max(asked), asked


@pytest.mark.parametrize(
    ("limit", "fits", "tried"),
    [
        (10_000, 32, [1, 2, 4, 8, 16, 32]),
        (4_200, 32, [1, 2, 4, 8, 16, 32]),  # 1000 + 32 * 100 = 4200: just
        (4_199, 16, [1, 2, 4, 8, 16]),  # the next doubling is foreseen, and not tried
        (1_900, 8, [1, 2, 4, 8]),
        (1_100, 1, [1, 2]),  # the growth is not known before two were tried
    ],
)
def test_the_largest_that_fits(limit: int, fits: int, tried: list[int]) -> None:
    rehearse, peak, asked = process(1_000, 100)
    assert fitting(32, limit, rehearse, peak).images == fits
    assert asked == tried


def test_a_batch_that_is_no_power_of_two_is_tried_whole() -> None:
    rehearse, peak, asked = process(0, 10)
    assert fitting(20, 200, rehearse, peak).images == 20
    assert asked == [1, 2, 4, 8, 16, 20]
    assert fitting(20, 199, *process(0, 10)[:2]).images == 16


def test_what_is_spared_counts() -> None:
    assert (
        fitting(8, 2_000, *process(1_000, 100)[:2], spare=300).images == 4
    )  # 1000 + 4 * 100 + 300 <= 2000 < ... 8 * 100
    assert fitting(8, 2_100, *process(1_000, 100)[:2], spare=300).images == 8


def test_a_larger_batch_goes_on_from_what_is_known() -> None:
    rehearse, peak, asked = process(1_000, 100)
    first = fitting(8, 4_200, rehearse, peak)
    assert first == Fit(8, 100.0)
    assert fitting(64, 4_200, rehearse, peak, known=first) == Fit(32, 100.0)  # 64 are foreseen not to fit
    assert asked == [1, 2, 4, 8, 16, 32]
    assert fitting(64, 4_200, rehearse, peak, known=Fit(32, 100.0)) == Fit(32, 100.0)
    assert asked == [1, 2, 4, 8, 16, 32]


def test_one_image_that_does_not_fit_is_said() -> None:
    rehearse, peak, _ = process(5_000_000, 1_000_000)
    with pytest.raises(TrainingError, match="holds 6 MB for one image, and memory_limit leaves it 5 MB; give it more"):
        fitting(8, 5_000_000, rehearse, peak)


def test_the_peak_counts_what_was_there_and_is_gone() -> None:
    code = (
        "from edge_client.training.memory import peak_bytes; before = peak_bytes(); "
        "block = bytearray(b'x') * (64 << 20); del block; print(peak_bytes() - before)"
    )
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 60 << 20 < int(grown) < 70 << 20
