"""Keeps promises about how old the data that Codat caches for a company may be.

The core decides and is pure: `policy`, `company`, `dataset`, `feed`, `planner`. Its two edges are `codat` (HTTP)
and `store` (DynamoDB). `check`, `refresh` and `webhook` join them, one for each kind of Lambda.
"""

import gc

# What a cold start imports stays: to look through it for garbage again and again took a tenth of the start.
gc.set_threshold(100_000)
