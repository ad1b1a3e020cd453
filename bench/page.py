"""The page, `status` and `export` of 100,000 feeds, while a tenth of the promises are broken.

The time of the page is the processor time of reading and rendering: the local AWS takes longer to answer than DynamoDB.
"""

import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import astuple, replace
from datetime import timedelta
from itertools import islice

from bench import fleet
from bench.figures import Figure, Topic, show
from bench.fleet import NOW
from bench.parts import example_policy, services
from bench.tables import Item, LocalAws, running_aws, write
from freshness.app.page.read import first_companies, page_view, summary_of_large
from freshness.app.page.render import LARGEST, Frame, Medium, render
from freshness.app.reading.queries import Queries
from freshness.aws.dynamodb.item_codec import company_item, feed_item, shard, sort_key
from freshness.aws.dynamodb.table import marshal
from freshness.aws.dynamodb.tables import TableNames
from freshness.domain.feeds.feed_values import Breach
from freshness.policy.policy import Policy
from local.settings import ROOT

COMPANIES = 10_000
BROKEN, BROKEN_AT = 1_000, NOW - timedelta(hours=5)
"""How many companies have all their promises broken, and since when."""
FEEDS = COMPANIES * len(fleet.DATA_TYPES)
EXPORTED = 20_000
MOST_SECONDS = 1.0
MB = 1_000_000


def measure() -> list[Figure]:
    """Measure a page, and both commands."""
    policy = example_policy()
    with running_aws() as aws:
        names = aws.create_tables()
        write(aws, names.companies, (_item(company_item(fleet.company(number))) for number in range(COMPANIES)))
        write(aws, names.feeds, _feeds(policy))
        return _of_page(aws, names, policy) + _of_commands(aws, names, policy)


def _of_page(aws: LocalAws, names: TableNames, policy: Policy) -> list[Figure]:
    tables, meter = aws.open_tables(names)
    queries = Queries(services=services(tables, aws.event_bus(), policy))
    started = time.process_time()
    view = page_view(queries, NOW)
    html = render(view, Frame(Medium.WIDGET, function_arn="arn:aws:lambda:eu-west-2:123456789012:function:ShowPage"))
    seconds = time.process_time() - started
    used, feeds = meter.take(), BROKEN * len(fleet.DATA_TYPES)
    if view.broken != feeds and not view.broken_is_minimum:
        raise RuntimeError(f"expected {feeds} broken promises on the page, got {view.broken}")
    of = f"of {FEEDS:,} feeds, {feeds:,} of them older than promised"
    return [
        Figure(what=f"processor time of the page {of}", value=seconds, unit="s", at_most=MOST_SECONDS),
        Figure(what=f"read units of the page {of}", value=used.read_units, unit="units"),
        Figure(what=f"size of the page {of}", value=len(html.encode()), unit="bytes", at_most=LARGEST),
    ]


def _of_commands(aws: LocalAws, names: TableNames, policy: Policy) -> list[Figure]:
    """Measure `status`, and `export` of so many feeds that the memory of each more of them would show."""
    tables, meter = aws.open_tables(names)
    queries = Queries(services=services(tables, aws.event_bus(), policy))
    started = time.process_time()
    summary_of_large(queries, NOW, first_companies(queries))
    seconds, status = time.process_time() - started, meter.take().read_units
    few = sum(1 for _ in islice(queries.export(NOW), EXPORTED // 4))
    export = meter.take().read_units * FEEDS / few
    command = [sys.executable, "-m", "bench.one_export", aws.url, str(EXPORTED), *astuple(names)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own code
    early, late = (int(line) / MB for line in done.stdout.split())
    return [
        Figure(what=f"processor time of `status` of {FEEDS:,} feeds", value=seconds, unit="s", at_most=2),
        Figure(
            what=f"read units of `status` of {FEEDS:,} feeds",
            topic=Topic.SCALE,
            value=status,
            unit="units",
            against="`export`, which reads all feeds",
            floor=export,
        ),
        Figure(what=f"peak memory of `export` of {EXPORTED:,} feeds", value=late, unit="MB", at_most=200),
        Figure(
            what="the same, compared with few feeds",
            value=late,
            unit="MB",
            against=f"`export` of {few:,} feeds",
            floor=early,
            at_most=1.1,
        ),
    ]


def _feeds(policy: Policy) -> Iterator[Item]:
    """Yield the items of the companies' feeds: for each company copies of those of the first, with its own ids."""
    first = fleet.company(0)
    [connection] = first.connections.values()
    usual, late = list[tuple[str, Item]](), list[tuple[str, Item]]()
    for feed in fleet.due_feeds(first, policy):
        promise = policy.promise(feed.data_type, first, connection)
        breach = Breach(since=BROKEN_AT, group=promise.group)
        broken = replace(feed, succeeded_at=BROKEN_AT - promise.fresh_within, broken_at=BROKEN_AT, breach=breach)
        usual.append((feed.data_type, _item(feed_item(replace(feed, version=1)))))
        late.append((feed.data_type, _item(feed_item(replace(broken, version=1)))))
    for number in range(COMPANIES):
        company = fleet.company(number)
        [connection_id] = company.connections
        for data_type, item in late if number < BROKEN else usual:
            yield item | {
                "company_id": {"S": company.company_id},
                "feed": {"S": sort_key(data_type, connection_id)},
                "shard": {"S": shard(company.company_id)},
            }


def _item(item: dict[str, object]) -> Item:
    """Return an item in DynamoDB's notation for JSON, in which bytes are text in base64."""
    return {
        name: {kind: b64encode(value).decode() if kind == "B" else value for kind, value in typed.items()}
        for name, typed in marshal(item).items()
    }


if __name__ == "__main__":
    show("Page", measure())
