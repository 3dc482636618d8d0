from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")
from models import networks  # noqa: E402 - it needs torch

IMAGES = {"rgb32": (32, 32, 3), "grey28": (28, 28, 1)}


def test_vgg9_has_the_published_number_of_weights() -> None:
    assert networks.n_weights("vgg9", (32, 32, 3), 10) == 3_491_530


def test_vgg9_weights_by_hand_for_28x28x1() -> None:
    # Two inputs less into 32 filters of 3x3, and 256 * 3 * 3 instead of 256 * 4 * 4 values into 512.
    assert networks.n_weights("vgg9", (28, 28, 1), 10) == 3_491_530 - 2 * 32 * 9 - (4096 - 2304) * 512


@pytest.mark.parametrize("name", networks.NAMES)
@pytest.mark.parametrize("shape", IMAGES.values(), ids=IMAGES.keys())
def test_forward_gives_one_row_of_finite_logits_per_image(name: str, shape: tuple[int, int, int]) -> None:
    module = networks.build(name, shape, 7)
    networks.from_arrays(module, networks.initial_weights(name, shape, 7, seed=0))
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    logits = module(torch.from_numpy(networks.normalise(images)))
    assert logits.shape == (3, 7)
    assert bool(torch.isfinite(logits).all())


def test_normalise_by_hand() -> None:
    images = np.zeros((1, 2, 2, 3), np.uint8)
    images[0, 0, 1] = (0, 51, 255)
    out = networks.normalise(images)
    assert out.shape == (1, 3, 2, 2)
    assert out.dtype == np.float32
    assert out[0, :, 0, 1] == pytest.approx([-1.0, -0.6, 1.0])
    assert out[0, 0, 1, 1] == -1.0


def test_initial_weights_follow_the_seed_and_leave_torchs_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    one, again, other = (networks.initial_weights("vgg9", (28, 28, 1), 10, seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(np.array_equal(one[key], again[key]) for key in one)
    assert not np.array_equal(one["conv.0.weight"], other["conv.0.weight"])
    assert one["conv.3.weight"].std() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert one["fc.2.weight"].std() == pytest.approx(0.1 * (1 / 512) ** 0.5, rel=0.05)
    assert not one["fc.1.bias"].any()


def test_arrays_go_in_and_out_unchanged_and_are_copies() -> None:
    module = networks.build("tiny", (8, 8, 1), 3)
    weights = networks.initial_weights("tiny", (8, 8, 1), 3, seed=5)
    for array in weights.values():
        array.flags.writeable = False
    networks.from_arrays(module, weights)
    out = networks.to_arrays(module)
    assert list(out) == list(weights)
    assert all(np.array_equal(out[key], weights[key]) and out[key].dtype == np.float32 for key in out)
    out["fc.bias"][:] = 9.0
    assert not networks.to_arrays(module)["fc.bias"].any()


def test_what_does_not_fit_is_refused() -> None:
    module = networks.build("tiny", (8, 8, 1), 3)
    weights = networks.initial_weights("tiny", (8, 8, 1), 3, seed=0)
    with pytest.raises(ValueError, match="named"):
        networks.from_arrays(module, {key: value for key, value in weights.items() if key != "fc.bias"})
    with pytest.raises(ValueError, match=r"fc.bias has shape \(4,\)"):
        networks.from_arrays(module, {**weights, "fc.bias": np.zeros(4, np.float32)})
    with pytest.raises(ValueError, match="known: vgg9, tiny"):
        networks.build("resnet", (32, 32, 3), 10)
    with pytest.raises(ValueError, match="too small"):
        networks.build("vgg9", (7, 32, 3), 10)
