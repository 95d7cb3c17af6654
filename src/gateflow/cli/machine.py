"""Facts about this machine that decide how fast a recurrent network trains on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from gateflow import Recurrent, cells
from gateflow.backends.cpu.build import cpu_flags
from gateflow.recurrence import explain


class MachineFact(NamedTuple):
    """One fact, and the remedy if it is amiss; `broken` if nothing works before it is mended."""

    what: str
    found: str
    remedy: str = ""
    broken: bool = False


def facts() -> list[MachineFact]:
    """All facts, the most basic first."""
    return [
        MachineFact("python", f"{platform.python_version()} ({sys.executable})"),
        *dependencies(),
        processor(),
        threads(),
        *devices(),
        *paths(),
        *writable(),
    ]


def dependencies() -> Iterator[MachineFact]:
    """Versions of what gateflow is built on."""
    versions, absent = [f"gateflow {importlib.metadata.version('gateflow')}"], []
    for requirement in importlib.metadata.requires("gateflow") or ():
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if "extra ==" in requirement:
            continue
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    yield MachineFact("packages", ", ".join(versions))
    if absent:
        yield MachineFact("missing", ", ".join(absent), f"pip install {' '.join(absent)}", broken=True)


def processor() -> MachineFact:
    """The processor and the instructions that matter for matrix products."""
    wanted = [name for name in ("avx2", "fma", "avx512f", "neon", "asimd") if name in cpu_flags()]
    found = f"{platform.machine()}, torch uses {torch.backends.cpu.get_cpu_capability()}"
    return MachineFact("processor", found + (f" ({', '.join(wanted)})" if wanted else ""))


def threads() -> MachineFact:
    """Threads of torch against the cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    used = torch.get_num_threads()
    remedy = ""
    if used > cores:
        remedy = f"more threads than cores slow every step down: export OMP_NUM_THREADS={cores}."
    elif used < cores:
        remedy = f"cores lie idle; export OMP_NUM_THREADS={cores} uses them."
    return MachineFact("threads", f"{used} on {cores} cores", remedy)


def devices() -> Iterator[MachineFact]:
    """Accelerators that torch sees."""
    for i in range(torch.cuda.device_count()):
        gib = torch.cuda.get_device_properties(i).total_memory / 2**30
        yield MachineFact("device", f"cuda:{i} {torch.cuda.get_device_name(i)}, {gib:.0f} GiB")
    if torch.backends.mps.is_available():
        yield MachineFact("device", "mps (Apple)")
    if not torch.accelerator.is_available():
        hidden = shutil.which("nvidia-smi") is not None
        remedy = "there is an NVIDIA driver, but this torch cannot use it: install a CUDA build of torch."
        yield MachineFact("device", "cpu only", remedy if hidden else "")


def paths() -> Iterator[MachineFact]:
    """Which cells run on a vendor kernel, and which on the reference loop."""
    by_path: dict[str, list[str]] = {}
    for name in cells.names():
        (path,) = explain(Recurrent(name, 4, 4)).paths
        by_path.setdefault(path, []).append(name)
    for path, names in by_path.items():
        yield MachineFact(f"{path} path", ", ".join(names))


def writable() -> Iterator[MachineFact]:
    """Folders that are written to."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for what, folder in (("temporary", Path(tempfile.gettempdir())), ("cache", cache), ("here", Path.cwd())):
        parent = next((place for place in (folder, *folder.parents) if place.exists()), folder)
        free = f"{folder}, {shutil.disk_usage(parent).free / 2**30:.1f} GiB free"
        if os.access(parent, os.W_OK):
            yield MachineFact(what, free)
        else:
            yield MachineFact(what, free, "cannot be written; set TMPDIR or XDG_CACHE_HOME, or work elsewhere.")
