"""Series as one file of tensors: how a run keeps those that it has read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from gateflow.data.labelled import Label
from gateflow.data.series.series import Series
from gateflow.errors import DataError

__all__ = ["packed", "unpacked"]

# A step or series without a label has this number.
_NONE = -1


def packed(series: Sequence[Series], ends: Sequence[int] | None = None) -> bytes:
    """The content of a file with these series, one or more with the same channels; places and groups are left out.

    Args:
        series: what is kept.
        ends: of each, the step up to which it is learnt from, if that is not all of it.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "one.safetensors"
        >>> _ = file.write_bytes(packed([Series(np.zeros((3, 2), np.float32), "line 7", label="dry")]))
        >>> [(found.values.shape, found.label) for found in unpacked(file)[0]]
        [((3, 2), 'dry')]
    """
    # Whole numbers stay what they are, before all texts.
    names = sorted({label for each in series for label in each.labels}, key=lambda name: (isinstance(name, str), name))
    numbers = {name: number for number, name in enumerate(names)}
    words = {"labels": names, "names": [each.name for each in series], "channels": series[0].channel_names}
    words["utc"] = [each.utc for each in series]
    if series[0].several is not None:
        words["several"] = [each.several for each in series]
    arrays: dict[str, Any] = {
        "values": np.concatenate([each.values for each in series]),
        "lengths": np.array([len(each) for each in series], dtype=np.int64),
        "words": np.frombuffer(json.dumps(words).encode(), np.uint8),
    }
    if all(each.step_labels is not None for each in series):
        arrays["step_labels"] = np.array([numbers[label] for each in series for label in each.step_labels or ()])
    else:
        found = [_NONE if each.label is None else numbers[each.label] for each in series]
        arrays["labels"] = np.array(found, dtype=np.int64)
    if ends is not None:
        arrays["ends"] = np.array(ends, dtype=np.int64)
    times = [each.times for each in series if each.times is not None]
    if len(times) == len(series):
        joined = np.concatenate(times)
        arrays["dates" if joined.dtype.kind == "M" else "times"] = joined.view(np.int64)
    # It writes memory as it lies: columns that stand first there would come back as rows.
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def unpacked(file: Path) -> tuple[list[Series], list[int]]:
    """The series of a file that `packed` has made, and their ends; nothing in it is believed.

    Raises:
        DataError: it is no such file.
    """
    try:
        found = load_file(file)
        series = _unpacked(found)
        return series, _ends(found, series)
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError, SafetensorError) as error:
        raise DataError(f"{file} is damaged: it holds no series ({error!s:.120}).") from None


def _unpacked(found: dict[str, NDArray[Any]]) -> list[Series]:
    values, lengths, words = found["values"], found["lengths"], json.loads(found["words"].tobytes())
    labels, names, channels = words["labels"], words["names"], tuple(words["channels"])
    _require(all(isinstance(word, str) for word in channels), "a channel is no text")
    _require(all(isinstance(word, str) or type(word) is int for word in labels), "a label is none")
    _require(all(name is None or isinstance(name, str) for name in names), "a name is no text")
    fits = (
        values.ndim == 2 and values.dtype in (np.float32, np.uint8) and lengths.ndim == 1 and lengths.dtype == np.int64
    )
    _require(fits and bool((lengths > 0).all()) and values.shape[0] == lengths.sum(), "its lengths do not fit")
    _require(len(names) == len(lengths) and len(channels) in (0, values.shape[1]), "its names do not fit")
    _require(not np.isinf(values).any(), "a value is infinite")
    cuts = np.cumsum(lengths)[:-1]
    times = _times(found, len(values))
    of_steps = found.get("step_labels")
    numbers = found["labels"] if of_steps is None else of_steps
    _require(len(numbers) == (len(lengths) if of_steps is None else len(values)), "its labels do not fit")
    of_series: list[Label | None] = [None] * len(lengths)
    of_all_steps: list[Label] = []
    if of_steps is None:
        of_series = [None if number == _NONE else labels[number] for number in numbers.tolist()]
    else:
        of_all_steps = [labels[number] for number in numbers.tolist()]
    utc = words["utc"]
    _require(len(utc) == len(lengths) and all(type(each) is bool for each in utc), "its times do not fit")
    several = words.get("several", [None] * len(lengths))
    _require(len(several) == len(lengths), "its labels do not fit")
    _require(all(each is None or {*each} <= {*labels} for each in several), "a label is none")
    series = []
    begin = 0
    for i, each in enumerate(np.split(values, cuts)):
        end = begin + len(each)
        series.append(
            Series(
                each,
                f"series {names[i] or i + 1!s:.40}",
                label=of_series[i],
                step_labels=None if of_steps is None else tuple(of_all_steps[begin:end]),
                times=None if times is None else times[begin:end],
                name=names[i],
                channel_names=channels,
                several=None if several[i] is None else tuple(several[i]),
                utc=utc[i],
            )
        )
        begin = end
    return series


def _ends(found: dict[str, NDArray[Any]], series: Sequence[Series]) -> list[int]:
    ends = found["ends"].tolist() if "ends" in found else [len(each) for each in series]
    fits = len(ends) == len(series) and all(0 < end <= len(each) for end, each in zip(ends, series, strict=True))
    _require(fits, "its ends do not fit")
    return ends


def _times(found: dict[str, NDArray[Any]], steps: int) -> NDArray[Any] | None:
    kind = next((name for name in ("times", "dates") if name in found), None)
    if kind is None:
        return None
    times = found[kind].view(np.float64 if kind == "times" else "M8[us]")
    _require(len(times) == steps and bool(np.isfinite(times).all()), "its times do not fit")
    return times


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
