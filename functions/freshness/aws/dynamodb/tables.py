"""The four tables together."""

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Self

from freshness.aws.dynamodb.audit_log import AuditLog
from freshness.aws.dynamodb.companies import Companies
from freshness.aws.dynamodb.company_items import CompanyItems
from freshness.aws.dynamodb.control import Control
from freshness.aws.dynamodb.control_items.attainment import AttainmentRecords
from freshness.aws.dynamodb.control_items.freshness_requests import FreshnessRequests
from freshness.aws.dynamodb.control_items.learned import Learned
from freshness.aws.dynamodb.control_items.policy_versions import PolicyVersions
from freshness.aws.dynamodb.control_items.spending import Spending
from freshness.aws.dynamodb.datasets import Datasets
from freshness.aws.dynamodb.feeds import Feeds
from freshness.aws.dynamodb.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True, kw_only=True)
class TableNames:
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
    policies: PolicyVersions
    requests: FreshnessRequests
    attainment: AttainmentRecords
    spending: Spending
    company_items: CompanyItems
    audit: AuditLog

    @classmethod
    def open(cls, dynamodb: "DynamoDBClient", names: TableNames, sleep: Callable[[float], object] = time.sleep) -> Self:
        """Return the repositories of the tables with these names. Nothing is read yet."""
        companies, feeds, datasets, control = (Table(dynamodb, name, sleep) for name in astuple(names))
        return cls(
            companies=Companies(companies),
            feeds=Feeds(feeds),
            datasets=Datasets(datasets),
            control=Control(control),
            learned=Learned(control),
            policies=PolicyVersions(control),
            requests=FreshnessRequests(control),
            attainment=AttainmentRecords(control),
            spending=Spending(control),
            company_items=CompanyItems(companies, feeds, datasets, control),
            audit=AuditLog(feeds),
        )
