"""Pictures read pixel by pixel: scikit-learn's digits, and MNIST or its like through `datasets`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from rnnzoo.data.examples import Examples
from rnnzoo.data.sources import load_splits, reason
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset as Rows

HUB = "ylecun/mnist"
Pictures = tuple[np.ndarray, np.ndarray]  # (N, P) pixels from 0 to 1 as float32 or to 255 as uint8; (N,) classes


class PictureExamples(Dataset[Examples]):
    """Le et al. 2015: the pixels of a picture in `length` equal pieces, row by row from the top; its class at the end.

    Args:
        pictures: pixels and classes.
        places: which of them, in order.
        length: T, steps that the pixels of a picture are shared out over.
        order: which pixel comes when, the same for every picture.
    """

    def __init__(self, pictures: Pictures, places: np.ndarray, length: int, order: np.ndarray) -> None:
        self.pixels, self.classes = pictures
        self.places, self.length, self.order = places, length, order

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, k: int) -> Examples:
        x, y, number = self.__getitems__([k])
        return Examples(x[0], y[0], number[0])

    def __getitems__(self, places: Sequence[int]) -> Examples:
        """A batch, which is what torch's loader asks for where it can."""
        at = self.places[places]
        x = self.pixels[at][:, self.order].astype(np.float32).reshape(len(at), self.length, -1)
        x = x / 255 if self.pixels.dtype == np.uint8 else x
        return Examples(torch.from_numpy(x), torch.from_numpy(self.classes[at, None]), torch.tensor(places))


def digits() -> Pictures:
    """The 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise RnnZooError("the digits come with scikit-learn: pip install 'rnnzoo[demo]'") from error
    pixels, classes = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32), classes.astype(np.int64)


def mnist(dataset: str, cache_dir: str | None) -> dict[str, Pictures]:
    """The pictures of each split of a data set with the columns `image` and `label`.

    Raises:
        RnnZooError: it cannot be had, lacks a column, or holds something else than grey pictures of one size.
    """
    try:
        splits, _ = load_splits(dataset, bundled=HUB, columns=("image", "label"), cache_dir=cache_dir)
    except RnnZooError as error:
        if dataset != HUB:
            raise
        raise RnnZooError(
            f"mnist cannot be fetched from the HuggingFace hub as {HUB!r} ({reason(error)}): without a network, give"
            " dataset= a folder that save_to_disk wrote, or take task='digits'"
        ) from error
    return {name: _read(rows, dataset) for name, rows in splits.items()}


def _read(rows: "Rows", dataset: str) -> Pictures:
    for column in ("image", "label"):
        if column not in rows.features:
            raise RnnZooError(f"dataset={dataset!r} has no column {column!r}: it has {', '.join(rows.features)}")
    try:
        pictures = [_grey(image) for image in rows["image"]]
    except ImportError as error:  # `datasets` decodes by it
        raise RnnZooError(f"the pictures of dataset={dataset!r} need Pillow to be read: pip install pillow") from error
    sizes = {picture.shape for picture in pictures}
    if len(sizes) != 1:
        found = f"must all be of one size, not {', '.join(sorted(map(str, sizes)))}" if sizes else "are none"
        raise RnnZooError(f"the pictures of dataset={dataset!r} {found}")
    pixels, classes = np.stack(pictures), np.asarray(rows["label"])
    if pixels.dtype.kind not in "iu" or pixels.min() < 0 or pixels.max() > 255:
        raise RnnZooError(f"column='image' of {dataset!r} must hold whole numbers from 0 to 255, or pictures")
    if classes.dtype.kind not in "iu" or classes.min() < 0:
        raise RnnZooError(f"column='label' of {dataset!r} must hold whole numbers from 0 on, for the classes")
    return pixels.astype(np.uint8).reshape(len(pixels), -1), classes.astype(np.int64)


def _grey(image: Any) -> np.ndarray:
    return np.asarray(image.convert("L") if hasattr(image, "convert") else image)
