"""NVRTC: CUDA C++ text → a cubin for one kind of card, by the compiler that torch's CUDA builds bring.

The result is kept like a CPU kernel (`backends/cache.py`). A machine without a card builds cubins as well.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from gateflow.backends.cache import Form, cached
from gateflow.errors import BuildError
from gateflow.files import write

__all__ = ["CUBIN", "compiled", "cubin", "obstacle"]

NATIVE = Path(__file__).parent / "native"
CUBIN = Form(".cubin", ".cu", is_tried=False)

ABI = "1"
"""Part of the key: raise it when cubins of an older gateflow must not be taken for ours."""

_WHEELS = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")
# A warning of every constant of a structure that this kernel has no use for.
_UNUSED = 177


def obstacle() -> str | None:
    """Why there is no NVRTC, in words; none where there is."""
    found = _nvrtc()
    return found if isinstance(found, str) else None


def cubin(text: str, architecture: str, definitions: dict[str, int]) -> Path:
    """The cubin of a text, from the cache or built now.

    Args:
        text: CUDA C++ that may include the headers of ``native/``.
        architecture: of the card, such as ``sm_90``.
        definitions: macros.

    Raises:
        BuildError: there is no NVRTC, or it refuses the text.
    """

    def make(source: Path, kernel: Path) -> None:
        write(kernel, compiled(source.read_text(encoding="utf-8"), architecture, definitions)[0], private=True)

    parts = [ABI, _version(), architecture, repr(sorted(definitions.items())), *_headers().values(), text]
    return cached(hashlib.sha256("\0".join(parts).encode()).hexdigest(), text, make, CUBIN)


def compiled(text: str, architecture: str, definitions: dict[str, int]) -> tuple[bytes, str]:
    """The cubin of a text, and what the compiler says of it: registers, spills.

    Raises:
        BuildError: there is no NVRTC, or it refuses the text.
    """
    library, headers, program = _library(), _headers(), ctypes.c_void_p()
    texts, names = _strings(list(headers.values())), _strings(list(headers))
    _check(library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"cell.cu", len(headers), texts, names), "")
    try:
        options = [f"--gpu-architecture={architecture}", "--std=c++17", "--device-as-default-execution-space"]
        options += ["--ptxas-options=-v", f"--diag-suppress={_UNUSED}"]
        options += [f"-D{name}={value}" for name, value in definitions.items()]
        code = library.nvrtcCompileProgram(program, len(options), _strings(options))
        log = _got(library.nvrtcGetProgramLogSize, library.nvrtcGetProgramLog, program).decode(errors="replace")
        _check(code, log.strip("\0\n "))
        return _got(library.nvrtcGetCUBINSize, library.nvrtcGetCUBIN, program), log
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _check(code: int, log: str) -> None:
    if code:
        raise BuildError(f"NVRTC could not compile a kernel (error {code}): {log[:2000]}")


def _strings(texts: list[str]) -> Any:
    return (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))


def _got(size_of: Any, get: Any, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _check(size_of(program, ctypes.byref(size)), "")
    content = ctypes.create_string_buffer(size.value)
    _check(get(program, content), "")
    return content.raw


@functools.cache
def _headers() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(NATIVE.glob("*.cuh"))}


def _library() -> Any:
    found = _nvrtc()
    if isinstance(found, str):
        raise BuildError(found)
    return found


def _version() -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "")
    return f"{major.value}.{minor.value}"


@functools.cache
def _nvrtc() -> Any:
    """The library; why there is none, in words."""
    try:
        paths = _paths_of_wheel()
        for path in paths:
            # The builtins first, and for all to see: NVRTC asks the system for them by name.
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(paths[-1] if paths else "libnvrtc.so")
    except OSError as problem:
        return f"CUDA's compiler NVRTC is not there ({problem}); pip install nvidia-cuda-nvrtc"


def _paths_of_wheel() -> list[str]:
    """Its libraries, the one to call last; none if no wheel is installed."""
    for wheel in _WHEELS:
        try:
            listed = [file for file in files(wheel) or () if ".so" in file.name and "alt" not in file.name]
        except PackageNotFoundError:
            continue
        if listed:
            return [str(file.locate()) for file in sorted(listed, key=lambda file: "builtins" not in file.name)]
    return []
