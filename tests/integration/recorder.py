"""A bus that nobody listens to, and that remembers what was published on it."""

from collections.abc import Sequence

from freshness.aws.event_bus import Bus, News


class Recorder(Bus):
    """Remembers what was published."""

    def __init__(self) -> None:
        self.published: list[News] = []

    def publish(self, news: Sequence[News]) -> None:
        """Remember it."""
        self.published += news

    @property
    def told(self) -> list[str]:
        """The kinds of what was published."""
        return [news.detail_type for news in self.published]
