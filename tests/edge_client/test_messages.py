"""Every message survives the wire; the published document says what the code says."""

from __future__ import annotations

import contextlib
import json
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_client.protocol import asyncapi, messages
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import AnyMessage, decode, encode
from edge_client.protocol.topics import Topics

KINDS = typing.get_args(AnyMessage)

_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
_digests = st.text("0123456789abcdef", min_size=64, max_size=64)


def values(type_: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, as msgspec describes it."""
    info = msgspec.inspect
    if isinstance(type_, info.Metadata):
        return values(type_.type)
    if isinstance(type_, info.UnionType):
        return st.one_of([values(part) for part in type_.types])
    if isinstance(type_, info.StructType):
        return structs(type_.cls)
    if isinstance(type_, info.VarTupleType):
        least = type_.min_length or 0
        return st.lists(values(type_.item_type), min_size=least, max_size=least + 3).map(tuple)
    if isinstance(type_, info.TupleType):
        return st.tuples(*(values(part) for part in type_.item_types))
    if isinstance(type_, info.LiteralType):
        return st.sampled_from(list(type_.values))
    if isinstance(type_, info.IntType):
        return st.integers(type_.ge or 0, 1 << 40)
    if isinstance(type_, info.FloatType):
        least = type_.ge if type_.ge is not None else 1e-9 if type_.gt is not None else -1e9
        return st.floats(least, type_.le if type_.le is not None else 1e12, allow_nan=False)
    if isinstance(type_, info.StrType):
        return _digests if type_.pattern and "64" in type_.pattern and "a-f" in type_.pattern else _names
    simple = {info.NoneType: st.none(), info.BoolType: st.booleans(), info.BytesType: st.binary(max_size=64)}
    return simple[type(type_)]


def structs(kind: Any) -> st.SearchStrategy[Any]:
    described = msgspec.inspect.type_info(kind)
    assert isinstance(described, msgspec.inspect.StructType)
    return st.fixed_dictionaries({field.name: values(field.type) for field in described.fields}).map(
        lambda fields: kind(**fields)
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of([structs(kind) for kind in KINDS]))
def test_every_message_comes_back_as_it_was(message: AnyMessage) -> None:
    assert decode(encode(message)) == message


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(payload: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode(payload)


def test_an_unknown_field_or_version_is_refused() -> None:
    good = {"type": "Bye/1", "run": "r", "reason": ""}
    assert decode(msgspec.msgpack.encode(good)) == messages.Bye(run="r", reason="")
    for bad in ({**good, "more": 1}, {**good, "type": "Bye/2"}, {**good, "type": "Hi/1"}):
        with pytest.raises(ProtocolError, match="protocol version 1"):
            decode(msgspec.msgpack.encode(bad))


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused_by_its_name(odd: float) -> None:
    beat = messages.Heartbeat(device="d", state="", round=None, samples_done=0, power_w=None, freq_hz=odd)
    with pytest.raises(ProtocolError, match=f"Heartbeat.freq_hz is {odd}; every number in a message must be finite"):
        decode(encode(beat))
    able = messages.Capabilities(
        board="b", opps_hz=(1e9, odd), meter="m", meter_source="measured", boundary=None, tx_power="unsupported",
        runtimes=(), cores=1,
    )  # fmt: skip
    join = messages.Join(
        device="d", run="r", label_counts=(1,), storage_samples=0, capabilities=able, client_version=""
    )
    with pytest.raises(ProtocolError, match=rf"Join\.capabilities\.opps_hz\[1\] is {odd}"):
        decode(encode(join))


def test_the_document_is_up_to_date() -> None:
    assert asyncapi.PATH.read_text(encoding="utf-8") == asyncapi.render(), (
        "run: python -m edge_client.protocol.asyncapi"
    )


def test_the_document_knows_every_message_and_topic() -> None:
    document = json.loads(asyncapi.render())
    assert set(document["components"]["messages"]) == {kind.__name__ for kind in KINDS} | {"online"}
    addresses = {channel["address"] for channel in document["channels"].values()}
    topics = Topics("F")
    of_code = (topics.hello, topics.model, topics.to_server("D"), topics.to_device("D"), topics.online("D"))
    assert addresses == {topic.replace("/F/", "/{fleet}/").replace("/D", "/{device}") for topic in of_code}
    text = json.dumps(document)
    for kind in KINDS:
        assert f'"{kind.__name__}/1"' in text


def test_references_in_the_document_lead_somewhere() -> None:
    document = json.loads(asyncapi.render())

    def check(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                target: Any = document
                for part in node["$ref"].removeprefix("#/").split("/"):
                    target = target[part]
            for inner in node.values():
                check(inner)
        elif isinstance(node, list):
            for inner in node:
                check(inner)

    check(document)


def test_a_topic_gives_its_device_back() -> None:
    topics = Topics("fleet.1")
    assert topics.device_of(topics.to_server("a-b")) == "a-b"
    assert topics.device_of(topics.online("a-b")) == "a-b"
    for topic in (topics.to_device("a"), topics.hello, "fimi/1/other/server/inbox/a"):
        with pytest.raises(ProtocolError, match="names no device"):
            topics.device_of(topic)
    for name in ("", "a/b", "+", "-x", "x" * 65):
        with pytest.raises(ProtocolError, match="1 to 64"):
            Topics(name)
