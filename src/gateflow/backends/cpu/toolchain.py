"""The C++ compiler of this machine: which one it is, and how it is called."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateflow.errors import BuildError

__all__ = ["Toolchain", "candidates", "cpu_flags", "cpu_name", "run"]

SECONDS = 120
"""A kernel takes a second or two; a compiler that takes this long hangs."""

MOST_WORDS = 1 << 20
"""Bytes that a compiler may say; one that says more is none."""

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
    said = run([*shlex.split(command), "--version"], "say its version").strip().partition("\n")[0]
    # It is shown by `gateflow doctor`, and a program named by CXX may print anything.
    version = "".join(letter if letter.isprintable() else "?" for letter in said[:200])
    for compile_flags, link in THREADING:
        yield Toolchain(command, version, (*FLAGS, *compile_flags), ("-shared", *link, *OPEN_ENDS), cpu_name())


def run(command: Sequence[str], what: str) -> str:
    """Run the compiler and return what it prints.

    Raises:
        BuildError: It fails, hangs, talks without end, or cannot be started; the message holds its first lines about
            errors.
        OSError: The disk is full.
    """
    code, said = _answer(command, what)
    # No BuildError: another directory may have space, and the text is not at fault.
    if os.strerror(errno.ENOSPC) in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if code:
        lines = [line[:300] for line in said.splitlines()]
        first = "\n  ".join([line for line in lines if "error:" in line or "undefined" in line][:3] or lines[:3])
        raise BuildError(f"{command[0]} could not {what} (exit code {code}):\n  {first}")
    return said


def _answer(command: Sequence[str], what: str) -> tuple[int, str]:
    """Exit code and words of a program that has a bounded time and a bounded number of words, and nothing to read."""
    english = {**os.environ, "LC_ALL": "C"}  # for what is looked for in them
    try:
        program = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=english,
            # A group of its own, so that `_stop` reaches the programs that a compiler starts.
            start_new_session=True,
        )
    except (OSError, ValueError) as problem:
        raise BuildError(f"{command[0]} could not {what}: {getattr(problem, 'strerror', problem)}.") from problem
    # A thread, since `read` waits for as long as the program, or a child of it, keeps its output open.
    late = threading.Timer(SECONDS, _stop, [program])
    with program:
        late.start()
        try:
            said = program.stdout.read(MOST_WORDS) if program.stdout else b""
            if len(said) < MOST_WORDS:
                program.wait()
        finally:
            in_time = late.is_alive()
            late.cancel()
            _stop(program)
    if not in_time:
        raise BuildError(f"{command[0]} took longer than {SECONDS} s to {what}.")
    if len(said) == MOST_WORDS:
        raise BuildError(f"{command[0]} could not {what}: it said more than {MOST_WORDS:,} bytes instead.")
    return program.returncode, said.decode(errors="replace")


def _stop(program: subprocess.Popen[bytes]) -> None:
    """End a program that still runs, and those it has started: a compiler is several, in a group of their own."""
    if program.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, signal.SIGKILL)


def cpu_flags() -> frozenset[str]:
    """The instruction sets that the system reports, by Linux' names; empty where it does not say."""
    found = [line for line in _cpu_info() if line.startswith(("flags", "Features"))]
    return frozenset(found[0].split(":")[1].split()) if found else frozenset()


def _command(cxx: str, path: str) -> str:
    if os.name != "posix":
        raise BuildError(f"kernels are built on Linux and macOS only, and this is {platform.system()}.")
    named = bool(cxx.strip())
    for asked in [cxx] if named else LOOKED_FOR:
        name, *arguments = _words(asked)
        if found := shutil.which(name, path=path):
            return shlex.join([found, *arguments])
    looked = f"CXX names {cxx!r}, which is not there" if named else f"none of {', '.join(LOOKED_FOR)} is on the PATH"
    raise BuildError(f"no C++ compiler found: {looked}. Install g++ or clang++ (Debian: apt install g++), or set CXX.")


def _words(asked: str) -> list[str]:
    try:
        return shlex.split(asked)
    except ValueError as problem:
        raise BuildError(f"CXX is {asked!r}, which is no command: {str(problem).lower()}. Mend or unset it.") from None


def cpu_name() -> str:
    """What the system calls the processor."""
    names = [line.split(":")[1].strip() for line in _cpu_info() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cpu_info() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
