"""Our figures beside other people's, measured in the same run: `python -m benchmarks cpu --json`."""
