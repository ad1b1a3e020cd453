"""What can go wrong with a local run."""


class LocalRunError(Exception):
    """Why a local run cannot go on: a sentence that says what to do. `details` are the last lines of a log."""

    def __init__(self, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.details = details
