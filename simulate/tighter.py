"""The `--tighter` option: the same policy, with a shorter `fresh_within` of one data type."""

from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

from freshness.domain.data_types import DATA_TYPES
from freshness.policy.file.values import Age
from freshness.policy.policy import Policy


class TighterError(ValueError):
    """The value of the option is not a data type and a duration."""


def tighten(policy: Policy, change: str) -> Policy:
    """Return the policy with a change such as "invoices=1 hour", which replaces each longer `fresh_within`.

    Raises:
        TighterError: the change is not a data type and a duration.
    """
    data_type, _, duration = change.partition("=")
    if data_type not in DATA_TYPES or not duration:
        raise TighterError(f'expected a data type and a duration, such as "invoices=1 hour", got "{change}"')
    try:
        fresh_within: timedelta = TypeAdapter(Age).validate_python(duration)
    except ValidationError as error:
        raise TighterError(f'"{change}": {error.errors()[0]["ctx"]["error"]}') from error
    return policy.with_upper_bound(data_type, fresh_within)
