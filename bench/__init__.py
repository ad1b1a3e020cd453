"""Benchmarks of speed, size and cost: `python -m bench.NAME` runs one, and `make bench` writes all to `results.md`."""

import sys
from pathlib import Path

# The functions are bundled from their folder, and neither they nor the sandbox are installed.
sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("functions", "codat-sandbox")]
