"""Build: C++ text → shared object, by the system's compiler, once per text, compiler and processor.

    build('#include "vector_math.h" …')  →  ~/.cache/gateflow/3f0c….so

The text may include the headers of ``native/``. Everything the result depends on is part of the cache's key.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from gateflow.compiler.cache import cache_directory, cached, check_owner
from gateflow.errors import BuildError

__all__ = ["Toolchain", "build", "cache_directory", "cpu_flags", "load", "toolchain"]

NATIVE = Path(__file__).parent / "native"
ABI = "1"
"""Part of the key: raise it when libraries of an older gateflow must not be taken for ours."""

SECONDS = 300
"""A kernel takes a second or two; a compiler that takes this long hangs."""

LOOKED_FOR = ("c++", "g++", "clang++")

# No -ffast-math: NaN and infinity keep their meaning.
COMPILE = ["-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fPIC"]
# Vectors wider than the processor's are passed between inlined functions only, so their ABI does not matter.
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-psabi"]

Threading = tuple[tuple[str, ...], tuple[str, ...]]
# Flags to compile and to link with. A library linked without -fopenmp takes the OpenMP runtime that torch has loaded
# for all of the process, so that torch and the kernels share one pool of threads instead of fighting over the cores.
THREADING: tuple[Threading, ...] = (
    (("-fopenmp",), ()),
    (("-fopenmp",), ("-fopenmp",)),
    (("-DGATEFLOW_STD_THREADS", "-pthread"), ("-pthread",)),
)
TRIAL = """#ifdef _OPENMP
#include <omp.h>
#endif
extern "C" int threads(int asked) {
    int found = 1;
    (void)asked;
#pragma omp parallel num_threads(asked)
#pragma omp single
    {
#ifdef _OPENMP
        found = omp_get_num_threads();
#endif
    }
    return found;
}
"""


@dataclass(frozen=True)
class Toolchain:
    """A C++ compiler and how it is called; ``link`` are the flags of the second of two calls, compile and link."""

    command: str
    version: str
    flags: tuple[str, ...]
    link: tuple[str, ...]
    cpu: str


def toolchain() -> Toolchain:
    """The C++ compiler that builds kernels: ``$CXX``, else the first of c++, g++ and clang++ on the PATH.

    Raises:
        BuildError: There is none, or it cannot build a trial of ten lines.
    """
    return _toolchain(os.environ.get("CXX", ""), os.environ.get("PATH", ""), str(cache_directory()))


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
        check_owner(library)
        check_owner(library.parent)
        return ctypes.CDLL(str(library))
    except OSError as problem:
        raise BuildError(
            f"the kernel {library} cannot be loaded: {problem}. Set GATEFLOW_CACHE to a directory of your own "
            "from which programs may be run."
        ) from problem


def cpu_flags() -> frozenset[str]:
    """The instruction sets that the system reports, by Linux' names; empty where it does not say."""
    found = [line for line in _cpu_info() if line.startswith(("flags", "Features"))]
    return frozenset(found[0].split(":")[1].split()) if found else frozenset()


@functools.cache
def _toolchain(cxx: str, path: str, cache: str) -> Toolchain:
    command = _command(cxx, path)
    version = _run([*shlex.split(command), "--version"], "say its version").splitlines()[0]
    problems = []
    for compile_flags, link in THREADING:
        flags = (*COMPILE, *WARNINGS, *compile_flags)
        candidate = Toolchain(command, version, flags, ("-shared", *link, *_undefined_later()), _cpu())
        try:
            load(_build(candidate, TRIAL, ()))
        except BuildError as problem:
            problems.append(str(problem))
        else:
            return candidate
    raise BuildError(f"the C++ compiler {command} cannot build kernels: {problems[-1]}")


def _command(cxx: str, path: str) -> str:
    for asked in [cxx] if cxx else LOOKED_FOR:
        name, *arguments = shlex.split(asked)
        if found := shutil.which(name, path=path):
            return shlex.join([found, *arguments])
    looked = f"CXX names {cxx!r}, which is not there" if cxx else f"none of {', '.join(LOOKED_FOR)} is on the PATH"
    raise BuildError(f"no C++ compiler found: {looked}. Install g++ or clang++ (Debian: apt install g++), or set CXX.")


def _build(tools: Toolchain, source: str, extra_flags: tuple[str, ...]) -> Path:
    def make(text: Path, library: Path) -> None:
        compiler, made = shlex.split(tools.command), library.with_suffix(".o")
        compile_flags = [*tools.flags, *extra_flags, f"-I{NATIVE}"]
        try:
            _run([*compiler, *compile_flags, "-c", str(text), "-o", str(made)], f"compile {text}")
            _run([*compiler, str(made), *tools.link, "-o", str(library)], f"link {text}")
        finally:
            made.unlink(missing_ok=True)

    return cached(_key(tools, source, extra_flags), source, make)


def _key(tools: Toolchain, source: str, extra_flags: tuple[str, ...]) -> str:
    headers = [f"{path.name}\n{path.read_text(encoding='utf-8')}" for path in sorted(NATIVE.glob("*.h"))]
    parts = [ABI, torch.__version__, repr(tools), *sorted(cpu_flags()), repr(extra_flags), *headers, source]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _run(command: Sequence[str], what: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as problem:
        raise BuildError(f"{command[0]} took longer than {SECONDS} s to {what}") from problem
    except OSError as problem:
        raise BuildError(f"{command[0]} could not {what}: {problem.strerror}") from problem
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line or "undefined" in line]
        first = "\n  ".join(said[:3] or done.stderr.splitlines()[:3])
        raise BuildError(f"{command[0]} could not {what} (exit code {done.returncode}):\n  {first}")
    return done.stdout


def _undefined_later() -> tuple[str, ...]:
    """Elsewhere a library may have open ends as it is; macOS wants to be told."""
    return ("-undefined", "dynamic_lookup") if platform.system() == "Darwin" else ()


def _cpu() -> str:
    for line in _cpu_info():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def _cpu_info() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8").splitlines() if info.exists() else []
