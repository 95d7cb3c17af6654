"""The C++ compiler of this machine: which one it is, and how it is called."""

from __future__ import annotations

import errno
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateflow.errors import BuildError

__all__ = ["Toolchain", "candidates", "cpu_flags", "run"]

SECONDS = 300
"""A kernel takes a second or two; a compiler that takes this long hangs."""

LOOKED_FOR = ("c++", "g++", "clang++")

NATIVE = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
# No -ffast-math: NaN and infinity keep their meaning.
NUMERICS = ("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
# Vectors wider than the processor's are passed between inlined functions only, so their ABI does not matter.
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-psabi")
FLAGS = ("-std=c++17", "-O3", NATIVE, *NUMERICS, "-fPIC", *WARNINGS)

# Flags to compile and to link with. A library linked without -fopenmp takes the OpenMP runtime that torch has loaded
# for all of the process, so that torch and the kernels share one pool of threads instead of fighting over the cores.
THREADING = (
    (("-fopenmp",), ()),
    (("-fopenmp",), ("-fopenmp",)),
    (("-DGATEFLOW_STD_THREADS", "-pthread"), ("-pthread",)),
)
# Elsewhere a library may have open ends as it is; macOS wants to be told.
OPEN_ENDS = ("-undefined", "dynamic_lookup") if platform.system() == "Darwin" else ()


@dataclass(frozen=True)
class Toolchain:
    """A C++ compiler and how it is called; ``link`` are the flags of the second of two calls, compile and link."""

    command: str
    version: str
    flags: tuple[str, ...]
    link: tuple[str, ...]
    cpu: str


def candidates(cxx: str, path: str) -> Iterator[Toolchain]:
    """The compiler that ``CXX`` and ``PATH`` name, with the ways to have threads, the best first.

    Raises:
        BuildError: There is none.
    """
    command = _command(cxx, path)
    version = run([*shlex.split(command), "--version"], "say its version").partition("\n")[0]
    for compile_flags, link in THREADING:
        yield Toolchain(command, version, (*FLAGS, *compile_flags), ("-shared", *link, *OPEN_ENDS), _cpu())


def run(command: Sequence[str], what: str) -> str:
    """Run the compiler and return what it prints.

    Raises:
        BuildError: It fails, hangs, or cannot be started; the message holds its first lines about errors.
        OSError: The disk is full.
    """
    english = {**os.environ, "LC_ALL": "C"}  # for what is looked for below
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, env=english)
    except subprocess.TimeoutExpired as problem:
        raise BuildError(f"{command[0]} took longer than {SECONDS} s to {what}.") from problem
    except OSError as problem:
        raise BuildError(f"{command[0]} could not {what}: {problem.strerror}.") from problem
    if os.strerror(errno.ENOSPC) in done.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if done.returncode:
        said = done.stderr.splitlines()
        first = "\n  ".join([line for line in said if "error:" in line or "undefined" in line][:3] or said[:3])
        raise BuildError(f"{command[0]} could not {what} (exit code {done.returncode}):\n  {first}")
    return done.stdout


def cpu_flags() -> frozenset[str]:
    """The instruction sets that the system reports, by Linux' names; empty where it does not say."""
    found = [line for line in _cpu_info() if line.startswith(("flags", "Features"))]
    return frozenset(found[0].split(":")[1].split()) if found else frozenset()


def _command(cxx: str, path: str) -> str:
    if os.name != "posix":
        raise BuildError(f"kernels are built on Linux and macOS only, and this is {platform.system()}.")
    for asked in [cxx] if cxx else LOOKED_FOR:
        name, *arguments = shlex.split(asked)
        if found := shutil.which(name, path=path):
            return shlex.join([found, *arguments])
    looked = f"CXX names {cxx!r}, which is not there" if cxx else f"none of {', '.join(LOOKED_FOR)} is on the PATH"
    raise BuildError(f"no C++ compiler found: {looked}. Install g++ or clang++ (Debian: apt install g++), or set CXX.")


def _cpu() -> str:
    names = [line.split(":")[1].strip() for line in _cpu_info() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cpu_info() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8").splitlines() if info.exists() else []
