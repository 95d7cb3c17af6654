"""Build every driver here in every variant, and run it: ``python -m tests.backends.cpu.native.check [--full]``.

Another driver is another ``.cpp`` file here: it exits with 0 if all is well, and takes ``full`` for a long look.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateflow.backends.cpu.build import NATIVE as HEADERS
from gateflow.backends.cpu.build import cpu_flags
from gateflow.backends.cpu.toolchain import NATIVE, NUMERICS, WARNINGS, candidates
from gateflow.compiler import emit
from gateflow.compiler.compositions import COMPOSITIONS, Composition
from gateflow.compiler.graph import simplified
from gateflow.compiler.node import LEAVES, Node, in_order
from gateflow.compiler.operations import OPERATIONS

DRIVERS = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.cpp"))}

# The thread sanitizer knows the standard library's threads, not OpenMP's.
ALWAYS = ("-std=c++17", *NUMERICS, *WARNINGS, "-DGATEFLOW_STD_THREADS", "-pthread", f"-I{HEADERS}")
SANITIZED = ("-O1", "-g", NATIVE, "-fno-sanitize-recover=all")
X86 = {"sse2": ("-O3", "-march=x86-64"), "avx2": ("-O3", "-march=x86-64-v3")}
VARIANTS = {
    "native": ("-O3", NATIVE),
    "narrow": ("-O3", NATIVE, "-DGATEFLOW_VECTOR_BYTES=16"),
    "wide": ("-O3", "-DGATEFLOW_VECTOR_BYTES=64"),
    **(X86 if platform.machine() == "x86_64" else {}),
    "address": (*SANITIZED, "-fsanitize=address,undefined"),
    "thread": (*SANITIZED, "-fsanitize=thread"),
}
if "avx2" not in cpu_flags():
    VARIANTS.pop("avx2", None)

BF16 = "-DGATEFLOW_BF16_PRODUCTS"
UNITS = ("-mavx512bf16", "-mamx-tile", "-mamx-bf16")
PRODUCTS = {
    "bf16": (*VARIANTS["native"], BF16),
    "bf16-narrow": (*VARIANTS["narrow"], BF16),
    "bf16-address": (*VARIANTS["address"], BF16),
}
"""More variants of the driver of products; units that the CPU lacks are emulated, from AVX-512 on."""
if "avx512bw" in cpu_flags():
    PRODUCTS["bf16-avx512"] = (*VARIANTS["native"], BF16, *UNITS[:1])
    PRODUCTS["bf16-amx"] = (*VARIANTS["native"], BF16, *UNITS)
    PRODUCTS["bf16-amx-address"] = (*VARIANTS["address"], BF16, *UNITS)

FULL = ("native", "avx2", "sse2")
"""They round differently; the others repeat one of them."""

LIBRARIES = {"address": "libasan.so", "thread": "libtsan.so"}
"""What must be loaded before Python is, if Python is to load a library with this sanitizer in it."""


LOOPS = {"cpu": "tests.backends.cpu.native.loops", "cuda": "tests.backends.cuda.loops"}
"""What is run of whole loops; those for GPUs in emulation."""

SAME = ("gateflow::Rows*::store_number", "gateflow::Rows*::number")
"""Of kernels for GPUs: each block works out what is one number for a row, and puts the same into the same place."""


def build(driver: str, variant: str, folder: Path) -> Path:
    """The executable of a driver; raises CalledProcessError where the compiler has as much as a warning."""
    compiler = next(candidates(os.environ.get("CXX", ""), os.environ["PATH"])).command
    (folder / "functions.inc").write_text(functions(), encoding="utf-8")
    made, flags = folder / f"{driver}-{variant}", (VARIANTS | PRODUCTS)[variant]
    subprocess.run(
        [*shlex.split(compiler), *ALWAYS, *flags, f"-I{folder}", str(DRIVERS[driver]), "-o", str(made)], check=True
    )
    return made


def functions() -> str:
    """The operations whose accuracy is measured, as `accuracy.cpp` includes them."""
    lines = []
    for name, operation in OPERATIONS.items():
        if (accuracy := operation.accuracy) is not None:
            ceiling = "inf" if math.isinf(accuracy.ceiling) else repr(accuracy.ceiling)
            exact = f"[](double x) -> double {{ return {accuracy.exact}; }}"
            lines.append(f'{{"{name}", {accuracy.ulp}, {ceiling}, gateflow::{name}, {exact}}},')
    lines += [_composed(name, row) for name, row in COMPOSITIONS.items() if row.accuracy is not None]
    return "\n".join(lines)


def _composed(name: str, row: Composition) -> str:
    """A function made of others, as a kernel has it."""
    x = Node("input", name="x")
    node, accuracy = row.lower(x), row.accuracy
    assert node is not None
    assert accuracy is not None
    (node,) = simplified([node])
    names = emit._names([node])
    body = [f"const V {names[n]} = {emit._expression(n, names)};" for n in in_order([node]) if n.op not in LEAVES]
    ours = f"[](V {names[x]}) -> V {{ {' '.join(body)} return {names[node]}; }}"
    exact = f"[](double x) -> double {{ return {accuracy.exact}; }}"
    return f'{{"{name}", {accuracy.ulp}, inf, {ours}, {exact}, {accuracy.least!r}}},'


def run(driver: str, variant: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Build and run a driver."""
    return subprocess.run([build(driver, variant, folder), *words], capture_output=True, text=True)


def run_loops(device: str, variant: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the loops of kernels built with a sanitizer of GCC; nothing where the compiler is another."""
    compiler = shlex.split(next(candidates(os.environ.get("CXX", ""), os.environ["PATH"])).command)
    ask = [*compiler, f"-print-file-name={LIBRARIES[variant]}"]
    library = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    if not Path(library).is_absolute():
        return subprocess.CompletedProcess(ask, 0, "not run: it needs GCC\n", "")
    flags = [*SANITIZED[1:], VARIANTS[variant][-1], "-DGATEFLOW_STD_THREADS", "-pthread"]
    environment = {
        **os.environ,
        # The compiler itself does without.
        "CXX": shlex.join(["env", "-u", "LD_PRELOAD", *compiler, *flags]),
        "GATEFLOW_CACHE": str(folder / f"loops-{device}-{variant}"),
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "TSAN_OPTIONS": f"ignore_noninstrumented_modules=1 suppressions={_suppressions(folder)}",
    }
    return subprocess.run([sys.executable, "-m", LOOPS[device]], env=environment, capture_output=True, text=True)


def _suppressions(folder: Path) -> Path:
    """What ThreadSanitizer is to say nothing of."""
    path = folder / "suppressions.txt"
    path.write_text("".join(f"race:{name}\n" for name in SAME), encoding="utf-8")
    return path


def main() -> int:
    """Run all; the exit code says whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="accuracy over all 2^32 floats: half an hour")
    full = ("full",) if parser.parse_args().full else ()
    jobs = [(driver, variant) for driver in DRIVERS for variant in VARIANTS]
    jobs += [("products", variant) for variant in PRODUCTS]
    failed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        words = [full if variant in FULL else () for _, variant in jobs]
        found = pool.map(lambda job, word: run(job[0], job[1], Path(folder), *word), jobs, words)
        pairs = list(itertools.product(LOOPS, LIBRARIES))
        loops = pool.map(lambda pair: run_loops(pair[0], pair[1], Path(folder)), pairs)
        jobs += [(f"loops, {device}", variant) for device, variant in pairs]
        for (driver, variant), done in zip(jobs, itertools.chain(found, loops), strict=True):
            verdict = "FAILED" if done.returncode else "fine"
            sys.stdout.write(f"== {driver}, {variant}: {verdict}\n{done.stdout}{done.stderr}")
            failed += done.returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
