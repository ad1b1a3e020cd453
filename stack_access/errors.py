"""Errors of a deployed stack."""


class StackError(Exception):
    """A stack was not found, or one of its functions failed. The message says what to do."""
