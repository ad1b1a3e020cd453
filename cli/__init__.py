"""The command line for the person on call: `./freshness`, one command in each file.

It reads the tables, writes a person's wishes to them, and starts a tick where one should act at once. What is to be
refreshed and why is decided by `freshness`, here as in Lambda.
"""
