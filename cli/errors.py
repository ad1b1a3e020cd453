"""Errors of a command that are no defect of the program."""


class CommandError(Exception):
    """A command could not do what it was asked for. The message says why, and what to do next."""
