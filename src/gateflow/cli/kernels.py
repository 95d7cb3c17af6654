"""Facts about the C++ compiler, the kernels it builds, and where they are kept."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from gateflow.backends.cpu.build import build, cache_directory, cpu_flags, load, toolchain
from gateflow.cli.machine import MachineFact
from gateflow.errors import BuildError, CacheWarning

TRIAL = """#include "vector_math.h"
extern "C" int vector_bytes() { return GATEFLOW_VECTOR_BYTES; }
"""


def kernel_facts() -> list[MachineFact]:
    """The compiler, a kernel built with it just now, and what the cache holds."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", CacheWarning)
        found = list(_compiler())
    refused = [str(warning.message) for warning in said if warning.category is CacheWarning]
    return [*found, bf16_units(), _kept("; ".join(refused))]


def bf16_units() -> MachineFact:
    """Whether the processor multiplies matrices in bfloat16."""
    has = {name: name in cpu_flags() for name in ("avx512_bf16", "amx_bf16")}
    slow = "" if any(has.values()) else "--precision bf16 is no faster here than fp32."
    return MachineFact(
        "bf16 units", ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in has.items()), slow
    )


def _compiler() -> Iterator[MachineFact]:
    try:
        tools = toolchain()
        yield MachineFact("compiler", f"{tools.command}: {tools.version}")
        yield MachineFact("flags", " ".join(tools.flags))
        yield from _trial()
    except BuildError as problem:
        yield MachineFact("compiler", "kernels cannot be built, so cells run on slower paths", str(problem))


def _trial() -> Iterator[MachineFact]:
    """Build a kernel that is in no cache, and take it out again."""
    start = time.perf_counter()
    library = build(f"{TRIAL}// {time.time_ns()}\n")
    try:
        width = load(library).vector_bytes()
    finally:
        for path in library.parent.glob(f"{library.stem}.*"):
            path.unlink(missing_ok=True)
    yield MachineFact("trial kernel", f"built and loaded in {time.perf_counter() - start:.1f} s")
    yield MachineFact("vectors", f"{width} bytes, {width // 4} numbers of fp32")


def _kept(remedy: str) -> MachineFact:
    try:
        folder = cache_directory()
    except OSError as problem:
        return MachineFact("kernels", f"not kept: {problem}", remedy)
    sizes = [path.stat().st_size for path in _libraries(folder)]
    return MachineFact("kernels", f"{len(sizes)} kept, {sum(sizes) / 2**20:.1f} MiB, in {folder}", remedy)


def _libraries(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix == ".so"]
    except OSError:
        return []
