"""An export in a process of its own. It prints its peak memory in bytes after a quarter of the feeds, and at the end.

`python -m bench.one_export AWS_URL FEEDS COMPANIES_TABLE FEEDS_TABLE DATASETS_TABLE CONTROL_TABLE`.
"""

import sys
from itertools import islice

from bench.fleet import NOW
from bench.parts import example_policy, services
from bench.peak import peak_memory
from bench.tables import LocalAws
from freshness.app.reading.queries import Queries
from freshness.aws.dynamodb.tables import TableNames


def export(aws: LocalAws, names: TableNames, feeds: int) -> None:
    """Export feeds, and print the peak memory twice."""
    tables, _ = aws.open_tables(names)
    exported = Queries(services=services(tables, aws.event_bus(), example_policy())).export(NOW)
    for number in (feeds // 4, feeds - feeds // 4):
        if sum(1 for _ in islice(exported, number)) < number:
            raise RuntimeError(f"expected {feeds} feeds")
        print(peak_memory())


if __name__ == "__main__":
    url, number, companies, feeds, datasets, control = sys.argv[1:]
    names = TableNames(companies=companies, feeds=feeds, datasets=datasets, control=control)
    export(LocalAws(url), names, int(number))
