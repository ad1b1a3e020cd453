"""Benchmarks of speed, size and cost: `make bench` runs all, and writes `results.md` and `details.md`."""

import sys
from pathlib import Path

# The functions are bundled from their folder, and neither they nor the sandbox are installed.
sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("functions", "codat-sandbox")]
