"""JAX: the same cells under `lax.scan`, jitted; the input's product stands outside the loop, as it should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import Absent, Problem
from gateflow.benchmarking.timing import Call


def build(problem: Problem) -> Call:
    """`jit` of the scan, or of `value_and_grad` of the sum of outputs times the cotangent."""
    try:
        import jax
        import jax.numpy as jnp

        from benchmarks.peers.jax_cells import STEPS
    except ImportError:
        raise Absent("JAX is not installed: pip install 'gateflow[bench]'") from None
    case = problem.case
    if case.precision != "fp32" or case.mode == "step":
        raise Absent("JAX is measured in fp32 over whole sequences")
    step = STEPS[case.cell]
    weights = {name: jnp.asarray(weight.numpy()) for name, weight in problem.weights.items()}
    x, cotangent = (jnp.asarray(part.detach().numpy()) for part in (problem.padded, problem.padded_cotangent))
    lengths = None if case.shape.lengths is None else jnp.asarray(case.shape.lengths)

    def output(weights: Any, x: Any) -> Any:
        return _scan(step, weights, x, lengths)

    def loss(weights: Any, x: Any) -> Any:
        return jnp.sum(output(weights, x) * cotangent)

    compute: Callable = jax.jit(output if case.mode == "inference" else jax.value_and_grad(loss, argnums=(0, 1)))
    # JAX returns before it has computed.
    return lambda: jax.block_until_ready(compute(weights, x))


def _scan(step: Callable, weights: Any, x: Any, lengths: Any) -> Any:
    """The outputs `[T, B, H]`; where a row has ended its state stands still and its output is zero."""
    import jax
    import jax.numpy as jnp

    T, B, _ = x.shape
    H = weights["weight_hh"].shape[1]
    zero = jnp.zeros((B, H))
    # Outside of the loop, as our kernels and torch's have it.
    gates = x @ weights["weight_ih"].T + weights["bias_ih"]
    if lengths is None:
        return jax.lax.scan(lambda state, g: _twice(step(weights, state, g)), (zero, zero), gates)[1]

    def ragged(state: Any, moment: Any) -> Any:
        g, valid = moment
        new = tuple(jnp.where(valid, n, old) for n, old in zip(step(weights, state, g), state, strict=True))
        return new, jnp.where(valid, new[0], 0)

    valid = (jnp.arange(T)[:, None] < lengths)[:, :, None]
    return jax.lax.scan(ragged, (zero, zero), (gates, valid))[1]


def _twice(state: Any) -> Any:
    return state, state[0]
