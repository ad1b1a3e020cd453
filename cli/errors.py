"""What can go wrong with a command, and is no mistake of the program."""


class CommandError(Exception):
    """Why a command could not do what was asked: a sentence, and what to do next."""
