"""Errors of commands that are not defects of the program."""


class CommandError(Exception):
    """A command could not do what it was asked for. The message says why, and what to do next."""
