"""Grey values out of a picture's file, whatever its mode: Pillow reads it, and nothing in it is believed."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateflow.errors import ConfigError, DataError

__all__ = ["IMAGES", "read_grey"]

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".jp2"})
"""How files with pictures are called."""

# A line scanned at 1,200 dots per inch has some 10 million pixels; a file of a few bytes may claim a thousand times so.
_MOST_PIXELS = 1 << 26
# Pillow's modes with 16 bits or more a pixel, or with floating-point numbers.
_DEEP = ("I", "F")
_WHITE = 255


def read_grey(path: Path) -> NDArray[np.float32]:
    """The grey values of a picture, ``[height, width]``, from 0, black, to 255, white.

    What is transparent is white, as paper is; of colours the lightness is taken (ITU-R 601), and a picture is turned
    as its EXIF says. 16 bits are divided by 257; of floating-point numbers 1 is white, or 255 if one is larger than 1.

    Args:
        path: PNG, JPEG, TIFF or another format of Pillow's; one with several pictures is refused.

    Raises:
        ConfigError: Pillow is not installed.
        DataError: the file is missing, is no picture, is damaged, too large, or holds several or NaN.
    """
    image, errors = _library()
    if not path.is_file():  # a pipe would be waited at for ever
        raise DataError(f"{path} does not exist, or is no file. Give the path of a picture.")
    try:
        with warnings.catch_warnings():
            # Its size is looked at below; what else Pillow warns of is damage.
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", image.DecompressionBombWarning)
            # Of old formats and modes that it will read no more; they are read today.
            warnings.simplefilter("ignore", DeprecationWarning)
            # By an open file: of a name Pillow maps what is not compressed into memory, and scrambles the rows of one
            # that lies on its side.
            with path.open("rb") as file, image.open(file) as found:
                return _grey(found, path, image)
    except DataError:
        raise
    except image.UnidentifiedImageError:
        raise DataError(
            f"{path} cannot be read as a picture: Pillow knows no such. Give a PNG, JPEG or TIFF file."
        ) from None
    except errors as error:
        told = " ".join(str(error).replace(str(path), "it").split()) or type(error).__name__
        raise DataError(f"{path} cannot be read as a picture: {told:.120}. Give a PNG, JPEG or TIFF file.") from None


def _grey(found: Any, path: Path, image: ModuleType) -> NDArray[np.float32]:
    from PIL import ImageOps

    width, height = found.size
    if width * height > _MOST_PIXELS:
        raise DataError(
            f"{path} has {width:,} × {height:,} pixels, and {_MOST_PIXELS:,} at most are read. Cut lines out of it, or "
            "scale it down."
        )
    if getattr(found, "n_frames", 1) > 1:
        raise DataError(f"{path} holds {found.n_frames} pictures; give a file for each line.")
    found = ImageOps.exif_transpose(found)
    if found.mode.startswith(_DEEP):
        values = np.asarray(found, dtype=np.float32)
        if not np.isfinite(values).all():
            raise DataError(f"{path} holds NaN or infinite values. Write the picture again.")
        return values * _to_eight_bits(found.mode, values)
    if "A" in found.mode or "a" in found.mode or "transparency" in found.info:
        with_alpha = found.convert("RGBA")
        paper = image.new("RGBA", found.size, (_WHITE, _WHITE, _WHITE, _WHITE))
        found = image.alpha_composite(paper, with_alpha)
    # Pillow knows no way from some modes (LAB, CMYK of some files) to grey but over colours.
    plain = found if found.mode in ("1", "L") else found.convert("RGB")
    return np.asarray(plain.convert("L"), dtype=np.float32)


def _to_eight_bits(mode: str, values: NDArray[np.float32]) -> float:
    """The factor by which deep values have 255 for white."""
    most = float(values.max())
    if mode == "F":
        return 255.0 if most <= 1 else 1.0
    # Mode I has 32 bits, and holds pictures of 8 or 16 bits that somebody has converted.
    return 1 / 257 if mode.startswith("I;16") or most > _WHITE else 1.0


def _library() -> tuple[ModuleType, tuple[type[Exception], ...]]:
    try:
        from PIL import Image
    except ImportError:
        raise ConfigError("pictures need Pillow: pip install 'gateflow[transcription]'.") from None
    # What Pillow's readers raise at damaged files, its own classes among them, which derive from these.
    return Image, (
        OSError,
        ValueError,
        TypeError,
        SyntaxError,
        KeyError,
        IndexError,
        EOFError,
        MemoryError,
        OverflowError,
        AttributeError,
        AssertionError,
        NotImplementedError,
        struct.error,
        Warning,
        Image.DecompressionBombError,
    )
