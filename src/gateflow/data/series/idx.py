"""Images in the form IDX, as MNIST comes: each becomes a series, of rows or of single pixels.

Le, Jaitly and Hinton 2015, "A simple way to initialize recurrent networks of rectified linear units", made the 784
pixels one after the other, also in one random order for all images, a test of memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gateflow.data.series.series import Series
from gateflow.data.source import chunks, require, spoken
from gateflow.errors import DataError

__all__ = ["Order", "labels_beside", "read_idx"]

Order = Literal["rows", "pixels", "permuted"]
"""What a step is: a row of an image; a pixel, from the first row to the last; the same in one random order."""

IDX = b"\x00\x00\x08"
"""What a file begins with: two zeros, then the type, unsigned bytes; the number of dimensions follows."""

# Type 08, unsigned bytes, of three dimensions and of one.
_IMAGES, _LABELS = 0x0803, 0x0801
# Ten times the largest set in this form (EMNIST, 814,255 images of 784 bytes) is still refused before it fills memory.
_MOST = 1 << 33


def read_idx(images: Path, labels: Path | None = None, order: Order = "rows", seed: int = 0) -> Iterator[Series]:
    """Yield the images as series with values from 0 to 1.

    Args:
        images: a file of three dimensions, plain or gzip.
        labels: as many numbers. Left out: the file beside it that is named alike (``train-labels-idx1-ubyte.gz``), if
            there is one.
        order: what a step is.
        seed: decides the random order, which is the same for all images and all files.

    Raises:
        DataError: a file is none of these, or is cut short; there are not as many labels as images.
    """
    labels = labels or labels_beside(images)
    pixels = _array(images, _IMAGES)
    classes = None if labels is None else _array(labels, _LABELS)
    if classes is not None and len(classes) != len(pixels):
        raise DataError(f"{labels} has {len(classes):,} labels, and {images} has {len(pixels):,} images.")
    steps = pixels if order == "rows" else pixels.reshape(len(pixels), -1, 1)
    if order == "permuted":
        # Seeded by itself, so that validation, test and new images have the order of the training.
        steps = steps[:, np.random.default_rng(seed).permutation(steps.shape[1])]
    for i, image in enumerate(steps):
        yield Series(
            image.astype(np.float32) / np.float32(255), f"image {i + 1}", None if classes is None else str(classes[i])
        )


def labels_beside(images: Path) -> Path | None:
    """The file of the labels of MNIST's files, and of all that are named as they are.

    Example:
        >>> labels_beside(Path("nowhere/train-images-idx3-ubyte")) is None
        True
    """
    beside = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
    return beside if beside != images and beside.is_file() else None


def _array(path: Path, magic: int) -> NDArray[np.uint8]:
    require(path)
    what = "images (magic number 2051)" if magic == _IMAGES else "labels (magic number 2049)"
    content = bytearray()
    for chunk in chunks(path):
        content += chunk
        if len(content) >= 4 and struct.unpack_from(">i", content)[0] != magic:
            raise DataError(f"{spoken(path)} does not begin as an IDX file of {what} does. Is it another file?")
        if len(content) > _MOST:
            raise DataError(f"{spoken(path)} holds more than {_MOST >> 30} GiB. Cut it into several files.")
    dimensions = magic & 0xFF
    begin = 4 * (1 + dimensions)
    shape = struct.unpack_from(f">{dimensions}i", content, 4) if len(content) >= begin else ()
    if not shape or min(shape) < 1 or int(np.prod(shape, dtype=object)) != len(content) - begin:
        raise DataError(
            f"{spoken(path)} is damaged: its header tells of {' × '.join(map(str, shape)) or 'no'} bytes, and "
            f"{max(0, len(content) - begin):,} follow. Copy it again."
        )
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)
