"""The edge towards Codat: its HTTP API as typed calls, typed answers and typed errors."""

from freshness.codat.client import Codat

__all__ = ["Codat"]
