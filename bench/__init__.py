"""What Codat Freshness costs, measured: each module is one benchmark, and `python -m bench.NAME` runs it alone.

`make bench` runs them all and writes `results.md`.
"""
