"""The page and `status` of a million feeds, a hundredth of them older than promised, and the memory of `export`.

The tables are in memory. Their own processor time is left out, as that of DynamoDB would be.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Any, cast

from bench import fleet
from bench.figures import Figure, Topic, show
from bench.fleet import NOW
from bench.parts import example_policy, services
from bench.peak import peak_memory
from estimate.memory_dynamodb import Item, MemoryDynamoDB, tables_in_memory
from freshness.app.page.read import first_companies, page_view, summary_of_large
from freshness.app.page.render import LARGEST, Frame, Medium, render
from freshness.app.reading.queries import Queries
from freshness.aws.dynamodb.item_codec import company_item, feed_item, shard, sort_key
from freshness.aws.dynamodb.table import marshal
from freshness.aws.event_bus import EventBus
from freshness.domain.feeds.feed_values import Breach

FEW, MANY = 10_000, 100_000
"""Companies, each with ten feeds."""
BROKEN, BROKEN_AT = 1_000, NOW - timedelta(hours=5)
"""How many companies have all their promises broken, and since when."""
EXPORTED = 2_000
"""The companies of an export. Its memory after a quarter of them is that of a small one."""
TYPES = len(fleet.DATA_TYPES)
FRAME = Frame(Medium.WIDGET, function_arn="arn:aws:lambda:eu-west-2:123456789012:function:ShowPage")
MB = 1_000_000


class _Tables(MemoryDynamoDB):
    """Tables in memory that count the processor time of their queries."""

    seconds = 0.0

    def query(self, *arguments: Any) -> list[Item]:
        """Return what a query finds."""
        started = time.thread_time()
        found = super().query(*arguments)
        self.seconds += time.thread_time() - started
        return found

    def fill(self, companies: int) -> Queries:
        """Write companies and their feeds, and return what answers questions about them."""
        for number in range(companies):
            company = marshal(company_item(fleet.company(number)))
            self.tables["companies"].replace(company, company)
        for feed in _feeds(companies):
            self.tables["feeds"].replace(feed, feed)
        self.calls.clear()
        return Queries(services=services(tables_in_memory(self), EventBus(cast(Any, None), ""), example_policy()))


def measure() -> list[Figure]:
    """Measure an export first, while the memory of this process holds nothing else."""
    return [*_of_export(), *_of_many()]


def _of_export() -> list[Figure]:
    exported = _Tables().fill(EXPORTED).export(NOW)
    feeds, peaks = EXPORTED * TYPES, list[float]()
    for number in (feeds // 4, feeds - feeds // 4):
        if sum(1 for _ in islice(exported, number)) < number:
            raise RuntimeError(f"expected {feeds} feeds")
        peaks.append(peak_memory() / MB)
    early, late = peaks
    return [
        Figure(what=f"peak memory of `export` of {feeds:,} feeds", value=late, unit="MB", at_most=200),
        Figure(
            what="the same, compared with few feeds",
            value=late,
            unit="MB",
            against=f"`export` of {feeds // 4:,} feeds",
            floor=early,
            at_most=1.1,
        ),
    ]


def _of_many() -> list[Figure]:
    """Measure `status` and the page, which read about as much of many feeds as of few."""
    _, calls_of_few = _status(tables := _Tables(), tables.fill(FEW))
    tables = _Tables()
    queries = tables.fill(MANY)
    seconds, calls = _status(tables, queries)
    tables.seconds, started = 0.0, time.process_time()
    html = render(page_view(queries, NOW), FRAME)
    of_page = time.process_time() - started - tables.seconds
    of = f"of {MANY * TYPES:,} feeds"
    return [
        Figure(what=f"processor time of the page {of}", value=of_page, unit="s", at_most=1),
        Figure(what=f"size of the page {of}", value=len(html.encode()), unit="bytes", at_most=LARGEST),
        Figure(what=f"processor time of `status` {of}", topic=Topic.SCALE, value=seconds, unit="s", at_most=2),
        Figure(
            what=f"calls of DynamoDB for `status` {of}",
            topic=Topic.SCALE,
            value=calls,
            unit="calls",
            against=f"of {FEW * TYPES:,} feeds",
            floor=calls_of_few,
            at_most=1.05,
        ),
    ]


def _status(tables: _Tables, queries: Queries) -> tuple[float, int]:
    """Return the processor time of `status`, and its calls of DynamoDB."""
    started = time.process_time()
    summary = summary_of_large(queries, NOW, first_companies(queries))
    seconds = time.process_time() - started - tables.seconds
    if not summary.promises_broken:
        raise RuntimeError("expected broken promises")
    return seconds, tables.calls.total()


def _feeds(companies: int) -> Iterator[Item]:
    """Yield the items of the companies' feeds: for each company copies of those of the first, with its own ids."""
    first, policy = fleet.company(0), example_policy()
    [connection] = first.connections.values()
    usual, late = list[tuple[str, Item]](), list[tuple[str, Item]]()
    for feed in fleet.due_feeds(first, policy):
        promise = policy.promise(feed.data_type, first, connection)
        breach = Breach(since=BROKEN_AT, group=promise.group)
        broken = replace(feed, succeeded_at=BROKEN_AT - promise.fresh_within, broken_at=BROKEN_AT, breach=breach)
        usual.append((feed.data_type, marshal(feed_item(replace(feed, version=1)))))
        late.append((feed.data_type, marshal(feed_item(replace(broken, version=1)))))
    for number in range(companies):
        company = fleet.company(number)
        [connection_id] = company.connections
        for data_type, item in late if number < BROKEN else usual:
            yield item | {
                "company_id": {"S": company.company_id},
                "feed": {"S": sort_key(data_type, connection_id)},
                "shard": {"S": shard(company.company_id)},
            }


if __name__ == "__main__":
    show("Page", measure())
