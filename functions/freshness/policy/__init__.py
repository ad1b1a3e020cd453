"""The policy: what `freshness.toml` promises, and within which limits it is kept."""

from freshness.policy.file import load
from freshness.policy.mistakes import PolicyError
from freshness.policy.promise import Promise
from freshness.policy.tables import Budget, ConsistencySet, Policy
from freshness.policy.window import Window

__all__ = ["Budget", "ConsistencySet", "Policy", "PolicyError", "Promise", "Window", "load"]
