"""Weights as bytes and back."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import safetensors.numpy

from edge_client.protocol import weights
from edge_client.protocol.errors import ProtocolError

W = {"b": np.array([1.5, -2.0], np.float32), "a": np.arange(6, dtype=np.float32).reshape(2, 3)}


def test_weights_come_back_in_order_of_names() -> None:
    back = weights.unpack(weights.pack(W))
    assert list(back) == ["a", "b"]
    for name, array in W.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == np.float32


def test_equal_weights_give_equal_bytes() -> None:
    swapped = dict(reversed(list(W.items())))
    assert weights.pack(W) == weights.pack(swapped)
    strided = {"a": np.asfortranarray(W["a"]), "b": W["b"].astype(np.float64)}
    assert weights.pack(strided) == weights.pack(W)
    assert weights.digest(b"fimi") == hashlib.sha256(b"fimi").hexdigest()


def test_half_precision_takes_half_the_bytes() -> None:
    large = {"w": np.linspace(-1, 1, 1000, dtype=np.float32)}
    full, half = weights.pack(large), weights.pack(large, "float16")
    assert len(full) - len(half) == 2000
    back = weights.unpack(half)["w"]
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, large["w"], rtol=2**-11, atol=1e-7)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_values_that_are_not_finite_do_not_travel(bad: float) -> None:
    with pytest.raises(ProtocolError, match="'w' holds values that are not finite in float32"):
        weights.pack({"w": np.array([bad], np.float32)})
    with pytest.raises(ProtocolError, match="not finite"):
        weights.unpack(safetensors.numpy.save({"w": np.array([bad], np.float32)}))


def test_what_overflows_in_half_precision_is_refused() -> None:
    assert weights.unpack(weights.pack({"w": np.array([65504.0])}, "float16"))["w"][0] == 65504
    with pytest.raises(ProtocolError, match="not finite in float16"):
        weights.pack({"w": np.array([70000.0])}, "float16")


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ProtocolError, match="no safetensors weights"):
        weights.unpack(b"not safetensors at all")
    with pytest.raises(ProtocolError, match="no safetensors weights"):
        weights.unpack(weights.pack(W)[:-1])
    with pytest.raises(ProtocolError, match="'w' is int64, not float32 or float16"):
        weights.unpack(safetensors.numpy.save({"w": np.array([1])}))


def test_names_and_shapes_must_be_the_networks() -> None:
    weights.check_like(W, W)
    with pytest.raises(ProtocolError, match="do not fit the network: b, c on one side only"):
        weights.check_like({"a": W["a"], "c": W["b"]}, W)
    with pytest.raises(ProtocolError, match=r"'b' has shape \(3,\), the network wants \(2,\)"):
        weights.check_like({"a": W["a"], "b": np.zeros(3)}, W)


def test_the_change_is_new_minus_old() -> None:
    new = {"b": np.array([2.0, 0.0], np.float32), "a": W["a"] + 1}
    change = weights.change(new, W)
    assert list(change) == ["a", "b"]
    np.testing.assert_array_equal(change["b"], [0.5, 2.0])
    np.testing.assert_array_equal(change["a"], np.ones((2, 3)))
    with pytest.raises(ProtocolError):
        weights.change({}, W)
