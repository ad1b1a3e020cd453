"""Makes text that others wrote safe to show."""

import re

HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, characters that change the direction of text, and lone surrogates."""


def shown(text: str, longest: int) -> str:
    """Shorten text that others wrote to `longest` characters, and replace unsafe characters as `cleaned` does."""
    return cleaned(text if len(text) <= longest else text[: longest - 1] + "…")


def cleaned(text: str) -> str:
    """Replace each character of `HIDDEN` by the replacement character, U+FFFD."""
    return HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def clean_lines(text: str) -> str:
    """Replace characters as `cleaned` does, but keep line breaks."""
    return "\n".join(map(cleaned, text.split("\n")))
