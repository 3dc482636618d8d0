"""The sampler: around networks that are none, and around small ones of chance."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.unet import UNetShape, build_unet
from server.errors import DataError
from server.synth.generator import Stopped
from server.synth.hardware import Hardware
from server.synth.sampler import DiffusionGenerator
from server.synth.settings import SOLVERS, Sampling
from server.synth.store import sample_seed

SHAPE = UNetShape(image_size=8, channels=1, n_classes=2, widths=(32, 32), layers=1)
PLAIN = Hardware("cpu", channels_last=False, compile=False)
HALF = replace(PLAIN, half=torch.bfloat16)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers, numpy 2


class Net(torch.nn.Module):
    """Predicts what `predict` says of (x, noise level, classes); remembers how it was asked."""

    def __init__(self, predict=lambda x, level, classes: torch.zeros_like(x)) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self._predict = predict
        self.asked: list[tuple[int, int, bool]] = []
        """Samples, noise level, whether in half precision."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, class_labels: torch.Tensor) -> SimpleNamespace:
        assert x.dtype == torch.float32 and class_labels.dtype == torch.int64
        assert t.ndim == 0 and len(class_labels) == len(x)
        self.asked.append((len(x), int(t), torch.is_autocast_enabled("cpu")))
        return SimpleNamespace(sample=self._predict(x, int(t), class_labels))


def sampler_of(net: torch.nn.Module, sampling: Sampling, hardware: Hardware = PLAIN) -> DiffusionGenerator:
    return DiffusionGenerator(net, SHAPE, "w", sampling, hardware)  # type: ignore[arg-type]


def test_sampling_ends_before_the_next_pass_of_the_network() -> None:
    net = Net()
    generator = sampler_of(net, Sampling(steps=5))
    classes, seeds = np.arange(60) % 2, np.arange(60)
    assert generator.sample(classes, seeds).shape == (60, 8, 8, 1)
    assert [n for n, *_ in net.asked] == [100] * 5 + [20] * 5  # 50 and 10 samples, with and without their class
    with pytest.raises(Stopped):
        generator.sample(classes, seeds, stop=lambda: len(net.asked) >= 13)
    assert len(net.asked) == 13


def test_another_base_seed_gives_other_images() -> None:
    generator = sampler_of(build_unet(SHAPE), Sampling(steps=2))
    first, other = (
        generator.sample(np.zeros(3, int), np.array([sample_seed(b, 0, k) for k in range(3)])) for b in (0, 1)
    )
    assert not (first == other).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_network_that_knows_the_clean_image_is_followed_to_it(solver: str) -> None:
    """v of an x0 that is c everywhere: x0 = a x - s v, so v = (a x - c) / s; a**2 by Nichol and Dhariwal's eq. 17."""
    clean = -0.6

    def true_v(x: torch.Tensor, level: int, _: torch.Tensor) -> torch.Tensor:
        start, now = (math.cos((own / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for own in (0, level + 1))
        alpha_bar = max(now / start, 1e-9)
        a, s = math.sqrt(alpha_bar), math.sqrt(1.0 - alpha_bar)
        return (a * x - clean) / s

    for steps in (5, 20, 100):
        images = sampler_of(Net(true_v), Sampling(steps, 1.0, solver)).sample(np.array([0]), np.array([7]))  # type: ignore[arg-type]
        assert np.abs(images.astype(int) - round((clean + 1) * 127.5)).max() <= 1


def test_guidance_goes_beyond_what_the_class_alone_says() -> None:
    """Without class v is 0, with it 0.2: at guidance 3 the solver is told 0.6, as one that is told so outright."""

    def by_class(x: torch.Tensor, _: int, classes: torch.Tensor) -> torch.Tensor:
        return torch.where(classes == SHAPE.n_classes, 0.0, 0.2)[:, None, None, None].expand_as(x)

    def outright(x: torch.Tensor, *_: object) -> torch.Tensor:
        return torch.full_like(x, 0.6)

    classes, seeds = np.array([0, 1]), np.array([3, 4])
    guided = sampler_of(Net(by_class), Sampling(6, 3.0)).sample(classes, seeds)
    told = sampler_of(Net(outright), Sampling(6, 1.0)).sample(classes, seeds)
    assert np.abs(guided.astype(int) - told).max() <= 1


def test_half_precision_is_kept_from_the_noisiest_levels() -> None:
    net = Net()
    sampler_of(net, Sampling(steps=10), HALF).sample(np.array([0]), np.array([0]))
    assert [(level, half) for _, level, half in net.asked] == [
        (level, level < 700) for level in (999, 899, 799, 699, 599, 499, 399, 299, 199, 99)
    ]
    exact = Net()
    sampler_of(exact, Sampling(steps=3)).sample(np.array([0]), np.array([0]))
    assert not any(half for *_, half in exact.asked)


def test_a_seed_is_one_image_wherever_it_is_made() -> None:
    """In another batch, and in half precision: at most 2 grey levels on 99.9 % of the pixels."""
    torch.manual_seed(0)
    unet = build_unet(SHAPE)
    classes, seeds = np.arange(60) % 2, np.arange(100, 160)
    whole = sampler_of(unet, Sampling(8)).sample(classes, seeds)
    assert np.array_equal(whole, sampler_of(unet, Sampling(8)).sample(classes, seeds))
    assert len(np.unique(whole)) > 50
    single = np.concatenate([sampler_of(unet, Sampling(8)).sample(classes[[i]], seeds[[i]]) for i in range(0, 60, 20)])
    assert (np.abs(whole[::20].astype(int) - single) <= 2).mean() >= 0.999
    half = sampler_of(unet, Sampling(8), HALF).sample(classes, seeds)
    assert (np.abs(whole.astype(int) - half) <= 2).mean() >= 0.999


def test_weights_that_overflow_in_half_precision_go_on_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    def overflowing(x: torch.Tensor, level: int, _: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, math.inf if torch.is_autocast_enabled("cpu") and level < 300 else 0.0)

    net = Net(overflowing)
    classes, seeds = np.zeros(60, np.int64), np.arange(60)
    with caplog.at_level(logging.WARNING):
        images = sampler_of(net, Sampling(5), HALF).sample(classes, seeds)
    assert np.array_equal(images, sampler_of(Net(), Sampling(5)).sample(classes, seeds))
    assert [record.message for record in caplog.records] == [
        "the generator's weights overflow in half precision: going on in float32"
    ]
    assert len(net.asked) == 15  # five in vain, then two batches of five


def test_pixels_that_are_not_numbers_are_no_images() -> None:
    net = Net(lambda x, *_: torch.full_like(x, math.nan))
    with pytest.raises(DataError, match="pixels that are not numbers: its weights are broken"):
        sampler_of(net, Sampling(3)).sample(np.array([0]), np.array([0]))


def test_a_digest_alone_moves_no_weights_to_a_gpu() -> None:
    class Heavy(Net):
        def to(self, *_: object, **__: object) -> Net:
            raise AssertionError("moved")

    generator = sampler_of(Heavy(), Sampling(), replace(PLAIN, device="cuda"))
    assert len(generator.digest) == 64
    with pytest.raises(AssertionError, match="moved"):
        generator.sample(np.array([0]), np.array([0]))


def test_the_digest_names_what_changes_an_image_and_nothing_else() -> None:
    net = Net()
    digests = {
        sampler_of(net, own).digest for own in (Sampling(), Sampling(10), Sampling(20, 2.0), Sampling(solver="ddim"))
    }
    assert len(digests) == 4
    assert sampler_of(net, Sampling(), HALF).digest == sampler_of(net, Sampling()).digest
