"""NumPy's files: ``.npy`` with one array of series, ``.npz`` with labels, lengths and times beside it; no pickle.

np.savez("train.npz", x=x, y=y, lengths=lengths, times=times)      x [N, T, C] or [N, T]; the others may be missing
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateflow.data.series.moments import rising
from gateflow.data.series.series import Series, checked
from gateflow.errors import DataError

__all__ = ["NPY", "ZIP", "read_arrays"]

NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"
"""What the two kinds of files begin with."""
NAMES = {"x": ("x", "X", "values"), "y": ("y", "Y", "labels"), "lengths": ("lengths",), "times": ("times",)}
"""What an array of a ``.npz`` may be called."""
_NEEDED = {"y": "labels that are numbers or texts", "lengths": "whole numbers", "times": "numbers or datetime64"}


def read_arrays(path: Path) -> Iterator[Series]:
    """Yield the series of a file.

    Raises:
        DataError: it is no such file, is damaged, or would need pickle to be read; there is no array ``x``; arrays do
            not fit each other; a value is infinite.
    """
    arrays = _loaded(path)
    values = _values(arrays, path)
    count, longest = values.shape[:2]
    lengths = _beside(arrays, "lengths", (count,), "iu", path)
    if lengths is not None and len(wrong := np.flatnonzero((lengths < 1) | (lengths > longest))):
        case = int(wrong[0])
        raise DataError(f"{path}, case {case + 1}: a length of {lengths[case]}, and 1 to {longest} can be.")
    labels, times = _labels(arrays, count, longest, path), _beside(arrays, "times", (count, longest), "iufM", path)
    for i in range(count):
        length, place = longest if lengths is None else int(lengths[i]), f"case {i + 1}"
        where = f"{path}, {place}"
        own = None if labels is None else labels[i]
        yield Series(
            checked(values[i, :length], where),
            place,
            label=None if own is None or own.ndim else _written(own),
            step_labels=tuple(map(_written, own[:length])) if own is not None and own.ndim else None,
            times=None if times is None else rising(_moments(times[i, :length]), where),
        )


def _loaded(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        # Opened here: of a file that is damaged NumPy leaves its own open.
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            arrays = {"x": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
            # A member that is no array comes as bytes.
            return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        objects = "pickle" in str(error)
        reason = "it holds Python objects, which only pickle could read" if objects else f"{error!s:.120}"
        raise DataError(
            f"{path} cannot be read as NumPy's arrays: {reason}. Write it with np.savez, without objects."
        ) from None


def _values(arrays: Mapping[str, NDArray[Any]], path: Path) -> NDArray[Any]:
    found = _named(arrays, "x")
    if found is None:
        raise DataError(f"{path} has no array x, only {', '.join(sorted(arrays)) or 'none at all'}. Name the series x.")
    if found.dtype.kind not in "iufb" or found.ndim not in (2, 3) or 0 in found.shape:
        raise DataError(
            f"{path}: x is {found.dtype} of shape {list(found.shape)}; series are numbers [series, steps, "
            "channels], or [series, steps] with one channel."
        )
    return found if found.ndim == 3 else found[..., None]


def _labels(arrays: Mapping[str, NDArray[Any]], count: int, longest: int, path: Path) -> NDArray[Any] | None:
    """``[N]``, or of each step ``[N, T]``."""
    found = _named(arrays, "y")
    shape = (count, longest) if found is not None and found.ndim == 2 else (count,)
    return _beside(arrays, "y", shape, "iufbUS", path)


def _beside(
    arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...], kinds: str, path: Path
) -> NDArray[Any] | None:
    """An array that belongs to the series; none if there is none."""
    found = _named(arrays, name)
    if found is not None and found.shape != shape:
        raise DataError(f"{path}: {name} is {found.dtype} of shape {list(found.shape)}, and x needs {list(shape)}.")
    if found is not None and found.dtype.kind not in kinds:
        raise DataError(f"{path}: {name} is {found.dtype}, and {_NEEDED[name]} are needed; convert it with astype.")
    return found


def _named(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any] | None:
    return next((arrays[other] for other in NAMES[name] if other in arrays), None)


def _moments(times: NDArray[Any]) -> NDArray[Any]:
    return times.astype("datetime64[us]" if times.dtype.kind == "M" else np.float64)


def _written(label: Any) -> str:
    # A label that is a number is written as Python writes it: 3, not np.int64(3); 3.0 stays 3.0.
    value = label.item() if isinstance(label, np.generic | np.ndarray) else label
    if value != value:  # NaN: a label that is not known, and none that is called so
        return ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
