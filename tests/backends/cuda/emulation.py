"""A card emulated on a CPU: the text of a kernel as C++, a lane a fiber (`emulated.h`)."""

from __future__ import annotations

import ctypes
import functools
import hashlib
from pathlib import Path

import gateflow.backends.cuda as package
from gateflow.backends.cpu.build import build, load
from gateflow.backends.cuda.machine import Function, Machine
from gateflow.errors import KernelError

FOLDERS = (Path(__file__).parent, Path(package.__file__).parent / "native")

_ENTRY = """
#pragma GCC visibility push(default)
extern "C" int emulated_{name}(void* call, int blocks, int64_t bytes, unsigned seed) {{
    const auto lane = [](void* given) {{ {name}(*static_cast<const gateflow::{name}::Arguments*>(given)); }};
    return gateflow::emulated::run(lane, call, blocks, gateflow::threads, bytes / 4, seed);
}}
#pragma GCC visibility pop
"""


class EmulatedFunction(Function):
    def __init__(self, function, seed):
        self.function, self.seed = function, seed

    def __call__(self, blocks, shared, arguments):
        address = ctypes.c_void_p(arguments.buffer_info()[0])
        if self.function(address, blocks, ctypes.c_int64(shared), self.seed):
            raise KernelError("a block waited for what never came")


class Emulation(Machine):
    """A card of a few multiprocessors."""

    def __init__(self, processors=3, shared=64 << 10, warps=(2, 3), seed=0):
        self.processors, self.shared, self.warps, self.seed = processors, shared, warps, seed

    def function(self, text, name, variant):
        return EmulatedFunction(_built(text, name, variant), self.seed)


@functools.cache
def _built(text, name, variant):
    headers = [path.read_text() for folder in FOLDERS for path in sorted(folder.glob("*.*h"))]
    flags = [f"-D{key}={value}" for key, value in variant.definitions().items()]
    flags += [f"-I{folder}" for folder in FOLDERS] + ["-O1"]
    # The headers are not those that `build` knows of, so the text names them by what they say.
    source = text + _ENTRY.format(name=name) + f"// {_digest(headers)}\n"
    return getattr(load(build(source, extra_flags=tuple(flags))), f"emulated_{name}")


def _digest(texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
