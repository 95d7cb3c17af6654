"""The kernels for GPUs on the card that is there: what they compute, then what they take. `make check-gpu`

    python -m benchmarks.gpu build/gpu-results [--seconds 200] [--seed 0]

First kernels are built, by as many processes as there are cores. Then every cell runs, at sizes of a pairwise kind and
some drawn at random, and is judged by the loop in float64; then layers are timed beside torch's own and the eager loop.
What was found is written into the folder, as JSON with the name of the card. Nothing beside the repository is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import json
import multiprocessing
import os
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gateflow import Recurrent, cells
from gateflow.backends.cuda.card import Card, card_of
from gateflow.backends.cuda.grid import grid
from gateflow.backends.cuda.kernel import loop_of
from gateflow.backends.cuda.machine import Machine
from gateflow.backends.cuda.nvrtc import cubin
from gateflow.cells import Cell
from gateflow.compiler import Step, look_at
from gateflow.compiler.node import Sizes
from gateflow.errors import BuildError, ReferencePathWarning
from gateflow.recurrence import force_path, run_layer

NEAR = {"float32": 3e-6, "bfloat16": 4e-3}
"""What a run may be apart from float64, relative, beside twice what the loop in the same precision is."""
SIZES, BATCHES = (100, 128, 512, 768), (1, 5, 16, 64)
PRECISIONS = ((torch.float32, False), (torch.float32, True), (torch.bfloat16, False), (torch.float16, False))
"""Of torch's own layers, and whether float32 may be TF32."""
OTHERS = ((128, 16), (256, 16), (768, 16), (1024, 16), (512, 1), (512, 64), (256, 64), (512, 256))
"""Sizes and batches at which LSTM and GRU are timed, beside the one for all cells."""
TIMED = ("lstm", "gru", "elman", "full_gru", "peephole_lstm", "layernorm_lstm")


@dataclass(frozen=True)
class Case:
    """One run: a layer of one cell, ragged or not, in one direction or both."""

    cell: str
    H: int
    B: int
    T: int
    ragged: bool
    directions: int
    precision: str
    seed: int

    def cells(self) -> tuple[Cell, ...]:
        torch.manual_seed(self.seed)
        return tuple(cells.get(self.cell)(37, self.H).cuda() for _ in range(self.directions))


def cases(seed: int) -> list[Case]:
    """Every cell at small sizes; then sizes, batches, lengths, directions and precisions that meet in pairs."""
    chance = random.Random(seed)
    found = [Case(name, 100, 5, 9, True, 2, "float32", k) for k, name in enumerate(cells.names())]
    for k, name in enumerate(["lstm", "gru", "full_gru", "peephole_lstm", "layernorm_lstm", "elman"] * 6):
        H, B = SIZES[k % 4], BATCHES[(k // 4 + k) % 4]
        precision = "bfloat16" if k % 3 == 0 else "float32"
        found.append(Case(name, H, B, chance.choice([1, 5, 33]), k % 2 == 0, 1 + k // 2 % 2, precision, k))
    for k in range(12):
        name, H, B = chance.choice(cells.names()), chance.choice(SIZES), chance.choice(BATCHES)
        ragged, directions = chance.random() < 0.5, chance.choice([1, 2])
        precision = chance.choice(["float32", "bfloat16"])
        found.append(Case(name, H, B, chance.randint(1, 33), ragged, directions, precision, 1000 * seed + k))
    return found


class Needed(NamedTuple):
    """What a run needs kernels for; a run that is timed has no gradients at first."""

    cell: str
    inputs: int
    H: int
    B: int
    rounded: bool
    timed: bool


def kernels(needed: Iterable[Needed], card: Machine) -> Iterator[tuple[str, str, dict[str, int]]]:
    """The texts that runs need, and for what each is built."""
    for each in needed:
        cell = cells.get(each.cell)(each.inputs, each.H)
        step = look_at(cell, zoneout=False)
        assert isinstance(step, Step)
        sizes = Sizes(H=each.H, P=next(iter(cell.state_sizes.values())), I=cell.row_size)
        for which in ("infer", "train", "backward") if each.timed else ("train", "backward"):
            loop = loop_of(step.cell, which)
            matrix_units = each.rounded and not loop.exchange.reads_lines
            with contextlib.suppress(BuildError):
                cut = grid(loop.exchange, sizes, each.B, card, matrix_units=matrix_units)
                yield loop.text, which, loop.variant(cut).definitions()


def build(needed: Iterable[Needed], card: Card) -> dict[str, Any]:
    """Builds what the runs need; a process each, since one text takes seconds."""
    begin, texts = time.time(), {repr(each): each for each in kernels(needed, card)}
    tasks = [(text, card.architecture, definitions) for text, _, definitions in texts.values()]
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_build, tasks))
    return {"kernels": len(texts), "seconds": round(time.time() - begin, 1)}


def _build(kernel: tuple[str, str, dict[str, int]]) -> None:
    cubin(*kernel)


def outcome(case: Case, path: str, dtype: torch.dtype, narrow: bool) -> dict[str, Tensor]:
    """What comes out and the gradients of what goes in."""
    layers = tuple(copy.deepcopy(cell).to(dtype) for cell in case.cells())
    generator = torch.Generator().manual_seed(case.seed + 1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to("cuda", dtype).requires_grad_()

    x = draw(case.T, case.B, layers[0].row_size)
    states = tuple(tuple(draw(case.B, n) for n in cell.state_sizes.values()) for cell in layers)
    lengths = torch.randint(0, case.T + 1, (case.B,), generator=generator).cuda() if case.ragged else None
    with force_path(path), torch.autocast("cuda", torch.bfloat16, enabled=narrow):
        ys, finals = run_layer(layers, x, states, lengths)
    outputs = [*ys, *(part for final in finals for part in final)]
    cotangents = [torch.randn(y.shape, generator=generator).to(y) for y in outputs]
    inputs = {"x": x} | {f"state {d}.{k}": s for d, state in enumerate(states) for k, s in enumerate(state)}
    inputs |= {f"{n} {d}": w for d, cell in enumerate(layers) for n, w in cell.named_parameters()}
    gradients = torch.autograd.grad(outputs, list(inputs.values()), cotangents, materialize_grads=True)
    found = {f"output {k}": y.detach() for k, y in enumerate(outputs)}
    return found | {f"gradient of {name}": g for name, g in zip(inputs, gradients, strict=True)}


def far(found: Tensor, wanted: Tensor) -> float:
    """The distance, relative to the size of what was wanted."""
    scale = wanted.double().norm().clamp(min=1e-6 * max(1, wanted.numel()) ** 0.5)
    return float(((found.double() - wanted.double()).norm() / scale).nan_to_num(torch.inf))


def judge(case: Case) -> dict[str, Any]:
    """How far the kernels and the loop of the same precision are from the loop in float64."""
    narrow = case.precision == "bfloat16"
    wanted = outcome(case, "reference", torch.float64, False)
    loop = outcome(case, "reference", torch.float32, narrow)
    ours = outcome(case, "native", torch.float32, narrow)
    loop_far = {name: far(loop[name], value) for name, value in wanted.items()}
    ours_far = {name: far(ours[name], value) for name, value in wanted.items()}
    # By the worst of the loop's: which of its results is hit by a cell's poor condition is a matter of chance.
    most = 2 * max(loop_far.values()) + NEAR[case.precision]
    wrong = {name: [gap, loop_far[name]] for name, gap in ours_far.items() if not gap <= most}
    return asdict(case) | {"worst": max(ours_far.values()), "loop": max(loop_far.values()), "wrong": wrong}


def habits() -> Iterator[tuple[str, Callable[[], bool]]]:
    """What else is promised: how the kernels behave in a program."""
    torch.manual_seed(1)
    cell, x = cells.LSTM(37, 64).cuda(), torch.randn(7, 24, 37, device="cuda")

    def run(x: Tensor) -> Tensor:
        start = tuple(x.new_zeros(x.shape[1], 64) for _ in range(2))
        with force_path("native"):
            return run_layer((cell,), x, (start,))[0][0]

    def no_synchronisation() -> bool:
        run(x).sum().backward()
        torch.cuda.set_sync_debug_mode("error")
        try:
            run(x).sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return True

    def alone_as_in_a_batch() -> bool:
        # Of the loop itself: the large product of the input before it is torch's, which sums by the number of lines.
        with torch.no_grad():
            start = tuple(torch.randn(24, 64, device="cuda") for _ in range(2))
            with force_path("native"):
                whole = run_layer((cell,), 0 * x, (start,))[0][0]
                alone = [run_layer((cell,), 0 * x[:, :1], (tuple(s[k : k + 1] for s in start),)) for k in (0, 13, 23)]
            return all(torch.equal(one[0][0][:, 0], whole[:, k]) for one, k in zip(alone, (0, 13, 23), strict=True))

    def the_same_twice() -> bool:
        with torch.no_grad():
            return torch.equal(run(x), run(x))

    def captured() -> bool:
        graph, still = torch.cuda.CUDAGraph(), x.clone()
        with torch.no_grad():
            run(still)
            with torch.cuda.graph(graph):
                made = run(still)
            still.copy_(x * 0.5)
            graph.replay()
            return torch.equal(made, run(x * 0.5))

    def twice_differentiated() -> bool:
        given = x[:3, :2].clone().requires_grad_()
        (first,) = torch.autograd.grad(run(given).sum(), given, create_graph=True)
        first.square().sum().backward()
        return bool(given.grad is not None and given.grad.abs().sum() > 0)

    def on_another_stream() -> bool:
        with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda.current_stream().wait_stream(torch.cuda.default_stream())
            aside = run(x)
            torch.cuda.current_stream().synchronize()
            return torch.equal(aside, run(x))

    def in_one_graph() -> bool:
        layer = Recurrent("lstm", 37, 64).cuda()
        compiled = torch.compile(layer, fullgraph=True, backend="eager")
        with torch.no_grad(), force_path("native"):
            whole = layer(x)[0]
        with torch.no_grad():
            return torch.equal(compiled(x)[0], whole)

    for each in (no_synchronisation, alone_as_in_a_batch, the_same_twice, captured, twice_differentiated, in_one_graph):
        yield each.__name__, each
    yield on_another_stream.__name__, on_another_stream


def milliseconds(run: Callable[[], object], rounds: int = 5) -> tuple[float, float]:
    """The median of a few runs by the card's own clock, and what the host takes for one.

    The runs are asked for one after the other, as in a training: while one runs, the host prepares the next.
    """
    for _ in range(2):
        run()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(rounds + 1)]
    torch.cuda.synchronize()
    events[0].record()
    for event in events[1:]:
        run()
        event.record()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    run()
    host = 1000 * (time.perf_counter() - begin)
    torch.cuda.synchronize()
    # The first run has waited for the host.
    times = [first.elapsed_time(last) for first, last in itertools.pairwise(events[1:])]
    return statistics.median(times), host


def timed(what: str, forward: Callable[[Tensor], Tensor], x: Tensor, rounds: int = 5, **words: Any) -> dict[str, Any]:
    """The times of one layer: forward without gradients, and a training step."""
    T, B, H = x.shape
    with torch.no_grad():
        one, _ = milliseconds(lambda: forward(x), rounds)
    like = torch.randn_like(forward(x))
    x = x.clone().requires_grad_()
    both, host = milliseconds(lambda: forward(x).backward(like), rounds)
    found = {"kind": "time", "peer": what, "T": T, "B": B, "H": H, **words}
    found |= {"forward_ms": round(one, 3), "training_ms": round(both, 3), "host_ms": round(host, 2)}
    return found | {"step_us": round(1000 * one / T, 2), "training_us": round(1000 * both / T, 2)}


def ours(name: str, precision: str, T: int, B: int, H: int, path: str = "native", rounds: int = 5) -> dict[str, Any]:
    """One layer of ours."""
    torch.manual_seed(0)
    cell, x = cells.get(name)(H, H).cuda(), torch.randn(T, B, H, device="cuda")

    def forward(x: Tensor) -> Tensor:
        start = tuple(x.new_zeros(B, n) for n in cell.state_sizes.values())
        with force_path(path), torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            return run_layer((cell,), x, (start,))[0][0]

    peer = "gateflow" if path == "native" else f"gateflow, {path}"
    return timed(peer, forward, x, rounds, cell=name, precision=precision)


def torchs(name: str, dtype: torch.dtype, tf32: bool, T: int, B: int, H: int) -> dict[str, Any]:
    """One layer of torch's."""
    torch.manual_seed(0)
    layer = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.RNN}[name](H, H).cuda().to(dtype)
    x = torch.randn(T, B, H, device="cuda", dtype=dtype)
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, tf32
    precision = "tf32" if tf32 else str(dtype).removeprefix("torch.")
    try:
        return timed("torch.nn", lambda x: layer(x)[0], x, cell=name, precision=precision)
    finally:
        torch.backends.cudnn.allow_tf32 = before


def times() -> Iterator[Callable[[], dict[str, Any]]]:
    """What is timed, the most important first."""
    for name in TIMED:
        for precision in ("float32", "bfloat16"):
            yield lambda name=name, precision=precision: ours(name, precision, 1024, 16, 512)
    for H, B in OTHERS:
        for name in ("lstm", "gru"):
            for precision in ("float32", "bfloat16"):
                yield lambda name=name, precision=precision, H=H, B=B: ours(name, precision, 512, B, H)
    for name in ("lstm", "gru"):
        for H, B in ((512, 16), *OTHERS):
            for dtype, tf32 in PRECISIONS:
                yield lambda name=name, dtype=dtype, tf32=tf32, H=H, B=B: torchs(name, dtype, tf32, 512, B, H)
    for name in ("full_gru", "layernorm_lstm"):
        yield lambda name=name: ours(name, "float32", 128, 16, 512, "reference", 2)


def needed_for_times() -> set[Needed]:
    found = {Needed(name, 512, 512, 16, rounded, True) for name in TIMED for rounded in (False, True)}
    for H, B in OTHERS:
        found |= {Needed(name, H, H, B, rounded, True) for name in ("lstm", "gru") for rounded in (False, True)}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=200, help="after which nothing new is begun")
    parser.add_argument("--seed", type=int, default=int(time.time()) // 86400, help="of what is drawn at random")
    parser.add_argument("--cases", type=int, default=1000, help="how many are judged at most")
    given = parser.parse_args()
    begin, name = time.time(), torch.cuda.get_device_name()
    # A loop in place of a kernel, as a backward pass has it where none can be launched, is no figure of kernels.
    warnings.simplefilter("error", ReferencePathWarning)
    torch.backends.cuda.matmul.allow_tf32 = False
    found: dict[str, Any] = {"card": name, "torch": torch.__version__, "seed": given.seed, "figures": []}
    chosen = cases(given.seed)[: given.cases]
    card = card_of(torch.device("cuda"))
    needed = [Needed(c.cell, 37, c.H, c.B, c.precision == "bfloat16", False) for c in chosen]
    needed += [Needed("lstm", 37, 64, B, False, True) for B in (1, 24)]
    found["build"] = build([*needed, *needed_for_times()], card)
    print(name, found["build"], f"{time.time() - begin:.0f} s", flush=True)
    wrong = 0
    for case in chosen:
        if time.time() - begin > 0.6 * given.seconds:
            break
        try:
            judged = judge(case)
        except Exception as problem:  # noqa: BLE001  (what is wrong with one case must not hide the others)
            judged = asdict(case) | {"error": f"{type(problem).__name__}: {problem}"[:300]}
        bad = bool(judged.get("wrong") or "error" in judged)
        wrong += bad
        found["figures"].append({"kind": "case", **judged})
        if bad:
            print("WRONG", json.dumps(judged)[:600], flush=True)
        if "CUDA error" in judged.get("error", ""):
            break  # of a context that is broken nothing can be asked
    for what, holds in habits():
        try:
            said = "yes" if holds() else "NO"
        except Exception as problem:  # noqa: BLE001
            said = f"{type(problem).__name__}: {problem}"[:300]
        wrong += said != "yes"
        found["figures"].append({"kind": "habit", "what": what, "holds": said})
        print(what, said, flush=True)
    judged = [f for f in found["figures"] if f["kind"] == "case"]
    print(f"{len(judged)} cases, {wrong} wrong, {time.time() - begin:.0f} s", flush=True)
    for one in times():
        if time.time() - begin > given.seconds:
            break
        try:
            figure = one()
        except Exception as problem:  # noqa: BLE001
            figure = {"kind": "time", "error": f"{type(problem).__name__}: {problem}"[:300]}
        found["figures"].append(figure)
        print(*(f"{key}={value}" for key, value in figure.items() if key != "kind"), flush=True)
    given.folder.mkdir(parents=True, exist_ok=True)
    (given.folder / f"{name.removeprefix('NVIDIA ').replace(' ', '-')}.json").write_text(json.dumps(found, indent=1))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
