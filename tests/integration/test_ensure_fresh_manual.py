"""The examples of `docs/ensure-fresh.md`."""
