"""Speed next to the peers, in one process, interleaved, as ratios: `make bench`."""
