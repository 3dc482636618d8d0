"""Fetching CIFAR-10: a made-up archive of six small files, from a folder and from a web server."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from server import cli
from server.data import fetch
from server.data.cifar10 import FILES_SHA1
from server.data.fetch import FetchProgress, fetch_cifar10
from server.errors import DataError

CONTENT = {name: f"{name}'s records".encode() for name in FILES_SHA1}
SHA1 = {name: hashlib.sha1(raw).hexdigest() for name, raw in CONTENT.items()}


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, raw in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return buffer.getvalue()


def official() -> dict[str, bytes]:
    return {f"cifar-10-batches-bin/{name}": raw for name, raw in CONTENT.items()}


def put(folder: Path, raw: bytes) -> str:
    (folder / "cifar.tar.gz").write_bytes(raw)
    return (folder / "cifar.tar.gz").as_uri()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_six_files_and_nothing_else_are_put_in_place(tmp_path: Path) -> None:
    more = {
        "cifar-10-batches-bin/readme.html": b"no data",
        "../test_batch.bin": b"out of the folder",
        "/cifar-10-batches-bin/test_batch.bin": b"from the root",
        "cifar-10-batches-bin/../../test_batch.bin": b"out of the folder",
    }
    url = put(tmp_path, archive(more | official()))
    seen: list[FetchProgress] = []
    folder = tmp_path / "data" / "cifar10"
    assert fetch_cifar10(folder, url, files_sha1=SHA1, report=seen.append)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    assert names(tmp_path) == ["cifar.tar.gz", "data"]
    size = (tmp_path / "cifar.tar.gz").stat().st_size
    assert seen == [FetchProgress(size, size)]
    assert not fetch_cifar10(folder, "file:///nowhere", files_sha1=SHA1)  # nothing is asked for twice
    (folder / "test_batch.bin").write_bytes(b"spoilt")
    assert fetch_cifar10(folder, url, files_sha1=SHA1)
    assert (folder / "test_batch.bin").read_bytes() == CONTENT["test_batch.bin"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DataError, match="has no data_batch_1.bin in it"):
        fetch_cifar10(tmp_path / "d", put(tmp_path, buffer.getvalue()), files_sha1=SHA1)
    assert names(tmp_path / "d") == []


def test_what_does_not_verify_is_one_sentence_and_does_not_stay(tmp_path: Path) -> None:
    spoilt = official() | {"cifar-10-batches-bin/data_batch_1.bin": b"another"}
    url = put(tmp_path, archive(spoilt))
    found = hashlib.sha1(b"another").hexdigest()
    with pytest.raises(DataError) as refused:
        fetch_cifar10(tmp_path / "d", url, files_sha1=SHA1)
    assert str(refused.value) == (
        f"data_batch_1.bin from {url} has the SHA-1 {found}, the official one is {SHA1['data_batch_1.bin']}: "
        "fetch it again"
    )
    assert names(tmp_path / "d") == []


def test_a_longer_file_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "FILE_BYTES", 3)
    with pytest.raises(DataError, match="data_batch_1.bin from .* has the SHA-1 " + hashlib.sha1(b"data").hexdigest()):
        fetch_cifar10(tmp_path / "d", put(tmp_path, archive(official())), files_sha1=SHA1)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"no archive", "is no whole .tar.gz"),
        (archive(official())[:60], "is no whole .tar.gz"),
        (archive({"else": b""}), "has no data_batch_1.bin in it; give the address of a cifar-10-binary.tar.gz"),
    ],
)
def test_what_is_no_such_archive(tmp_path: Path, raw: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        fetch_cifar10(tmp_path / "d", put(tmp_path, raw), files_sha1=SHA1)
    assert names(tmp_path / "d") == []


class Handler(BaseHTTPRequestHandler):
    """/whole: the archive; /short: less of it than was promised; anything else is not there."""

    def do_GET(self) -> None:
        raw = archive(official())
        if self.path not in ("/whole", "/short"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw if self.path == "/whole" else raw[:100])

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_command_fetches_from_a_mirror(
    tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(fetch.fetch_cifar10.__kwdefaults__, "files_sha1", SHA1)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["fetch", "cifar10", "--url", f"{site}/whole"]) == 0
    assert names(tmp_path / "data" / "cifar10") == sorted(CONTENT)
    assert capsys.readouterr().out == "0 of 0 MB\ndata/cifar10: the official files, verified\n"
    assert cli.main(["fetch", "cifar10", "--url", f"{site}/whole"]) == 0
    assert capsys.readouterr().out == "data/cifar10: the official files, verified; they were there already\n"


def test_what_cannot_be_fetched_is_one_sentence(tmp_path: Path, site: str, capsys: pytest.CaptureFixture[str]) -> None:
    again = "; try again, or give a mirror with --url\n"
    for url, why in {
        f"{site}/none": " cannot be fetched (HTTP Error 404: Not Found)",
        f"{site}/short": f" broke off after 100 of {len(archive(official()))} bytes",
        "http://127.0.0.1:1/x": " cannot be fetched ([Errno 111] Connection refused)",
        "cifar.tar.gz": " cannot be fetched (unknown url type: 'cifar.tar.gz')",
    }.items():
        assert cli.main(["fetch", "cifar10", "--out", str(tmp_path / "d"), "--url", url]) == 4
        assert capsys.readouterr().err == f"fimi-server: {url}{why}{again}"
    assert names(tmp_path / "d") == []
