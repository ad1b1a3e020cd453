"""Errors that end one company's or feed's turn in a tick, and no other's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.tally import Tally
from freshness.aws.event_bus import NotPublished
from freshness.aws.metrics import Metric
from freshness.aws.table import ContentionError

UNUSABLE = "A company's data cannot be stored"
"""The log message by which `doctor` finds such companies."""
_REFUSED_DATA = ("ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException")
"""The codes with which DynamoDB refuses an item for what it holds, such as one of more than 400 KB."""

logger = Logger(service="codat-freshness")


def is_refused_data(error: ClientError) -> bool:
    """Return whether DynamoDB refused a call for the data in it, and not for its own state."""
    return error.response["Error"].get("Code") in _REFUSED_DATA


@dataclass(slots=True)
class Failures:
    """What failed in a tick. `tally` counts data that cannot be stored; `temporary` is the first other error."""

    tally: Tally
    temporary: NotPublished | ContentionError | BotoCoreError | ClientError | None = None

    @contextmanager
    def collected(self, subject: Mapping[str, str]) -> Iterator[None]:
        """Collect an error that ends the turn of `subject`: an outage, or data that cannot be stored."""
        try:
            yield
        except (NotPublished, ContentionError, BotoCoreError) as error:
            self._add(error, subject)
        except ClientError as error:
            if is_refused_data(error):
                self._add_unusable(error, subject)
            else:
                self._add(error, subject)
        except ValueError as error:
            self._add_unusable(error, subject)

    def _add(
        self, error: NotPublished | ContentionError | BotoCoreError | ClientError, subject: Mapping[str, str]
    ) -> None:
        logger.warning("Left to the next tick", extra={**subject, "error": str(error)})
        self.temporary = self.temporary or error

    def _add_unusable(self, error: ValueError | ClientError, subject: Mapping[str, str]) -> None:
        logger.error(UNUSABLE, extra={**{name: ascii(value) for name, value in subject.items()}, "error": ascii(error)})
        self.tally.count(Metric.COMPANIES_UNUSABLE)

    def raise_temporary(self) -> None:
        """Raise the first error that was no fault of one company's data, so that the tick counts as failed."""
        if self.temporary:
            raise self.temporary
