"""Build: C++ text → shared object, by the system's compiler, once per text, compiler and processor.

    build('#include "vector_math.h" …')  →  ~/.cache/gateflow/3f0c….so

The text may include the headers of ``native/``. Everything the result depends on is part of the cache's key.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shlex
from pathlib import Path

import torch

from gateflow.backends.cache import cache_directory, cached, check_owner
from gateflow.backends.cpu.toolchain import Toolchain, candidates, cpu_flags, cpu_name, run
from gateflow.errors import BuildError

__all__ = ["Toolchain", "build", "cache_directory", "cpu_flags", "load", "processor_key", "toolchain"]

NATIVE = Path(__file__).parent / "native"

ABI = "1"
"""Part of the key: raise it when libraries of an older gateflow must not be taken for ours."""

# With threads, since that is what differs: see THREADING in `toolchain.py`.
TRIAL = """// The ten lines by which gateflow finds out how this machine's compiler builds kernels with threads.
extern "C" int threads(int asked) {
    int found = 0;
    (void)asked;
#ifdef _OPENMP
#pragma omp parallel num_threads(asked) reduction(+ : found)
#endif
    found += 1;
    return found;
}
"""


def toolchain() -> Toolchain:
    """The C++ compiler that builds kernels: ``$CXX``, else the first of c++, g++ and clang++ on the PATH.

    Raises:
        BuildError: There is none, or it cannot build a trial of ten lines.
    """
    found = _toolchain(os.environ.get("CXX", ""), os.environ.get("PATH", ""), os.environ.get("GATEFLOW_CACHE", ""))
    if isinstance(found, str):
        raise BuildError(found)
    return found


def build(source: str, *, extra_flags: tuple[str, ...] = ()) -> Path:
    """The shared object of this C++ text, from the cache or built now.

    Args:
        source: C++17 that may ``#include`` the headers of ``compiler/native``.
        extra_flags: More flags for the compiler, such as ``-DNAME``.

    Raises:
        BuildError: There is no compiler, or it refuses the text; the message names the file in which the text is kept.
    """
    return _build(toolchain(), source, extra_flags)


def load(library: Path) -> ctypes.CDLL:
    """Load a built library, if nobody but the user of this process can have written it.

    Raises:
        BuildError: Others could have written it, or the system refuses to load it.
    """
    try:
        check_owner(library.parent)
        check_owner(library)
        return ctypes.CDLL(str(library))
    except OSError as problem:
        raise BuildError(
            f"the kernel {library} cannot be loaded: {problem}. Set GATEFLOW_CACHE to a directory of your own "
            "from which programs may be run."
        ) from problem


def processor_key() -> list[str]:
    """What a choice for this machine depends on: torch with its BLAS, and the processor by its name and flags."""
    # A home directory may be shared by machines.
    return [ABI, torch.__version__, cpu_name(), *sorted(cpu_flags())]


_failed: dict[str, str] = {}
"""What could not be built in this process, and why: a layer that falls back to the loop does not try at each call."""


@functools.cache
def _toolchain(cxx: str, path: str, cache: str) -> Toolchain | str:
    """What has been found out for this environment, or why there is none: it is asked before every run."""
    problem: BuildError | None = None
    try:
        for candidate in candidates(cxx, path):
            try:
                load(_build(candidate, TRIAL, ()))
            except BuildError as found:
                problem = found
            else:
                return candidate
    # Returned and not raised: `functools.cache` keeps results alone, and this is asked before every run.
    except (BuildError, OSError) as none_found:
        return str(none_found)
    return f"the C++ compiler found cannot build kernels: {problem}"


def _build(tools: Toolchain, source: str, extra_flags: tuple[str, ...]) -> Path:
    def make(text: Path, library: Path) -> None:
        compiler, part = shlex.split(tools.command), library.with_suffix(".o")
        flags = [*tools.flags, *extra_flags, f"-I{NATIVE}"]
        run([*compiler, *flags, "-c", str(text), "-o", str(part)], f"compile {text}")
        run([*compiler, str(part), *tools.link, "-o", str(library)], f"link {text}")
        # `CXX=true` does nothing and reports success (`WRONG` in `tests/backends/cpu/test_build.py`).
        if not library.is_file():
            raise BuildError(f"{compiler[0]} says that it has linked {text}, and there is no library.")

    key = _key(tools, source, extra_flags)
    # A compiler that fails takes its seconds at each call otherwise
    # (`test_what_cannot_be_built_is_tried_once_in_a_process`).
    if key in _failed:
        raise BuildError(_failed[key])
    try:
        return cached(key, source, make)
    except BuildError as problem:
        _failed[key] = str(problem)
        raise


def _key(tools: Toolchain, source: str, extra_flags: tuple[str, ...]) -> str:
    headers = [f"{path.name}\n{path.read_text(encoding='utf-8')}" for path in sorted(NATIVE.glob("*.h"))]
    # torch, whose OpenMP and BLAS a kernel runs with; the processor's flags, since -march=native builds for it and a
    # home directory may be shared by machines.
    parts = [ABI, torch.__version__, repr(tools), *sorted(cpu_flags()), repr(extra_flags), *headers, source]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
