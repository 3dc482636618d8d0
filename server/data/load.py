"""From the word in a run file to a data set."""

from __future__ import annotations

from pathlib import Path

from server.data import arrays, cifar10, fashion_mnist, gtsrb, image_folder
from server.data.dataset import Dataset
from server.errors import DataError

KNOWN = (
    "fashion-mnist, fashion-mnist-full[:FOLDER], cifar10[:FOLDER], gtsrb:FOLDER, the path of a folder of class "
    "sub-folders, or the path of an .npz"
)
CIFAR10_FOLDER = Path("data/cifar10")


def load_dataset(source: str, *, image_size: int | None = None, seed: int = 0, base: Path = Path()) -> Dataset:
    """`source` is one of KNOWN; a path is relative to `base`. `image_size` and `seed` serve folders of images.

    `seed` cuts off a test set where the source has none. Raises DataError, one sentence each.
    """
    if image_size is not None and not 8 <= image_size <= 1024:
        raise DataError(f"image_size is {image_size}; it must lie between 8 and 1024 pixels")
    name, _, rest = source.partition(":")
    folder = base / Path(rest).expanduser() if rest else None
    if image_size is not None and name in ("fashion-mnist", "fashion-mnist-full", "cifar10"):
        raise DataError(f"image_size serves folders of images; {name} has its own size")
    if source == "fashion-mnist":
        return fashion_mnist.load_embedded()
    if name == "fashion-mnist-full":
        return fashion_mnist.load_full(folder or fashion_mnist.DEBIAN)
    if name == "cifar10":
        return cifar10.load(folder or base / CIFAR10_FOLDER)
    if name == "gtsrb":
        if folder is None:
            raise DataError('gtsrb needs its folder: write "gtsrb:FOLDER"')
        return gtsrb.load(folder, image_size=image_size, seed=seed)
    path = base / Path(source).expanduser()
    if path.is_dir():
        return image_folder.load(path, image_size=image_size, seed=seed)
    if path.suffix == ".npz" and path.is_file():
        if image_size is not None:
            raise DataError(f"image_size serves folders of images; {path} holds arrays of their own size")
        return arrays.load(path)
    raise DataError(f"no data set {source!r}; known: {KNOWN}")
