"""What a policy would do and cost: the planner over a fleet in simulated time, and the prices of AWS.

It needs no Codat and no AWS. `./freshness plan` gives it the real fleet, `make simulate` a generated or exported one.
"""
