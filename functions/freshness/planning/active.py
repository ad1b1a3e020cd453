"""Which feeds a company has."""

from collections.abc import Iterable

from freshness.domain.companies.company import Company
from freshness.domain.data_types import custom_identifier
from freshness.policy.policy import Policy

Key = tuple[str, str]
"""A data type, and the id of the connection that it is read from."""


def active_keys(policy: Policy, company: Company, known: Iterable[Key]) -> set[Key]:
    """Return the keys of a company's feeds: each data type known or named for it, from each connection that has it."""
    data_types = {data_type for data_type, _ in known} | policy.data_types_named_for(company)
    return {
        (data_type, connection.connection_id)
        for data_type in data_types
        for connection in company.active_connections(data_type)
        # Only the policy says which connections have a custom data type.
        if not custom_identifier(data_type) or policy.names(data_type, company, connection)
    }
