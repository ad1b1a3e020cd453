"""A Codat that runs on this machine: its API, the life of its datasets and its signed webhooks, made up but honest."""
