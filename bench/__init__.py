"""What Codat Freshness costs, measured: each module is one benchmark, and `python -m bench.NAME` runs it alone.

`make bench` runs them all and writes `results.md`.
"""

import sys
from pathlib import Path

# What runs in Lambda is bundled from its folder, never installed.
sys.path.insert(0, str(Path(__file__).parents[1] / "functions"))
