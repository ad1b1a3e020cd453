"""The ticks against the sandbox over HTTP and tables over DynamoDB's protocol, with no webhook at all."""

from datetime import timedelta

import pytest

from freshness.app.reading.queries import Queries
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.datasets.dataset import Trigger, has_ended
from freshness.domain.feeds.feed_values import State
from tests.builders import a_policy
from tests.integration.deployed import Deployed


@pytest.fixture
def tables(stored_tables: Tables) -> Tables:
    return stored_tables


def test_every_feed_that_can_be_fresh_becomes_fresh_and_each_refresh_leaves_a_record(deployed: Deployed) -> None:
    deployed.policy = a_policy("1 day", data_types={"invoices": {"fresh_within": "1 hour"}})
    deployed.let_syncs_take(timedelta(0), fails_first=0)
    for _ in range(4):
        deployed.check()
        deployed.queue()
        deployed.ahead += timedelta(minutes=5)
    deployed.check()

    truths = {
        (truth.company.id, str(truth.data_type), truth.connection.id): truth.can_become_fresh
        for truth in deployed.sandbox.do(lambda sandbox: list(sandbox.backend.truth(sandbox.now())))
    }
    assert truths
    for feed in Queries(services=deployed.services()).fleet(deployed.clock()).feeds:
        can_be = truths.get((feed.company_id, feed.data_type, feed.connection_id))
        assert feed.state in ((State.FRESH,) if can_be else (State.BLOCKED, State.UNSUPPORTED)), feed
    datasets = list(deployed.tables.datasets.scan())
    assert datasets
    for dataset in datasets:
        assert dataset.trigger is Trigger.PROMISE
        assert has_ended(dataset.state)
        assert dataset.ended_at and dataset.ended_at >= dataset.requested_at
