"""The training step of a graph beside PyTorch's, both in float64: equal but for rounding, whatever the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_client.training import numpy_engine
from models import networks
from server.errors import ConfigError
from server.export.graph import Graph
from server.export.step import Exported, Options, Part, export_module
from server.export.to_numpy import to_numpy
from tests.export.nets import Mlp, ResNet8

HYPER = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01, "clip_norm": 0.3, "prox": 0.2}


def run(graph: Graph, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return numpy_engine.run(to_numpy(graph), given, np.float64)


def in_graph(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    turned = array.transpose(order)
    return turned.reshape(-1, *turned.shape[2:]) if array.ndim == 4 else turned


def sgd(module: nn.Module, images: np.ndarray, labels: np.ndarray, m: dict, whole: dict, options: Options):  # type: ignore[no-untyped-def]
    """PyTorch's step by hand, in float64."""
    weights = dict(module.named_parameters())
    logits = module(torch.from_numpy(networks.normalise(images)).double())
    loss = functional.cross_entropy(logits, torch.from_numpy(labels))
    gradients = dict(zip(weights, torch.autograd.grad(loss, weights.values()), strict=True))
    if options.prox:
        for name, p in weights.items():
            gradients[name] = gradients[name] + HYPER["prox"] * (p.detach() - torch.from_numpy(whole[name]))
    if options.clip:
        norm = torch.sqrt(sum((g**2).sum() for g in gradients.values()))
        gradients = {n: g * min(1.0, HYPER["clip_norm"] / (float(norm) + 1e-6)) for n, g in gradients.items()}
    after = {}
    for name, p in weights.items():
        g = gradients[name] + (HYPER["weight_decay"] * p.detach() if options.weight_decay else 0.0)
        moved = HYPER["momentum"] * torch.from_numpy(m[name]) + g
        after[f"next.m.{name}"] = moved.numpy()
        after[f"next.p.{name}"] = (p.detach() - HYPER["learning_rate"] * moved).numpy()
    return float(loss.detach()), after


def compare(module: nn.Module, shape: tuple[int, int, int], n_classes: int, options: Options, batch: int = 3) -> None:
    torch.manual_seed(0)
    module = module.double()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *shape), dtype=np.uint8)
    images[:, : shape[0] // 2, : shape[1] // 2] = 0  # a plain corner: many pixels are the largest of their pool
    labels = rng.integers(0, n_classes, batch)
    w = {name: p.detach().numpy().copy() for name, p in module.named_parameters()}
    m, whole = ({name: rng.normal(0, 0.1, a.shape) for name, a in w.items()} for _ in range(2))
    loss, wanted = sgd(module, images, labels, m, whole, options)
    exported = export_module(module.float(), shape, "step", options)
    given: dict[str, np.ndarray] = {name: np.array(value) for name, value in HYPER.items()}
    for kind, values in (("p", w), ("m", m), ("g", whole)):
        given |= {f"{kind}.{name}": in_graph(a, exported.orders[name]) for name, a in values.items()}
    found = run(exported.graph, given | {"images": images, "labels": labels})
    assert float(found["loss"]) == pytest.approx(loss, rel=1e-5)
    for name, order in exported.orders.items():
        for kind in ("p", "m"):
            change = in_graph(wanted[f"next.{kind}.{name}"], order) - given[f"{kind}.{name}"]
            own = found[f"next.{kind}.{name}"] - given[f"{kind}.{name}"]
            assert np.linalg.norm(own - change) <= 2e-6 * max(np.linalg.norm(change), 1e-3), name


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("weight_decay", [False, True])
@pytest.mark.parametrize("prox", [False, True])
def test_sgd_with_all_its_terms(clip: bool, weight_decay: bool, prox: bool) -> None:
    compare(Mlp(), (7, 5, 2), 3, Options(clip, weight_decay, prox))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("tiny", (9, 8, 1)), ("small", (14, 14, 3)), ("small", (9, 11, 1)), ("vgg9", (8, 8, 1)), ("vgg9", (13, 18, 3)),
        ("vgg9", (28, 28, 1)),
    ],
)  # fmt: skip
def test_the_projects_networks(name: str, shape: tuple[int, int, int]) -> None:
    compare(networks.build(name, shape, 4), shape, 4, Options())


@pytest.mark.parametrize("side", [8, 11])
def test_a_residual_network(side: int) -> None:
    compare(ResNet8(3, 5), (side, side, 3), 5, Options(weight_decay=True))


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (nn.BatchNorm2d(4), "running_mean is no weight"),
        (nn.GELU(), r"no rule for aten\.gelu\.default"),
        (nn.Conv2d(4, 4, 3, padding=1, groups=2), "dilation, groups"),
        (nn.MaxPool2d(3, 2), "windows overlap"),
    ],
)
def test_what_cannot_be_exported_is_named(layer: nn.Module, says: str) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), layer, nn.Flatten(), nn.LazyLinear(3))
    module(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ConfigError, match=says):
        export_module(module, (8, 8, 1), "step", Options())


def given_for(exported: Exported, seed: int, **more: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    own = {t.name: rng.normal(0, 0.2, t.shape) for t in exported.graph.inputs if all(d > 0 for d in t.shape)}
    return own | {name: np.array(value) for name, value in HYPER.items()} | more


def part_of(part: Part) -> Exported:
    torch.manual_seed(0)
    return export_module(networks.build("tiny", (6, 6, 1), 3), (6, 6, 1), part, Options(weight_decay=True))


def images_of(n: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (n, 6, 6, 1), dtype=np.uint8)


def test_images_with_label_minus_one_count_for_nothing() -> None:
    step, labels = part_of("step"), np.array([2, 0, -1, -1])
    short = run(step.graph, given_for(step, 1, images=images_of(4)[:2], labels=labels[:2]))
    filled = run(step.graph, given_for(step, 1, images=images_of(4), labels=labels))
    assert short.keys() == filled.keys()
    for name, own in short.items():
        np.testing.assert_allclose(filled[name], own, rtol=1e-12)


def test_a_batch_in_parts_is_the_step_of_the_whole() -> None:
    step, gradient, apply = map(part_of, ("step", "gradient", "apply"))
    images, labels = images_of(5), np.array([0, 2, 1, 1, 0])
    given = given_for(step, 2)
    whole = run(step.graph, given | {"images": images, "labels": labels})
    sums = {f"s.{name}": np.zeros_like(given[f"p.{name}"]) for name in step.orders}
    loss = 0.0
    for part in (slice(0, 2), slice(2, 4), slice(4, 5)):
        now = {"images": images[part], "labels": labels[part], "samples": np.array(5.0)}
        found = run(gradient.graph, given | sums | now)
        sums = {name: found[f"next.{name}"] for name in sums}
        loss += float(found["loss"])
    after = run(apply.graph, given | sums)
    assert loss == pytest.approx(float(whole["loss"]), rel=1e-12)
    for name, own in after.items():
        np.testing.assert_allclose(own, whole[name], rtol=1e-9, atol=1e-12)


def test_evaluation_gives_the_networks_logits() -> None:
    torch.manual_seed(0)
    module = networks.build("vgg9", (12, 12, 3), 4)
    exported = export_module(module, (12, 12, 3), "evaluate", Options())
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    weights = {f"p.{n}": in_graph(p.detach().numpy(), exported.orders[n]) for n, p in module.named_parameters()}
    found = run(exported.graph, weights | {"images": images})["logits"]
    with torch.no_grad():
        wanted = module.double()(torch.from_numpy(networks.normalise(images)).double()).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
