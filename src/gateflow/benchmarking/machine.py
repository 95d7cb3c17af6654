"""What the figures hold for: processor, threads, versions, and how busy the machine was."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch


def machine() -> dict[str, object]:
    """Facts that belong to every figure.

    Example:
        >>> machine()["versions"]["gateflow"]
        '0.1.0'
    """
    return {
        "cpu": _info("model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16": " ".join(sorted({"amx_bf16", "avx512_bf16", "bf16"} & set(_info("flags").split()))) or "emulated",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("gateflow", "torch", "jax", "onnxruntime")},
    }


def _info(field: str) -> str:
    """What Linux says of the first processor; "" elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith(field)), "")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
