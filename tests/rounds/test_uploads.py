"""One device's update as the round takes it in: how it may be cut, how large it may be, what may stand in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_client.protocol.chunks import blob_ref, cut, n_chunks
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import AnyMessage, BlobProgress, BlobRef, UpdateAck
from edge_client.protocol.weights import Weights, pack
from server.rounds.round_run import RoundJob, RoundRun
from tests.rounds.fake_device import update_of
from tests.rounds.test_live import task_of

WEIGHTS = {"w": np.zeros(6000, np.float32)}
MODEL = pack(WEIGHTS)
CHUNK = 4096
MOST = 2 * len(MODEL)


class Round:
    """A round of one device "a", and what was said to it."""

    def __init__(self, chunk_bytes: int = CHUNK) -> None:
        self.said: list[AnyMessage] = []
        self.task = task_of(1, blob_ref(MODEL, chunk_bytes), None, 4)
        self.task = type(self.task)(**{**fields(self.task), "chunk_bytes": chunk_bytes})
        job = RoundJob(
            run="r", round=1, tasks={"a": self.task}, weights=WEIGHTS, model=MODEL, shards={}, quorum=1, deadline_s=9.0
        )
        self.run = RoundRun(job, lambda device, message: self.said.append(message), lambda kind, **_: None)

    def upload(self, blob: bytes, chunk_bytes: int) -> None:
        """All chunks, then the update."""
        ref = blob_ref(blob, chunk_bytes)
        for index in range(n_chunks(ref)):
            self.run.heard_chunk("a", cut(blob, ref, index))
        self.run.heard_update(update_of(self.task, "a", ref))

    @property
    def ack(self) -> UpdateAck:
        (ack,) = (message for message in self.said if isinstance(message, UpdateAck))
        return ack


def fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def change(value: float = 1.0) -> Weights:
    return {"w": np.full(6000, value, np.float32)}


@pytest.mark.parametrize("chunk_bytes", [1024, 3584, 4096])
def test_a_device_may_cut_smaller_chunks_than_its_task_says(chunk_bytes: int) -> None:
    one = Round()
    one.upload(pack(change(), "float16"), chunk_bytes)
    assert one.ack.status == "accepted"
    assert one.run.mean.moved(WEIGHTS)["w"][0] == 1.0


def test_the_same_update_cut_anew_starts_over() -> None:
    one, blob = Round(), pack(change(), "float16")
    ref = blob_ref(blob, 4096)
    one.run.heard_chunk("a", cut(blob, ref, 0))
    one.upload(blob, 2048)
    assert one.ack.status == "accepted"


@pytest.mark.parametrize(
    ("size_bytes", "chunk_bytes", "reason"),
    [
        (1 << 50, CHUNK, f"an update of {1 << 50} bytes is larger than {MOST}, twice the model"),
        (MOST + 1, CHUNK, f"an update of {MOST + 1} bytes is larger than {MOST}, twice the model"),
        (MOST, 1, "chunks of 1 bytes are smaller than 1024"),
        (MOST, 1023, "chunks of 1023 bytes are smaller than 1024"),
    ],
)
def test_an_update_that_cannot_be_is_rejected_before_any_of_it_is_kept(
    size_bytes: int, chunk_bytes: int, reason: str
) -> None:
    one = Round()
    ref = BlobRef(digest="0" * 64, size_bytes=size_bytes, chunk_bytes=chunk_bytes)
    one.run.heard_update(update_of(one.task, "a", ref))
    assert (one.ack.status, one.ack.reason) == ("rejected", reason)
    assert (one.run._incoming._assemblers, one.run._incoming._announced) == ({}, {})
    assert one.run.state.phase == "closing"  # a quorum of one is out of reach


def test_what_was_collected_goes_with_the_update_that_is_rejected() -> None:
    one, blob = Round(), pack(change(), "float16")
    one.run.heard_chunk("a", cut(blob, blob_ref(blob, CHUNK), 0))
    ref = BlobRef(digest="0" * 64, size_bytes=MOST + 1, chunk_bytes=CHUNK)
    one.run.heard_update(update_of(one.task, "a", ref))
    assert one.run._incoming._assemblers == {}
    one.said.clear()
    one.run.heard_chunk("a", cut(blob, blob_ref(blob, CHUNK), 1))  # and nothing more is taken
    assert [type(message) for message in one.said] == [BlobProgress]
    assert one.run._incoming._assemblers == {}


def test_the_largest_that_may_be_is_waited_for() -> None:
    one = Round()
    one.run.heard_update(update_of(one.task, "a", BlobRef(digest="0" * 64, size_bytes=MOST, chunk_bytes=1024)))
    assert isinstance(one.said[0], BlobProgress)
    assert one.run.state.phase == "open"


def test_chunks_without_an_update_are_bounded_too() -> None:
    one, huge = Round(), bytes(MOST + CHUNK)
    with pytest.raises(ProtocolError, match=f"chunks of 4096 bytes is larger than {MOST}"):
        one.run.heard_chunk("a", cut(huge, blob_ref(huge, CHUNK), 0))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "weight 'w' holds values that are not finite in float32"),
        (float("inf"), "weight 'w' holds values that are not finite in float32"),
        (-1e6, "the change of 'w' goes beyond 65504, the largest number of an update"),
    ],
)
def test_weights_that_would_spoil_the_model_are_rejected(value: float, reason: str) -> None:
    import safetensors.numpy

    one = Round()
    moved = change()
    moved["w"][17] = value
    one.upload(safetensors.numpy.save(moved), CHUNK)
    assert (one.ack.status, one.ack.reason) == ("rejected", reason)
    assert one.run.mean.updates == 0
