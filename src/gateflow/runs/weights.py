"""Tensors as one safetensors file, sealed by a checksum, and checked by name, type, shape and value before use.

The seal is the SHA-256 of the whole file, in the file's own metadata: ``{"__metadata__": {"sha256": "9f3c…"}, …}``. It
is taken while 64 zeros stand in its place. So one renaming replaces tensors and checksum together, and every bit of the
file is under it. Files without one, which older versions and other programs write, are taken as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from gateflow.errors import GateflowError, NonFiniteError, RunError
from gateflow.files import open_ordinary, write
from gateflow.runs.fit import Spec, refuse_other_specs, specs_of

# Bytes; a checkpoint of a thousand layers has two million.
MOST_HEADER = 8 << 20

# As long as a SHA-256 in hexadecimal digits, so that putting it in moves no other byte.
_BLANK = "0" * 64
# Metadata of files without a checksum. Any other name may be that of a checksum, damaged.
_UNSEALED = {"gateflow", "format"}

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Header:
    """What a file says of itself: its tensors, its metadata, and how long it is."""

    tensors: dict[str, Spec]
    metadata: dict[str, str]
    size: int

    def group(self, prefix: str) -> dict[str, Spec]:
        """The tensors whose names begin so, without the prefix."""
        return {name.removeprefix(prefix): spec for name, spec in self.tensors.items() if name.startswith(prefix)}


def unique_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, a tied one once, detached; what a safetensors file can hold.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> {name: tuple(tensor.shape) for name, tensor in unique_tensors(layer).items()}
        {'weight': (3, 2), 'bias': (3,)}
    """
    first: dict[tuple[int, torch.Size], str] = {}
    kept = {
        name: tensor
        for name, tensor in model.state_dict(keep_vars=True).items()
        if first.setdefault((tensor.data_ptr() or id(tensor), tensor.shape), name) == name  # no memory: on "meta"
    }
    return {name: tensor.detach() for name, tensor in kept.items()}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a sealed safetensors file that appears whole or not at all.

    Raises:
        WriteError: the file system refused.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    blank = _in_order(save(plain, {**(metadata or {}), "sha256": _BLANK}))
    place = _place_of_seal(blank, _BLANK)
    seal = hashlib.sha256(blank).hexdigest().encode()
    # A view, not a slice: a file of gigabytes is not copied once more.
    write(path, b"".join((blank[:place], seal, memoryview(blank)[place + len(seal) :])))


def read_header(path: Path) -> Header:
    """What a safetensors file says of itself; no tensor is read.

    Raises:
        RunError: the file is missing or damaged.
    """
    with _reading(path) as file:
        return _header(file)


def read_tensors(
    path: Path, fits: Callable[[Header], None] = lambda _: None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Args:
        path: the file.
        fits: raises where the header is not the one expected, before memory is taken for the tensors.

    Raises:
        RunError: the file is missing or damaged.
    """
    with _reading(path) as file:
        header = _header(file)
        # Before the content is read: what does not fit takes no memory.
        fits(header)
        file.seek(0)
        content = file.read(header.size)
        _refuse_broken_seal(content, header.metadata)
        return load(content), {name: text for name, text in header.metadata.items() if name != "sha256"}


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy `tensors` into the model; `path` is named in the messages.

    Raises:
        RunError: names, types or shapes are not those of the model.
        NonFiniteError: a weight is NaN or infinite.
    """
    refuse_other_specs(specs_of(tensors), specs_of(unique_tensors(model)), path)
    refuse_non_finite(tensors, path)
    # Not strict, since a tied tensor is in the file once; that nothing is missing was seen above.
    model.load_state_dict(dict(tensors), strict=False)


def refuse_non_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that no model can be used with; `path` is named in the message.

    Raises:
        NonFiniteError: one is NaN or infinite.
    """
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise NonFiniteError(f"{name} in {path} holds NaN or infinity, so the model cannot be used.")


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """An open file; whatever goes wrong in understanding it is told as damage."""
    try:
        with open_ordinary(path) as file:
            yield file
    except GateflowError:
        raise
    except FileNotFoundError:
        raise RunError(f"{path} is missing.") from None
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error!s:.200}); restore it from a copy, or train again.") from None


def _header(file: BinaryIO) -> Header:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    # The format: eight bytes of length, a header in JSON, then all numbers.
    length = int.from_bytes(file.read(8), "little")
    if length > min(MOST_HEADER, size - 8):
        raise ValueError(f"it is too short for its header, or its header is larger than {MOST_HEADER:,} bytes")
    found: Any = json.loads(file.read(length))
    metadata = _texts(found.pop("__metadata__", {}))
    tensors = {name: _spec(entry) for name, entry in found.items()}
    # Every byte is accounted for: a file that was cut short is not read beyond its end.
    if size != 8 + length + sum(math.prod(spec.shape) * spec.dtype.itemsize for spec in tensors.values()):
        raise ValueError("it is shorter or longer than its header says")
    return Header(tensors, metadata, size)


def _in_order(content: bytes) -> bytes:
    """A file with its metadata sorted: the library draws their order by lot, and equal runs have equal bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    # The numbers that follow are aligned, as the format has it.
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[8 + length :]))


def _spec(entry: Any) -> Spec:
    shape = entry["shape"]
    # `type`, for True is an int in Python and JSON has both.
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("a shape in its header is none")
    return Spec(_DTYPES[entry["dtype"]], tuple(shape))


def _texts(metadata: Any) -> dict[str, str]:
    if not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its metadata are no texts")
    return dict(metadata)


def _refuse_broken_seal(content: bytes, metadata: Mapping[str, str]) -> None:
    if "sha256" not in metadata:
        # One flipped bit in the name "sha256" would else make the file one without a seal.
        if strangers := metadata.keys() - _UNSEALED:
            raise ValueError(f"it has the unknown metadata {sorted(strangers)[0]!r:.80}")
        return
    seal, place = metadata["sha256"], _place_of_seal(content, metadata["sha256"])
    # In three parts, so that the seal is not blanked in a copy.
    found = hashlib.sha256(content[:place])
    found.update(_BLANK.encode())
    found.update(memoryview(content)[place + len(seal) :])
    if found.hexdigest() != seal:
        raise ValueError("its checksum is another: it has changed since it was written")


def _place_of_seal(content: bytes, seal: str) -> int:
    """Where the seal stands; in a text inside the header its quotation marks would be escaped."""
    begin = b'"sha256":"'
    length = 8 + int.from_bytes(content[:8], "little")
    if not re.fullmatch("[0-9a-f]{64}", seal) or content.count(begin + seal.encode() + b'"', 0, length) != 1:
        raise ValueError("its checksum is none")
    return content.index(begin, 0, length) + len(begin)
