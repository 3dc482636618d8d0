"""How small synthetic samples become on the wire, and how long a board decodes them: `python -m tools.bench_shards`.

Samples come from pools (folders with a pool.json; shipped: Fashion-MNIST) or .npz files with `x` (N, H, W, C) uint8. Of
each, N samples are packed in one part, as a device gets them that has none, and in one of 20, as a revised plan brings
them. Seconds are the least of three, of one process; megabytes are what decoding takes at its peak beside the images
themselves, by tracemalloc (numpy's arrays and bytes; LZMA's own dictionary of 1 MiB comes on top).
"""

from __future__ import annotations

import argparse
import io
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.numpy
from PIL import Image

from edge_client.protocol.shards import pack_shard, unpack_shard
from server.data.tiles import tile, untile
from server.endings import exit_code
from server.errors import DataError
from server.synth.pool import load_pool

SHIPPED = Path(__file__).parents[1] / "server" / "assets" / "fashion-mnist" / "pool"
COLUMNS, FEW = 50, 20

Pack = Callable[[np.ndarray], bytes]
Unpack = Callable[[bytes, tuple[int, ...]], np.ndarray]


def deflated(images: np.ndarray) -> bytes:
    """Safetensors, deflated: how shards were sent before."""
    return zlib.compress(safetensors.numpy.save({"x": np.ascontiguousarray(images)}), level=6)


def inflated(blob: bytes, _: tuple[int, ...]) -> np.ndarray:
    return safetensors.numpy.load(zlib.decompress(blob))["x"]


def mosaic(images: np.ndarray, **how: object) -> bytes:
    """One picture with all images in it, by Pillow."""
    grid, out = tile(images, COLUMNS), io.BytesIO()
    Image.fromarray(grid[..., 0] if grid.shape[2] == 1 else grid).save(out, **how)  # type: ignore[arg-type]
    return out.getvalue()


def cut_up(blob: bytes, shape: tuple[int, ...]) -> np.ndarray:
    with Image.open(io.BytesIO(blob)) as picture:
        grid = np.asarray(picture.convert("L" if shape[3] == 1 else "RGB"))
    return untile(grid.reshape(*grid.shape[:2], shape[3]), shape[0], (shape[1], shape[2], shape[3]))


def ours(images: np.ndarray) -> bytes:
    return pack_shard(images, np.zeros(len(images), np.int64))


WAYS: dict[str, tuple[Pack, Unpack]] = {
    "deflate": (deflated, inflated),
    "PNG mosaic": (lambda images: mosaic(images, format="PNG", optimize=True), cut_up),
    "lossless WebP mosaic": (
        lambda images: mosaic(images, format="WEBP", lossless=True, quality=100, method=6),
        cut_up,
    ),
    "filters and LZMA (used)": (ours, lambda blob, _: unpack_shard(blob)[0]),
}


def least_s(job: Callable[[], object], times: int = 3) -> float:
    """Seconds of the fastest."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        job()
        found.append(time.perf_counter() - start)
    return min(found)


def row(images: np.ndarray, pack: Pack, unpack: Unpack) -> tuple[float, float, float, float, float]:
    """Bytes a sample in one part and in a small one, seconds to pack and to unpack a thousand, MB at the peak."""
    blob, few = pack(images), pack(images[:: max(1, len(images) // FEW)][:FEW])
    if not np.array_equal(unpack(blob, images.shape), images):
        raise SystemExit("what comes back is not what went in")
    thousands = len(images) / 1000
    packing = least_s(lambda: pack(images), 1) / thousands
    unpacking = least_s(lambda: unpack(blob, images.shape)) / thousands
    tracemalloc.start()
    back = unpack(blob, images.shape)
    peak = tracemalloc.get_traced_memory()[1] - back.nbytes
    tracemalloc.stop()
    return len(blob) / len(images), len(few) / FEW, packing, unpacking, peak / 1e6


def samples_of(path: Path, n: int) -> np.ndarray:
    """Up to n samples, taken evenly."""
    if not path.exists():
        raise DataError(f"{path} does not exist; name a pool's folder or an .npz")
    if path.is_dir():
        images = np.concatenate(load_pool(path).images)
    else:
        with np.load(path, allow_pickle=False) as file:
            images = file["x"]
    return np.ascontiguousarray(images[:: max(1, len(images) // n)][:n])


def main() -> int:
    """Print a table for each source; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="*", type=Path, default=[SHIPPED], help="pools or .npz files")
    parser.add_argument("--samples", type=int, default=1000)
    return exit_code("bench_shards", partial(bench, parser.parse_args()))


def bench(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    for source in arguments.sources:
        images = samples_of(source, arguments.samples)
        print(f"\n{len(images)} samples of {images[0].nbytes} bytes from {source.name}: bytes a sample; s per 1000")
        print(f"{'':24} {'all':>8} {'of raw':>8} {f'of {FEW}':>8} {'pack s':>8} {'unpack s':>9} {'peak MB':>8}")
        for name, (pack, unpack) in WAYS.items():
            whole, few, packing, unpacking, peak_mb = row(images, pack, unpack)
            share = whole / images[0].nbytes
            print(f"{name:24} {whole:8.1f} {share:8.1%} {few:8.1f} {packing:8.2f} {unpacking:9.3f} {peak_mb:8.1f}")


if __name__ == "__main__":
    sys.exit(main())
