"""The live table and the summary of a local run."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from freshness.app.reading.diagnosis import Diagnosis, Turn
from freshness.app.reading.views import FeedView, FleetView
from freshness.domain.feeds.feed_values import State
from freshness.planning.decision import Reason
from local.display import LiveTable, summary

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LONG_LINK = "https://link.example/" + "companies/" * 12


def feed(company: int, data_type: str, state: State, obstacle: str = "") -> FeedView:
    return FeedView(
        company_id=str(company),
        company_name=f"Company {company:03} with a name that is rather long",
        data_type=data_type,
        connection_id="1",
        platform="Xero",
        state=state,
        age=timedelta(minutes=3),
        succeeded_at=NOW - timedelta(minutes=3),
        as_of=NOW - timedelta(minutes=4),
        as_of_is_estimated=False,
        probability_up_to_date=0.9,
        promise=timedelta(hours=6),
        breaks_at=None if state is State.OFF else NOW + timedelta(hours=6),
        keeps_promise=state is State.FRESH,
        is_due=state is State.STALE,
        due_at=None,
        dataset_id="0123456789abcdef",
        changed_at=NOW,
        is_broken=state is not State.FRESH,
        diagnosis=Diagnosis(Turn.CUSTOMER, obstacle, "", is_obstacle=True) if obstacle else None,
        rule="[default] (freshness.toml:11)",
        reason="not yet due",
        next_reason=Reason.NOT_YET,
    )


def shown(renderable: object, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable, soft_wrap=height == 0)
    return capture.get().rstrip("\n").split("\n")


def live(feeds: Iterable[FeedView], width: int = 100, height: int = 24) -> list[str]:
    return shown(LiveTable(FleetView(tuple(feeds)), "title", ["a note"], dry_run=False, now=NOW), width, height)


def summed_up(*feeds: FeedView, hours: Mapping[str, int] | None = None, dry_run: bool = False) -> list[str]:
    return shown(summary(FleetView(feeds), 1, calls=3, codat_hours=hours or {}, dry_run=dry_run), 120, 0)


@pytest.mark.parametrize("companies", [0, 1, 12, 3000])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60)])
def test_the_live_table_fits_the_terminal(companies: int, width: int, height: int) -> None:
    types = ("invoices", "balanceSheet", "banking-transactionCategories")
    lines = live((feed(company, name, State.FRESH) for company in range(companies) for name in types), width, height)
    assert len(lines) < height
    assert all(len(text) <= width for text in lines)


def test_of_more_companies_than_lines_only_those_with_a_problem_are_shown_and_the_others_are_counted() -> None:
    kept = tuple(feed(number, "invoices", State.FRESH) for number in range(100))
    few = kept[:90] + tuple(replace(each, state=State.BLOCKED, is_broken=True) for each in kept[90:93])
    lines = live(few + kept[93:])
    grid = lines[: lines.index("97 companies without a problem")]
    assert [text.split()[1] for text in grid if text.startswith("Company")] == ["090", "091", "092"]

    all_broken = tuple(replace(each, is_broken=True) for each in kept)
    lines = live(all_broken)
    assert any("more companies with a problem, which the page shows; 0 companies without" in text for text in lines)


def test_the_live_table_shows_state_age_promise_and_dataset() -> None:
    lines = live([feed(1, "invoices", State.REFRESHING)])
    text = next(text for text in lines if "invoices" in text and "6 h" in text)
    assert text.split()[-7:] == ["◐", "refreshing", "3", "min", "6", "h", "01234567"]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_column_is_left_out_because_of_long_names_or_reasons(width: int) -> None:
    long = replace(
        feed(1, "banking-transactionCategories", State.REFRESHING), reason='due with its set "financial statements"'
    )
    lines = live([long], width)
    assert lines[-1].split()[-7:] == ["◐", "refreshing", "3", "min", "6", "h", "01234567"]


def test_a_symbol_is_under_the_letter_of_its_data_type_which_the_legend_names() -> None:
    first = (feed(1, "balanceSheet", State.FRESH), feed(1, "banking-accounts", State.STALE))
    second = (feed(2, "banking-accounts", State.FRESH), feed(2, "invoices", State.BLOCKED))
    lines = live(first + second, height=30)
    letters = next(text for text in lines if text.split() == ["a", "b", "c"])
    company = next(text for text in lines if text.startswith("Company 002"))
    assert company[letters.index("a")] == " "
    assert company[letters.index("b")] == "■"
    assert company[letters.index("c")] == "●"
    assert any("a\u00a0balanceSheet  b\u00a0invoices  c\u00a0banking-accounts" in text for text in lines)


def test_what_changed_just_now_stands_out() -> None:
    console = Console(width=100, height=30, force_terminal=True, color_system="standard")
    for age, stands_out in ((timedelta(seconds=3), True), (timedelta(minutes=1), False)):
        changed = replace(feed(1, "invoices", State.FRESH), changed_at=NOW - age)
        with console.capture() as capture:
            console.print(LiveTable(FleetView((changed,)), "title", [], dry_run=False, now=NOW))
        assert ("\x1b[7;32m●" in capture.get()) is stands_out


def test_the_summary_shows_why_a_data_type_cannot_be_fresh_with_an_unbroken_link() -> None:
    blocked = feed(1, "invoices", State.BLOCKED, f"the link to Xero has lapsed: {LONG_LINK}")
    text = summed_up(blocked)
    assert any(LONG_LINK in part for part in text)
    assert "Every data type that can be fresh is fresh." in text


def test_the_summary_shows_the_decisions_under_each_part_of_the_policy() -> None:
    text = summed_up(feed(1, "invoices", State.FRESH))
    assert any(part.split() == "[default] (freshness.toml:11) 1 of 1 not yet due: 1".split() for part in text)


def test_the_summary_counts_a_feed_that_is_off_neither_as_a_promise_nor_as_a_problem() -> None:
    text = summed_up(feed(1, "invoices", State.FRESH), feed(1, "taxRates", State.OFF, "the policy turns it off"))
    assert "1 of 1" in next(part for part in text if "[default]" in part)
    assert "Cannot be fresh:" not in text


def test_the_summary_of_a_dry_run_shows_what_would_be_queued() -> None:
    text = "\n".join(summed_up(feed(1, "invoices", State.STALE), dry_run=True))
    assert "would queue, not yet due (invoices)" in text


def test_the_summary_shows_promises_by_rule_and_what_is_read_twice() -> None:
    feeds = feed(1, "invoices", State.FRESH), feed(1, "bills", State.STALE)
    text = summed_up(*feeds, hours={"bills": 24, "items": 1})
    assert "1 of 2" in next(part for part in text if "[default]" in part)
    assert "Codat's own schedule also reads bills every 24 h." in "\n".join(text)
