"""What `gateflow bench` and the benchmarks of the repository share: fair timing, and what gateflow is compared with."""
