"""The errors of a local run."""


class LocalRunError(Exception):
    """A reason why a local run cannot continue, with what to do about it. `details` holds the last lines of a log."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class SettingsError(LocalRunError):
    """A setting of a local run is wrong."""
