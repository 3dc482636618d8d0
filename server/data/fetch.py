"""Fetching CIFAR-10, which does not ship: downloaded whole, then each of its six files verified and put in place."""

from __future__ import annotations

import http.client
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from server.data import cifar10
from server.errors import DataError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
TIMEOUT_S = 60.0
BLOCK_BYTES = 8 << 20
FILE_BYTES = 10_000 * 3073
"""Of each of the six files; nothing longer is read from an archive."""


@dataclass(frozen=True)
class FetchProgress:
    """What a download reports after each block; `wanted_bytes` None: the server does not say."""

    done_bytes: int
    wanted_bytes: int | None


def fetch_cifar10(
    folder: Path,
    url: str = URL,
    *,
    files_sha1: Mapping[str, str] = cifar10.FILES_SHA1,
    report: Callable[[FetchProgress], None] = lambda _: None,
) -> bool:
    """See that the six files are in `folder` and are the official ones; False where they already were.

    The archive goes again, and what does not verify is never put in place. Raises DataError, one sentence each.
    """
    if all(_is_there(folder / name, sha1) for name, sha1 in files_sha1.items()):
        return False
    archive = folder / ".cifar-10-binary.tar.gz.partial"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        download(url, archive, report)
        left = set(files_sha1)
        for name, raw in _members(archive, url, files_sha1):
            cifar10.put(folder / name, raw, files_sha1[name], f"{name} from {url}")
            left.discard(name)
        if left:
            raise DataError(f"{url} has no {min(left)} in it; give the address of a cifar-10-binary.tar.gz with --url")
    finally:
        archive.unlink(missing_ok=True)
    return True


def download(url: str, path: Path, report: Callable[[FetchProgress], None]) -> None:
    """The whole of what stands at `url` into `path`; raises DataError."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, path.open("wb") as file:
            length = answer.headers.get("Content-Length")
            wanted, done = None if length is None else int(length), 0
            while block := answer.read(BLOCK_BYTES):
                file.write(block)
                done += len(block)
                report(FetchProgress(done, wanted))
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer, too
        why = error.reason if type(error) is urllib.error.URLError else error
        raise DataError(f"{url} cannot be fetched ({why}); try again, or give a mirror with --url") from error
    if wanted is not None and done != wanted:
        raise DataError(f"{url} broke off after {done} of {wanted} bytes; try again, or give a mirror with --url")


def _is_there(path: Path, sha1: str) -> bool:
    return path.is_file() and cifar10.sha1_of(path.read_bytes()) == sha1


def _members(archive: Path, url: str, names: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files wanted: by their exact place in the archive, so that no other path is ever used."""
    wanted = {f"cifar-10-batches-bin/{name}": name for name in names}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.name in wanted and member.isreg() else None
                if file is not None:
                    yield wanted[member.name], file.read(FILE_BYTES + 1)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{url} is no whole .tar.gz ({error}); try again, or give a mirror with --url") from error
