"""Simulation of a policy: the planner that runs in Lambda, with a fleet, over days of simulated time."""
