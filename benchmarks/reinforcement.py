"""RecurrentPPO of sb3-contrib on CartPole, with torch's LSTM and with ours in its place.

    pip install stable-baselines3 sb3-contrib gymnasium
    python -m benchmarks.reinforcement [--steps 2000] [--rounds 3] [--busy]

Each training runs in a process of its own, in turns; ours is `torch.nn.LSTM` replaced before sb3-contrib is imported.
Seconds of the training alone. With `--busy` another process keeps one core busy meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from contextlib import nullcontext

from rich.console import Console
from rich.table import Table

from benchmarks.stress import busy_cores
from gateflow.benchmarking.machine import machine

PROGRAM = """
import sys, time, warnings
import torch
warnings.simplefilter("ignore")
if sys.argv[1] == "gateflow":
    import gateflow
    torch.nn.LSTM = gateflow.LSTM
from sb3_contrib import RecurrentPPO

model = RecurrentPPO("MlpLstmPolicy", "CartPole-v1", seed=0, verbose=0, device="cpu")
model.learn(128)
begun, worked = time.perf_counter(), time.process_time()
model.learn(int(sys.argv[2]))
print(time.perf_counter() - begun, time.process_time() - worked)
"""
PEERS = ("gateflow", "torch.nn")


def seconds(peer: str, steps: int) -> tuple[float, float]:
    """Of one training, after a first round that builds kernels, and of processors in it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, peer, str(steps)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr.strip().splitlines()[-1])
    whole, worked = map(float, done.stdout.split()[-2:])
    return whole, worked


def main() -> None:
    """Print a line per peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", action="store_true", help="beside one process that keeps a core busy")
    chosen = parser.parse_args()
    table = Table("LSTM", "seconds", "of torch's", "of processors", "of torch's")
    table.title = f"RecurrentPPO, CartPole, {machine()['cpu']}; medians"
    with busy_cores(1, seconds=3600) if chosen.busy else nullcontext():
        turns = [{peer: seconds(peer, chosen.steps) for peer in PEERS} for _ in range(chosen.rounds)]
    found = {peer: [turn[peer] for turn in turns] for peer in PEERS}
    medians = {p: [statistics.median(each) for each in zip(*times, strict=True)] for p, times in found.items()}
    for peer, both in medians.items():
        beside = zip(both, medians["torch.nn"], strict=True)
        table.add_row(peer, *(word for ours, theirs in beside for word in (f"{ours:.2f}", f"{ours / theirs:.2f}")))
    Console().print(table)


if __name__ == "__main__":
    main()
