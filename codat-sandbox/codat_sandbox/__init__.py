"""A local Codat for development and tests: its HTTP API, the datasets behind it, and signed webhooks."""
