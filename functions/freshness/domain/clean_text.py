"""Text that others wrote, as it can be shown."""

import re

HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, characters that change the direction of text, and lone surrogates."""


def shown(text: str, longest: int) -> str:
    """Return text that others wrote as it can be shown: shortened, and without characters that hide or move others."""
    return cleaned(text if len(text) <= longest else text[: longest - 1] + "…")


def cleaned(text: str) -> str:
    """Return text without characters that hide or move others."""
    return HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def clean_lines(text: str) -> str:
    """Return lines of text without characters that hide or move others."""
    return "\n".join(map(cleaned, text.split("\n")))
