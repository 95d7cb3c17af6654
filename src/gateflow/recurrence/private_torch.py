"""The functions of torch that are private and that we call all the same, since torch has no public ones for it.

They are looked up once, here, so that a version of torch that has lost one is named by the message.
`tests/recurrence/test_private_torch.py` asks of each what it is called for, and lets nothing else of `torch._C` in.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch

__all__ = ["any_autocast", "dispatch_modes", "is_legacy_batched", "tracing_state", "transforms"]


def looked_up(name: str) -> Any:
    """A function of `torch._C`.

    Raises:
        RuntimeError: this version of torch has none of that name.
    """
    try:
        return reduce(getattr, name.split("."), torch._C)
    except AttributeError:
        raise RuntimeError(
            f"torch {torch.__version__} has no torch._C.{name}, which gateflow calls and torch 2.13 has: install "
            "torch 2.13, or a gateflow that knows this one."
        ) from None


tracing_state = looked_up("_get_tracing_state")
"""Of `torch.jit.trace`; none where it is not at work."""
transforms = looked_up("_functorch.peek_interpreter_stack")
"""The innermost transform of `torch.func`; none where none is at work."""
is_legacy_batched = looked_up("_functorch.is_legacy_batchedtensor")
"""Whether a gradient is many at once, as `is_grads_batched` asks for them."""
dispatch_modes = looked_up("_len_torch_dispatch_stack")
"""How many `TorchDispatchMode` are at work."""
any_autocast = looked_up("_is_any_autocast_enabled")
"""Whether autocast is on for any kind of device."""
