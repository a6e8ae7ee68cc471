"""Speed, as ratios of limits measured in the same run: `python -m benchmarks`."""
