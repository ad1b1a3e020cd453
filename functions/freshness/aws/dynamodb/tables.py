"""The four tables together."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from freshness.aws.dynamodb.audit_log import AuditLog
from freshness.aws.dynamodb.companies import Companies
from freshness.aws.dynamodb.company_items import CompanyItems
from freshness.aws.dynamodb.control import Control
from freshness.aws.dynamodb.control_items.attainment import AttainmentRecords
from freshness.aws.dynamodb.control_items.freshness_requests import FreshnessRequests
from freshness.aws.dynamodb.control_items.learned import Learned
from freshness.aws.dynamodb.control_items.listings import Listings
from freshness.aws.dynamodb.control_items.policy_versions import PolicyVersions
from freshness.aws.dynamodb.control_items.spending import Spending
from freshness.aws.dynamodb.datasets import Datasets
from freshness.aws.dynamodb.feeds import Feeds
from freshness.aws.dynamodb.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True, kw_only=True)
class TableNames:
    """The names of the tables."""

    companies: str
    feeds: str
    datasets: str
    control: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The repositories. May be used from several threads."""

    companies: Companies
    feeds: Feeds
    datasets: Datasets
    control: Control
    learned: Learned
    listings: Listings
    policies: PolicyVersions
    requests: FreshnessRequests
    attainment: AttainmentRecords
    spending: Spending
    company_items: CompanyItems
    audit: AuditLog

    @classmethod
    def open(cls, dynamodb: "DynamoDBClient", names: TableNames, sleep: Callable[[float], object] = time.sleep) -> Self:
        """Return the repositories of the tables with these names. Nothing is read yet."""
        return cls(
            companies=Companies(Table(dynamodb, names.companies, sleep)),
            feeds=Feeds(Table(dynamodb, names.feeds, sleep)),
            datasets=Datasets(Table(dynamodb, names.datasets, sleep)),
            control=Control(Table(dynamodb, names.control, sleep)),
            learned=Learned(Table(dynamodb, names.control, sleep)),
            listings=Listings(Table(dynamodb, names.control, sleep)),
            policies=PolicyVersions(Table(dynamodb, names.control, sleep)),
            requests=FreshnessRequests(Table(dynamodb, names.control, sleep)),
            attainment=AttainmentRecords(Table(dynamodb, names.control, sleep)),
            spending=Spending(Table(dynamodb, names.control, sleep)),
            company_items=CompanyItems(
                *(
                    Table(dynamodb, name, sleep)
                    for name in (names.companies, names.feeds, names.datasets, names.control)
                )
            ),
            audit=AuditLog(Table(dynamodb, names.feeds, sleep)),
        )
