"""What a tighter promise would cost: the same policy, but for one data type."""

from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

from freshness.domain.data_types import DATA_TYPES
from freshness.policy.policy import Policy
from freshness.policy.values import Duration


class TighterError(ValueError):
    """What was asked for is not a data type and a duration."""


def tightened(policy: Policy, wish: str) -> Policy:
    """The policy with `fresh_within` of one data type as wished, "invoices=1 hour", wherever it is longer.

    Raises:
        TighterError: it is not of that form.
    """
    data_type, _, duration = wish.partition("=")
    if data_type not in DATA_TYPES or not duration:
        raise TighterError(f'expected a data type and a duration, such as "invoices=1 hour", got "{wish}"')
    try:
        bound: timedelta = TypeAdapter(Duration).validate_python(duration)
    except ValidationError as error:
        raise TighterError(f'"{wish}": {error.errors()[0]["ctx"]["error"]}') from error
    return policy.with_upper_bound(data_type, bound)
