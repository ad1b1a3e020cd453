"""The verdict of the page, whose turn it is, and that HTML of it is safe and small whatever names there are."""

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import pytest

from freshness.app.page.read import PEOPLE, ROWS, ends
from freshness.app.page.render import Frame, Medium, render, render_explanations
from freshness.app.page.verdict import in_words, verdict
from freshness.app.page.view import (
    Cell,
    FeedBreaches,
    HourView,
    NeedsPerson,
    PageView,
    Row,
    RuleView,
    Selection,
    Span,
    Tone,
    TurnView,
)
from freshness.app.reading.diagnosis import Conditions, Diagnosis, Turn
from freshness.app.reading.views import Explanation, FeedView, SpendingView
from freshness.codat.webhooks.parser import MAX_ISSUE_TYPE
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import LONGEST_REASON, Dataset, Issue, Trigger
from freshness.domain.feeds.feed_values import State
from freshness.domain.slo.attainment import Attained
from freshness.planning.decision import Action, Reason
from tests.builders import HOUR

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\" onmouseover='alert(2)' </title></style>&\u202e{{ 7*7 }}"
TYPES = [f"data-type-{number:02}" for number in range(14)]
TIMES = Attained(promised=1000 * HOUR, late=3 * HOUR, waiting=HOUR)
CALM = Conditions(at=NOW, limits=ApiLimits(), pause=None)


def feed_view(
    company: int = 1, data_type: str = "invoices", state: State = State.STALE, age: float = 3, name: str = HOSTILE
) -> FeedView:
    """Return a feed with a promise of two hours, of an age in hours."""
    return FeedView(
        company_id=str(UUID(int=company)),
        company_name=name,
        data_type=data_type,
        connection_id=str(UUID(int=7)),
        platform=name,
        state=state,
        age=age * HOUR,
        succeeded_at=NOW - age * HOUR,
        as_of=NOW - age * HOUR,
        as_of_is_estimated=False,
        probability_up_to_date=None,
        promise=2 * HOUR,
        breaks_at=NOW - age * HOUR + 2 * HOUR,
        keeps_promise=age <= 2,
        is_due=True,
        due_at=NOW,
        dataset_id=str(UUID(int=8)),
        changed_at=NOW,
        diagnosis=Diagnosis(Turn.US, name, name, is_obstacle=True),
        is_broken=age >= 2,
        rule="[default] (freshness.toml:11)",
        reason="due",
        next_reason=Reason.DUE,
    )


def page(companies: int = 1, name: str = HOSTILE) -> PageView:
    """Return a page of companies all of whose data types are broken."""
    why = Diagnosis(Turn.US, name, name)
    cells = [Cell(feed_view(company, each, name=name), NOW) for company in range(companies) for each in TYPES]
    of_rows = cells[: ROWS * len(TYPES)]
    person = NeedsPerson(
        diagnosis=Diagnosis(Turn.CUSTOMER, name, name),
        since=NOW,
        feeds=(feed_view(state=State.BLOCKED, name=name),),
        broken=1,
    )
    return PageView(
        at=NOW,
        companies=companies,
        feeds=len(cells),
        is_whole=companies < ROWS,
        broken=len(cells),
        broken_is_minimum=False,
        broken_in_words=(name,),
        selection=Selection(),
        selected=companies,
        needs_person=(person,) * min(companies, PEOPLE),
        relinks_elsewhere=3,
        ending_consents=(),
        turns=(TurnView(why, 5, 4),),
        data_types=tuple(TYPES),
        rows=tuple(
            Row(f"company-{n}", name, None, {cell.feed.data_type: (cell,) for cell in of_rows[n * 14 : n * 14 + 14]})
            for n in range(min(companies, ROWS))
        ),
        broken_elsewhere={TYPES[0]: 12},
        worst=tuple(cells[:200]),
        details=tuple(cells[:200]),
        misses=(replace(cells[0].feed, misses_at=NOW + HOUR),),
        attainment=(RuleView(rule=name, day=TIMES, month=TIMES, objective=0.99),) * 12,
        hours=tuple(HourView(start=NOW - (24 - n) * HOUR, late=n, waiting=2.0) for n in range(24)),
        breaches=(
            FeedBreaches(
                cells[0].feed, (Span(NOW - 5 * HOUR, NOW - 3 * HOUR, waiting=True), Span(NOW - HOUR, NOW, is_open=True))
            ),
        )
        * 12,
        conditions=CALM,
        webhook_received_at=None,
        webhooks_silent_since=None,
        spending=(SpendingView(platform=name, spent=1.5, cap=20, currency="USD"),),
    )


def calm(**changes: Any) -> PageView:
    """Return the page of a fleet that needs nothing, apart from changes."""
    nobody: Any = {"needs_person": (), "relinks_elsewhere": 0, "turns": ()}
    return replace(page(), **{"feeds": 100, "companies": 10, "broken": 0, "broken_in_words": ()} | nobody | changes)


class Elements(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.links: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name in ("href", "action", "src")}


@pytest.mark.parametrize("medium", Medium)
def test_no_name_can_add_an_element_an_attribute_or_a_script(medium: Medium) -> None:
    html = render(page(), Frame(medium, function_arn="arn:aws:lambda:x", nonce="n"))
    elements = Elements(html)

    assert elements.tags["script"] == (0 if medium is Medium.WIDGET else 1)
    assert not {name for name in elements.attributes if name.startswith("on")}
    assert "<script>alert" not in html
    assert not [link for link in elements.links if link.startswith("javascript:")]
    assert "{{ 7*7 }}" in html


class Actions(HTMLParser):
    """The actions of a widget: each with its attributes, its parameters, and the element before it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[dict[str, str | None], str, str]] = []
        self._ended, self._opened = "", False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._opened = tag == "cwdb-action"
        if self._opened:
            self.found.append((dict(attrs), "", self._ended))
        self._ended = ""

    def handle_data(self, data: str) -> None:
        if self._opened:
            attributes, text, before = self.found[-1]
            self.found[-1] = attributes, text + data, before
        elif data.strip():
            self._ended = ""

    def handle_endtag(self, tag: str) -> None:
        self._opened, self._ended = False, tag


def test_the_widget_has_only_what_cloudwatch_allows_and_actions_that_it_understands() -> None:
    arn, acting = (f"arn:aws:lambda:eu-west-2:123456789012:function:{name}" for name in ("ShowPage", "ActOnPage"))
    html = render(page(10), Frame(Medium.WIDGET, theme="dark", function_arn=arn, acting_function_arn=acting))
    elements = Elements(html)
    # It removes scripts and what could embed or load them. There is one document, which is its own.
    forbidden = {"script", "iframe", "object", "embed", "use", "link", "meta", "base", "form", "html", "head", "body"}
    assert not elements.tags.keys() & forbidden

    actions = Actions(html).found
    assert len(actions) == elements.tags["cwdb-action"] > 100
    for attributes, text, before in actions:
        # An action is about the element just before it.
        assert before == "a"
        assert attributes.keys() <= {"action", "display", "endpoint", "confirmation"}
        assert (attributes["action"], attributes["display"]) == ("call", "popup")
        request = json.loads(text)
        changes = request.keys() & {"pause", "refresh"}
        assert attributes["endpoint"] == (acting if changes else arn)
        assert bool(attributes.get("confirmation")) is bool(changes)
        assert changes or request.keys() in ({"explain", "dataType"}, {"link", "connection"})


def test_the_page_shows_deadlines_and_spending() -> None:
    html = render(page(name="Xero"), Frame(Medium.FILE))
    assert f'<li>Xero: <a href="#f0">{TYPES[0]}</a>, at 2026-11-23 13:00:00 UTC</li>' in html.replace("\n", "")
    assert "<dt>Spent at Xero</dt><dd>1.50 of 20.00 USD this month</dd>" in html


def test_the_legend_has_the_colours_of_the_ages_up_to_half_all_twice_and_more_of_the_promise() -> None:
    legend = re.findall(r'<span class="(\w+)">(?:\d+\D\d+%|more)</span>', render(page(), Frame(Medium.FILE)))
    assert [Cell(feed_view(age=hours), NOW).level for hours in (1, 2, 4, 4.1)] == legend
    assert [Cell(feed_view(age=hours), NOW).level for hours in (0.9, 1.1, 2.1, 9)] == legend


def shown_as(*feeds: FeedView) -> str:
    """Return the text of the cell of feeds."""
    row = Row("1", "Tide Bakery", None, {TYPES[0]: tuple(Cell(feed, NOW) for feed in feeds)})
    html = render(replace(page(), rows=(row,), details=()), Frame(Medium.FILE))
    [text] = re.findall(r"<span>(\W*\d+%.*?)</span>", html)
    return str(text)


def test_a_cell_shows_the_worse_of_two_connections_and_that_there_are_two() -> None:
    waits = Diagnosis(Turn.CUSTOMER, "the link to Xero has lapsed", "Send the customer the link.")
    kept = replace(feed_view(state=State.FRESH, age=1.8), diagnosis=None)
    blocked = replace(feed_view(state=State.BLOCKED, age=0.2), connection_id="lapsed", diagnosis=waits)
    assert shown_as(kept, blocked) == shown_as(blocked, kept) == "■ 10%<sup>2</sup>"
    assert shown_as(kept) == "90%"


def test_a_read_that_waits_for_an_offline_machine_is_shown_as_blocked_once_the_promise_is_broken() -> None:
    for age, obstacle, text in (
        (3.0, "the customer's machine with Sage 50 is offline", "■ 150%"),
        (3.0, "", "◐ 150%"),
        (1.0, "it waits until the customer's machine with Sage 50 is online", "◐ 50%"),
    ):
        diagnosis = Diagnosis(Turn.CUSTOMER, obstacle, "", is_obstacle=True) if obstacle else None
        feed = replace(feed_view(state=State.REFRESHING, age=age), diagnosis=diagnosis)
        row = Row("1", "Tide Bakery", None, {TYPES[0]: (Cell(feed, NOW),)})
        html = render(replace(page(), rows=(row,), details=()), Frame(Medium.FILE))
        assert f"<span>{text}</span>" in html


def explanation(name: str, issues: int = 1, datasets: int = 1) -> Explanation:
    """Return why a feed is as it is, with so many datasets, in all of which a platform wrote a name."""
    issue = Issue(type=name[:MAX_ISSUE_TYPE], message=name[:LONGEST_REASON])
    dataset = Dataset(
        company_id="1",
        data_type="invoices",
        connection_id="1",
        dataset_id=name,
        trigger=Trigger.PROMISE,
        state=name,
        requested_at=NOW,
        ended_at=NOW,
        records_modified=None,
        issues=(issue,) * issues,
    )
    return Explanation(
        feed=feed_view(name=name),
        action=Action.QUEUE,
        reason=name,
        until=NOW,
        changes_per_day=None,
        changes_are_learned=False,
        last_decided=None,
        datasets=(dataset,) * datasets,
    )


def test_the_explanation_of_a_feed_shows_what_a_platform_wrote_as_text() -> None:
    html = render_explanations([explanation(HOSTILE)], Frame(Medium.WIDGET))
    assert Elements(html).tags["script"] == 0
    assert "alert(1)" in html


def test_a_calm_fleet_needs_nothing() -> None:
    said = verdict(calm())
    assert (said.tone, said.text) == (Tone.GOOD, "Every promise is kept: 100 data types of 10 companies.")
    assert (said.turn, said.next_actions) == ("nobody's", ("There is nothing to do.",))


def test_the_verdict_names_what_keeps_everything_from_being_refreshed() -> None:
    spent = ApiLimits(daily_quota=100, remaining=0, reported_at=NOW - HOUR)
    unanswered = ApiLimits(daily_quota=100, remaining=50, reported_at=NOW - HOUR, called_at=NOW)
    stopped = ApiLimits(stopped_at=NOW, stopped_until=NOW + HOUR)
    for conditions, beginning in (
        (replace(CALM, pause=Pause()), "Everything is paused, and 7 of 100 promises are broken."),
        (replace(CALM, limits=spent), "Today's quota of calls to Codat is spent until 00:00 UTC, and 7 of 100"),
        (replace(CALM, limits=unanswered), "Codat has answered no call since 11:00 UTC, and 7 of 100"),
        (replace(CALM, limits=stopped), "Codat accepts no calls until 13:00 UTC, and 7 of 100"),
    ):
        said = verdict(calm(conditions=conditions, broken=7))
        assert (said.tone, said.text[: len(beginning)]) == (Tone.BAD, beginning)
        assert said.next_actions
        assert verdict(calm(conditions=conditions)).tone is Tone.WARNING


LIMITED = TurnView(Diagnosis(Turn.PLATFORM, "Xero has reached its own limit", "Wait.", platform="Xero"), 5, 5)
OFFLINE = TurnView(
    Diagnosis(Turn.CUSTOMER, "the machine is offline", "Ask the customer to switch the machine on."), 9, 1
)


def test_the_verdict_of_promises_that_are_broken_for_one_reason_says_which_and_whose_turn_it_is() -> None:
    said = verdict(calm(broken=5, turns=(LIMITED,)))
    assert said.text == "5 of 100 promises are broken, because Xero has reached its own limit."
    assert (said.turn, said.next_actions) == ("the platforms'", ("Wait.",))


def test_the_verdict_of_promises_that_are_broken_for_several_reasons_names_first_what_people_can_do() -> None:
    why, next_action = OFFLINE.diagnosis.why, OFFLINE.diagnosis.next_action
    person = replace(
        page().needs_person[0],
        diagnosis=Diagnosis(Turn.CUSTOMER, why, next_action),
        feeds=(feed_view(state=State.BLOCKED, name="Tide Bakery"),),
    )
    said = verdict(calm(broken=6, turns=(LIMITED, OFFLINE), needs_person=(person,)))
    assert said.text == "6 of 100 promises are broken: 5 wait for Xero, 1 waits for a customer."
    assert said.turn == "the platforms' (5) and the customers' (1)"
    assert said.next_actions == (
        "Ask the customer to switch the machine on: Tide Bakery (1 data type).",
        "Wait (5 data types).",
    )


def test_the_verdict_names_a_few_broken_promises_and_counts_many() -> None:
    few = [feed_view(1, "invoices", age=30, name="Tide Bakery"), feed_view(2, "bills", age=3, name="Amber Florists")]
    assert tuple(in_words(few, ())) == (
        "invoices of Tide Bakery (1 d 6 h old, not 2 h)",
        "bills of Amber Florists (3 h old, not 2 h)",
    )
    many = [feed_view(number, name="Tide Bakery") for number in range(5)]
    elsewhere = [("8", "invoices", "7"), ("8", "bills", "7")]
    assert tuple(in_words(many, elsewhere)) == (
        "invoices of 6 companies",
        "bills of 1 company",
        "the worst: invoices of Tide Bakery (3 h old, not 2 h)",
    )


def test_silent_webhooks_are_a_warning_while_promises_are_kept() -> None:
    said = verdict(calm(webhook_received_at=NOW, webhooks_silent_since=NOW))
    assert (said.tone, said.text[:60]) == (Tone.WARNING, "Every promise is kept, although no webhook has arrived since")


def test_of_a_long_list_both_ends_are_named() -> None:
    assert ends(list("abcdefg"), 4) == ["a", "g", "b", "f"]
    assert ends(list("abc"), 9) == ["a", "c", "b"]
    assert ends([], 9) == []
