"""The function that queues refreshes, as the schedules start it: for all feeds, or for one shard of them."""

import pytest

from freshness.aws.item_codec import SHARDS, shard
from tests.integration.deployed import Deployed


def in_flight(deployed: Deployed) -> set[str]:
    """The shards in which a refresh runs."""
    feeds = (
        feed
        for company in deployed.tables.companies.scan()
        for feed in deployed.tables.feeds.of_company(company.company_id)
    )
    return {shard(feed.company_id) for feed in feeds if feed.in_flight}


def test_a_tick_of_one_shard_queues_what_is_due_in_it_and_nothing_else(deployed: Deployed) -> None:
    deployed.check()
    [first, *others] = sorted({shard(company.company_id) for company in deployed.tables.companies.scan()})
    assert others

    deployed.queue(event={"shard": first})
    assert in_flight(deployed) == {first}

    for other in SHARDS:
        deployed.queue(event={"shard": other})
    assert in_flight(deployed) == {first, *others}


@pytest.mark.filterwarnings("ignore:No application metrics")
@pytest.mark.parametrize("given", ["4", "", 0, ["0"]])
def test_a_shard_that_there_is_not_is_refused_with_those_that_there_are(deployed: Deployed, given: object) -> None:
    with pytest.raises(ValueError, match=r"there is no shard .*: have one schedule for each of"):
        deployed.queue(event={"shard": given})
