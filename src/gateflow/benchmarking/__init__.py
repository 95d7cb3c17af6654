"""What `gateflow bench` and the benchmarks of the repository share: fair timing, and what is timed beside gateflow."""
