"""The page, `status` and `export` of 100,000 feeds, while few promises are broken and while many are.

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
from freshness.app.page.read import first_companies, page_view
from freshness.app.page.render import LARGEST, Frame, Medium, render
from freshness.app.page.summary import summary_of_large
from freshness.app.reading.queries import Queries
from freshness.aws.dynamodb.item_codec import company_item, feed_item
from freshness.aws.dynamodb.table import marshal
from freshness.aws.dynamodb.tables import TableNames
from freshness.domain.feeds.feed_values import Breach
from freshness.policy.policy import Policy
from local.settings import ROOT

COMPANIES = 10_000
FEW, MANY = 100, 1_000
"""How many companies have all their promises broken."""
FEEDS = COMPANIES * len(fleet.DATA_TYPES)
EXPORTED = 20_000
MOST_SECONDS = 1.0
MB = 1_000_000


def measure() -> list[Figure]:
    """Measure a page while a hundredth of the promises are broken, and while a tenth are."""
    policy = example_policy()
    with running_aws() as aws:
        names = aws.create_tables()
        write(aws, names.companies, (_item(company_item(fleet.company(number))) for number in range(COMPANIES)))
        write(aws, names.feeds, _feeds(policy, FEW, COMPANIES, are_broken=False))
        write(aws, names.feeds, _feeds(policy, 0, FEW, are_broken=True))
        few = _measure(aws, names, policy, FEW)
        write(aws, names.feeds, _feeds(policy, FEW, MANY, are_broken=True))
        return few + _measure(aws, names, policy, MANY) + _of_commands(aws, names, policy)


def _measure(aws: LocalAws, names: TableNames, policy: Policy, broken: int) -> list[Figure]:
    tables, meter = aws.open_tables(names)
    queries = Queries(services=services(tables, aws.event_bus(), policy))
    started = time.process_time()
    view = page_view(queries, NOW)
    html = render(view, Frame(Medium.WIDGET, function_arn="arn:aws:lambda:eu-west-2:123456789012:function:ShowPage"))
    seconds = time.process_time() - started
    used, feeds = meter.take(), broken * len(fleet.DATA_TYPES)
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


def _feeds(policy: Policy, start: int, stop: int, *, are_broken: bool) -> Iterator[Item]:
    """Yield the items of companies' feeds. If `are_broken`, their promises have been broken for up to ten hours."""
    for number in range(start, stop):
        company = fleet.company(number)
        [connection] = company.connections.values()
        for feed in fleet.due_feeds(company, policy):
            promise = policy.promise(feed.data_type, company, connection)
            broken_at = NOW - timedelta(minutes=1 + number % 600)
            breach = Breach(since=broken_at, group=promise.group)
            late = replace(feed, succeeded_at=broken_at - promise.fresh_within, broken_at=broken_at, breach=breach)
            yield _item(feed_item(replace(late if are_broken else feed, version=1)))


def _item(item: dict[str, object]) -> Item:
    """Return an item in DynamoDB's notation for JSON, in which bytes are text in base64."""
    return {
        name: {kind: b64encode(value).decode() if kind == "B" else value for kind, value in typed.items()}
        for name, typed in marshal(item).items()
    }


if __name__ == "__main__":
    show("Page", measure())
