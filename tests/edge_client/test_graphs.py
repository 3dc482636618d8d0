"""Graphs on their way to a device, and on its disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from edge_client.agent.collect import Collector
from edge_client.agent.graphs import KEPT, Graphs
from edge_client.errors import StorageError, TrainingError
from edge_client.protocol import graphs
from edge_client.protocol.chunks import blob_ref, cut, n_chunks
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.graphs import Bundle
from edge_client.protocol.messages import BlobProgress, BlobRef, GraphOffer, NetworkSpec
from server.export.bundle import make_bundle
from server.export.step import Options

NET = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=3)
OPTIONS = Options(clip=True, weight_decay=True)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle(NET, "numpy", OPTIONS)


def offer(blob: bytes, runtime: str = "numpy") -> GraphOffer:
    return GraphOffer(runtime=runtime, graphs=blob_ref(blob, 512))  # type: ignore[arg-type]


class Line:
    """A server at hand: answers what a collector asks for."""

    def __init__(self, folder: Path, *blobs: bytes) -> None:
        self.blobs = {graphs.digest(blob): blob for blob in blobs}
        self.asked: list[str] = []
        self.collector = Collector("d", folder, self.hear, lambda _: None)
        self.graphs = Graphs(folder / "graphs", self.collector)

    def hear(self, progress: BlobProgress) -> None:
        blob = self.blobs.get(progress.digest)
        if blob is None or progress.complete:
            return
        self.asked.append(progress.digest)
        ref = blob_ref(blob, 512)
        for index in range(n_chunks(ref)):
            asyncio.get_running_loop().call_soon(self.answer, ref, index)

    def answer(self, ref: BlobRef, index: int) -> None:
        self.collector.add(cut(self.blobs[ref.digest], ref, index), 0.0, addressed=True)


async def test_graphs_are_fetched_once(tmp_path: Path, bundle: Bundle) -> None:
    blob = graphs.pack(bundle)
    line = Line(tmp_path, blob)
    path = await line.graphs.file("numpy", "tiny", [offer(b"other", "onnx"), offer(blob)])
    assert path == tmp_path / "graphs" / f"{graphs.digest(blob)}.fimi"
    assert graphs.unpack(path.read_bytes()) == bundle
    again = Line(tmp_path)  # a client that was started again, and nobody answers
    assert await again.graphs.file("numpy", "tiny", [offer(blob)]) == path
    path.write_bytes(b"torn")  # the card lost it: asked for again
    assert await line.graphs.file("numpy", "tiny", [offer(blob)]) == path
    assert len(line.asked) == 2
    assert path.read_bytes() == blob


async def test_runtimes_that_need_none_ask_for_none(tmp_path: Path) -> None:
    line = Line(tmp_path)
    assert await line.graphs.file("torch", "vgg9", []) is None
    assert await line.graphs.file("numpy", "softmax", []) is None


async def test_what_cannot_be_had_is_said(tmp_path: Path, bundle: Bundle) -> None:
    junk = b"no bundle at all" * 100
    line = Line(tmp_path, junk)
    with pytest.raises(TrainingError, match="the server offers no graphs of tiny for runtime onnx; its log says why"):
        await line.graphs.file("onnx", "tiny", [offer(b"x")])
    with pytest.raises(ProtocolError, match="these bytes are no bundle of graphs"):
        await line.graphs.file("numpy", "tiny", [offer(junk)])
    assert not list((tmp_path / "graphs").glob("*"))
    huge = msgspec.structs.replace(offer(junk), graphs=msgspec.structs.replace(offer(junk).graphs, size_bytes=1 << 40))
    with pytest.raises(TrainingError, match="are offered, at most 16777216 are taken"):
        await line.graphs.file("numpy", "tiny", [huge])
    (tmp_path / "graphs").rmdir() if (tmp_path / "graphs").exists() else None
    (tmp_path / "graphs").write_text("a file where the folder should be")
    blob = graphs.pack(bundle)
    with pytest.raises(StorageError, match="graphs"):
        await Line(tmp_path, blob).graphs.file("numpy", "tiny", [offer(blob)])


async def test_the_oldest_go(tmp_path: Path, bundle: Bundle) -> None:
    blobs = [graphs.pack(msgspec.structs.replace(bundle, terms=(str(k),))) for k in range(KEPT + 2)]
    line = Line(tmp_path, *blobs)
    for number, blob in enumerate(blobs):
        path = await line.graphs.file("numpy", "tiny", [offer(blob)])
        assert path is not None
        os.utime(path, (number, number))
    assert {path.stem for path in (tmp_path / "graphs").iterdir()} == {graphs.digest(blob) for blob in blobs[2:]}


def test_a_bundle_that_is_none_is_refused(bundle: Bundle) -> None:
    blob = graphs.pack(bundle)
    for bad, said in (
        (blob[:-5], "cut short"),
        (b"", "cut short"),
        (blob[:20] + b"\0\0\0\0" + blob[24:], "no bundle of graphs|cut short"),
        (
            graphs.pack(msgspec.structs.replace(bundle, format=9)),
            "of format 9, this client reads 1: bring it up to date",
        ),
    ):
        with pytest.raises(ProtocolError, match=said):
            graphs.unpack(bad)
