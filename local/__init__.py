"""Runs the whole stack on one machine, with a local AWS and a Codat sandbox."""
