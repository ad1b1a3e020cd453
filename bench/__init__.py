"""Benchmarks of speed, size and cost: `python -m bench.NAME` runs one, and `make bench` writes all to `results.md`."""

import sys
from pathlib import Path

# The functions are bundled from their folder, and not installed.
sys.path.insert(0, str(Path(__file__).parents[1] / "functions"))
