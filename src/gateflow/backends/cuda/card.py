"""A card, by its driver: kernels loaded and launched, through ctypes."""

from __future__ import annotations

import ctypes
import functools
import os
from array import array
from typing import Any

import torch

from gateflow.backends.cache import check_owner
from gateflow.backends.cuda.machine import Function, Machine, Variant
from gateflow.backends.cuda.nvrtc import cubin, obstacle
from gateflow.errors import BuildError, KernelError

__all__ = ["Card", "card_of", "why_no_card"]

WARPS = (16, 8)
"""Of a block: 512 threads may have 128 registers each, 256 as many as there are. Matrix units need fewer to be busy,
and what each warp has of a sum must be added up (an LSTM of 512 units took 3.9 µs a step with 16, and 3.0 with 8)."""
OLDEST = 8
"""The compute capability from which on kernels are built: Ampere, of 2020. They need nothing newer than Volta has."""

# Names of the driver's API (cuda.h).
_MOST_SHARED_MEMORY = 8
_SHARED_MEMORY = 97
_TOO_LARGE = 720


def why_no_card() -> str | None:
    """Why no kernel for a GPU can be built or launched here, in words; none where they can."""
    driver = _driver()
    return driver if isinstance(driver, str) else obstacle()


@functools.cache
def card_of(device: torch.device) -> Card:
    """The card of a device."""
    return Card(torch.cuda.current_device() if device.index is None else device.index)


class Card(Machine):
    """One card.

    Args:
        index: torch's number of it.
    """

    warps = WARPS

    def __init__(self, index: int):
        self.index, properties = index, torch.cuda.get_device_properties(index)
        self.processors = properties.multi_processor_count
        self.shared = _attribute(index, _SHARED_MEMORY)
        self.architecture = f"sm_{properties.major}{properties.minor}"
        self.is_old = properties.major < OLDEST
        # Of the host, so that it can be read when nothing of the card can any more.
        self.given_up = torch.zeros(1, dtype=torch.int64).pin_memory()
        self.functions = dict[tuple[str, str, Variant], CardFunction]()

    def function(self, text: str, name: str, variant: Variant) -> CardFunction:
        """The kernel, loaded once."""
        if self.is_old:
            raise BuildError(f"kernels are built for cards from sm_{OLDEST}0 on, this one is {self.architecture}")
        key = text, name, variant
        if key not in self.functions:
            self.functions[key] = CardFunction(self, self._loaded(text, name, variant), variant.warps)
        return self.functions[key]

    def captures(self) -> bool:
        """Whether the current stream captures a graph."""
        return torch.cuda.is_current_stream_capturing()

    def wait(self) -> None:
        """Once for each cut of a run."""
        torch.cuda.synchronize(self.index)

    def failure(self) -> int:
        """The address of the number that a kernel sets when it gives up."""
        return self.given_up.data_ptr()

    def refuse_if_failed(self) -> None:
        """
        Raises:
            KernelError: a kernel has given up.
        """
        if int(self.given_up[0]):
            raise KernelError(
                f"a kernel on cuda:{self.index} waited 20 s for another part of itself and gave up: the card is shared "
                "with work that keeps it from running, or a debugger holds it. Start the program again; "
                'gateflow.recurrence.force_path("reference") runs without such kernels'
            )

    def _loaded(self, text: str, name: str, variant: Variant) -> ctypes.c_void_p:
        path = cubin(text, self.architecture, variant.definitions())
        check_owner(path.parent)
        check_owner(path)
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        with torch.cuda.device(self.index):
            _make_current(self.index)
            _call("cuModuleLoadData", ctypes.byref(module), path.read_bytes())
            _call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        return function


class CardFunction(Function):
    """A kernel on a card."""

    def __init__(self, card: Card, handle: ctypes.c_void_p, warps: int):
        self.card, self.handle, self.warps, self.most = card, handle, warps, 0

    def __call__(self, blocks: int, shared: int, arguments: array[int]) -> None:
        """On the current stream of the card; all blocks at the same time, or not at all."""
        self.card.refuse_if_failed()
        given = (ctypes.c_void_p * 1)(arguments.buffer_info()[0])
        with torch.cuda.device(self.card.index):
            _make_current(self.card.index)
            if shared > self.most:
                _call("cuFuncSetAttribute", self.handle, _MOST_SHARED_MEMORY, shared)
                self.most = shared
            stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
            size = [ctypes.c_uint(n) for n in (blocks, 1, 1, 32 * self.warps, 1, 1, shared)]
            _call("cuLaunchCooperativeKernel", self.handle, *size, stream, given)


def _attribute(index: int, which: int) -> int:
    found, device = ctypes.c_int(), ctypes.c_int()
    _call("cuDeviceGet", ctypes.byref(device), index)
    _call("cuDeviceGetAttribute", ctypes.byref(found), which, device)
    return found.value


def _make_current(index: int) -> None:
    """A thread of autograd may have no context yet, and the driver launches in that of the thread."""
    context, device = ctypes.c_void_p(), ctypes.c_int()
    _call("cuCtxGetCurrent", ctypes.byref(context))
    if not context.value:
        _call("cuDeviceGet", ctypes.byref(device), index)
        _call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        _call("cuCtxSetCurrent", context)


def _call(name: str, *arguments: Any) -> None:
    driver = _driver()
    if isinstance(driver, str):
        raise BuildError(driver)
    code = getattr(driver, name)(*arguments)
    if code == _TOO_LARGE:
        raise BuildError("the card has too few free multiprocessors to run all blocks of a step at the same time")
    if code:
        words = ctypes.c_char_p()
        driver.cuGetErrorName(code, ctypes.byref(words))
        raise BuildError(f"CUDA's driver refuses {name}: {(words.value or b'unknown').decode()}")


@functools.cache
def _driver() -> Any:
    """The driver's library; why there is none, in words."""
    if os.name != "posix":
        return "kernels for GPUs run on Linux only"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as problem:
        return f"CUDA's driver cannot be loaded ({problem})"
