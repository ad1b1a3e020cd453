"""The goals of speed, calls and money, each with what it was before and what benchmarks measured now."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench.figures import WIDTH, Figure

HEADINGS = ("", "what", "before", "now", "goal", "what stands in the way")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One goal. `measured` begins the names of its figures, and `told_by` says where else to look if there are none."""

    what: str
    before: str
    goal: str
    measured: tuple[str, ...] = ()
    told_by: str = ""
    in_the_way: str = ""

    def cells(self, number: int, figures: Sequence[Figure]) -> tuple[str, ...]:
        """Return the goal as a row of a table with `HEADINGS`."""
        found = [
            next((figure.in_short for figure in figures if figure.what.startswith(what)), "not measured yet")
            for what in self.measured
        ]
        now = "; ".join(found) or self.told_by
        return (str(number), self.what, self.before, now, self.goal, self.in_the_way)


GOALS = (
    Goal(
        what="calls of DynamoDB of a caller who waits 25 s for 5 data types",
        before="400",
        goal="at most 60",
        measured=("calls of DynamoDB for a caller",),
    ),
    Goal(
        what="50 companies x 5 data types asked for at one moment: the end is noticed after",
        before="3 to 14 s",
        goal="at most 4 s",
        measured=("from the last end to the answer",),
        in_the_way="With 50 places to wait it is 5 s: 50 companies share 600 calls a minute, so that each has its turn "
        "to poll every 5.1 s, and polls are up to 4 s apart. Tried with these: polls at most 3 or 2.5 s apart (4.9 and "
        "4.8 s, for 3 and 5 % more calls of Codat); 1,000 calls a minute (5.1 s).",
    ),
    Goal(
        what="calls of Codat for each refresh, with 0 %, 5 % and 100 % of webhooks lost",
        before="24.5, 25.8, 48.3 for 24 refreshes",
        goal="24, 25, 36 for 24 refreshes",
        measured=tuple(f"calls to Codat for each refresh, data types due one by one, {each}%" for each in (0, 5, 100)),
        in_the_way="Without a webhook, an end is known only by asking. Data types that are due within a tenth of their "
        "interval are refreshed together, and one call tells how all of them end: mostly of two. Tried besides: asking "
        "later, which leaves it unknown whether a promise broke.",
    ),
    Goal(
        what="calls a minute with a backlog, of those allowed; Codat responds in a second: 600, 1,000",
        before="0.74, 0.56",
        goal="at least 0.95 while a tick runs",
        measured=("calls a minute while a tick runs, 600", "calls a minute while a tick runs, 1,000"),
    ),
    Goal(
        what="the same over all minutes",
        before="0.90",
        goal="at least 0.97",
        measured=("calls a minute with a backlog, 600", "calls a minute with a backlog, 1,000"),
    ),
    Goal(
        what="a batch of 25 webhooks of ten data types: calls of AWS, processor time",
        before="7.0 round trips for a webhook of one type",
        goal="4.5 for a webhook of one type",
        measured=("25 webhooks of ten data types: calls", "25 webhooks of ten data types: processor time"),
    ),
    Goal(
        what="round trips of GET freshness",
        before="4",
        goal="2",
        told_by="2, which `tests/simulation/test_api_requests.py` requires",
    ),
    Goal(
        what="freshness where one platform costs 100 times as much, of the optimum",
        before="0.70 to 0.73",
        goal="at least 0.95",
        measured=("mean freshness for the same money",),
    ),
    Goal(
        what="freshness on the first day with 20 % of the budget, of the planner that knows all rates",
        before="0.64 to 0.73",
        goal="at least 0.85",
        measured=("mean freshness on the first day",),
    ),
    Goal(
        what="worst day after rates of change jump, of the planner that knows all rates",
        before="0.94",
        goal="at least 0.96",
        measured=("mean freshness, all rates x 10",),
        in_the_way="Tried: a half-life of 6 syncs in place of 8 (0.961), and jumps believed sooner (0.960), for "
        "0.0004 and 0.0001 of mean freshness; a half-life of 5 without a test for jumps (0.961, for 0.001), by which a "
        "tenfold fall of the rate is not followed within four syncs.",
    ),
    Goal(
        what="`status` and `export` of a large fleet: time, calls of DynamoDB, memory",
        before="minutes, 115,000 units, 2.5 GB",
        goal="2 s, 200 MB",
        measured=("processor time of `status`", "calls of DynamoDB for `status`", "peak memory of `export`"),
    ),
    Goal(
        what="cold starts of receive_webhook and serve_api, of boto3 with its clients",
        before="0.92, 1.85",
        goal="at most 1.0, 1.5",
        measured=("cold start of receive_webhook", "cold start of serve_api"),
    ),
    Goal(
        what="`make test`, `make check` on two idle processors",
        before="14:10, 1:58",
        goal="at most 6:00, 0:40",
        told_by="no benchmark: they print it",
    ),
    Goal(
        what="processor time of `cdk synth` with a mistake in the policy",
        before="12 s",
        goal="at most 2 s",
        told_by="at most 2 s, which `tests/infra/test_app.py` requires",
    ),
    Goal(
        what="AWS a month, 1,000 companies x 10 data types x 4 refreshes a day",
        before="12.2 to 13.2 USD",
        goal="at most 10 USD",
        measured=("AWS a month: total, 1,000", "AWS a month: total, if"),
        in_the_way="If each read has a webhook of its own, the floors of all lines are more: see README.md here.",
    ),
)


def rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """Return the goals as rows of a table with `HEADINGS`."""
    return [goal.cells(number, figures) for number, goal in enumerate(GOALS, start=1)]


def markdown(figures: Sequence[Figure]) -> str:
    """Return the goals as a table in Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (HEADINGS, ("---",) * len(HEADINGS), *rows(figures)))


def show(figures: Sequence[Figure]) -> None:
    """Print the goals as a table."""
    table = Table(*HEADINGS, title="Goals", title_justify="left")
    for row in rows(figures):
        table.add_row(*row)
    console = Console(markup=False)
    console.width = max(console.width, WIDTH)
    console.print(table)
