"""What is read of webhooks."""

from datetime import UTC, datetime

import pytest

from freshness.codat.webhook_parser import parse
from freshness.domain.facts import ReadEnded
from tests import webhook_bodies as bodies

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LOGS = "https://app.codat.io/companies/company/sync/{}/validation"


@pytest.mark.parametrize(
    ("issues", "dataset_id"),
    [
        ([{"type": "error.FetchError", "links": {"logs": LOGS.format("dataset")}}], "dataset"),
        ([{"type": "warning", "links": {"logs": LOGS.format("one")}}, {"links": {"logs": LOGS.format("other")}}], ""),
        ([{"type": "warning", "links": {"portal": "https://app.codat.io/companies/company/pull-history"}}], ""),
        ([{"type": "warning", "links": {"logs": None}}, {"links": []}, {"links": None}, None, "text"], ""),
        ([], ""),
    ],
)
def test_the_issues_of_a_read_may_name_its_dataset(issues: list[object], dataset_id: str) -> None:
    body = bodies.read_completed(NOON, ("xero", "invoices", "FetchError"), issues=issues)

    [read] = parse(body, NOON) or ()

    assert isinstance(read, ReadEnded)
    assert read.dataset_id == dataset_id
