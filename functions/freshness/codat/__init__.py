"""Codat's HTTP API and webhooks.

This file stays empty of imports: applying webhooks needs the parser but no HTTP client, which takes a tenth of a cold
start.
"""
