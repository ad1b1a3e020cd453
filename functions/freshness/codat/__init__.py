"""The edge towards Codat: its HTTP API as typed calls, typed answers and typed errors.

It imports nothing: applying webhooks needs what Codat sends, but no HTTP client, which takes a tenth of a cold start.
"""
