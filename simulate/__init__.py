"""Simulations: what a policy would do to a fleet (`python -m simulate`), and the deployed system in simulated time.

The first (`estimate.days`) runs only the planner, and is fast enough for large fleets. The second (`simulate.loop`)
also runs the ticks, webhooks and tables, against the sandbox's model of Codat, for tests and benchmarks.
"""
