"""Every page is whole, small and harmless, whatever there is of everything and whatever it is called."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freshness.app.page.read import COMPANIES, PEOPLE, ROWS, WORST
from freshness.app.page.render import LARGEST, Frame, Medium, render, render_explanations, render_text
from freshness.app.page.verdict import in_words
from freshness.app.page.view import Cell, PageView, RuleView, Selection, TurnView
from freshness.app.reading.diagnosis import Diagnosis, Turn
from freshness.app.reading.views import SpendingView
from freshness.codat.webhooks.parser import MAX_ISSUES
from freshness.domain.clean_text import shown
from freshness.domain.feeds.feed_values import State
from tests.unit.test_page import HOSTILE, NOW, TIMES, Elements, explanation, feed_view, page

Value = TypeVar("Value")

ARN = "arn:aws:lambda:eu-west-2:123456789012:function:CodatFreshness-ShowPageFunction0123456789-0123456789ab"
NAMES = (
    "",
    "Tide Bakery Ltd",
    HOSTILE,
    "x" * 10_000,
    "'" * 10_000,
    "\N{PILE OF POO}" * 10_000,
    "\u202e\u05d0\u05d1\u05d2 \u0645\u0631\u062d\u0628\u0627" * 100,
    "".join(map(chr, range(32))) + "\x7f\x9f",
    "\ud800 half of a character",
)
NAME = st.sampled_from(NAMES)
HIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
STATES = tuple(State)


def number(most: int) -> st.SearchStrategy[int]:
    """Return none, one, or many."""
    return st.sampled_from((0, 1, most))


def several(values: Sequence[Value], number: int) -> tuple[Value, ...]:
    return (tuple(values) * number)[:number]


def cells(names: Sequence[str], data_types: int, companies: int) -> list[Cell]:
    """Return feeds in each state, whose names are those given, in turn."""
    # Half a character cannot be part of a key.
    storable = [name[:900].encode(errors="ignore").decode() for name in names]
    types = [f"{storable[each % len(names)]}-{each}" for each in range(data_types)]
    feeds = [
        feed_view(company, data_type, STATES[(company + at) % len(STATES)], age=at, name=names[at % len(names)])
        for company in range(companies)
        for at, data_type in enumerate(types)
    ]
    diagnoses = [Diagnosis(tuple(Turn)[at % 5], name, names[0]) for at, name in enumerate(names)]
    never = [replace(feed, age=None, breaks_at=None) if feed.age == timedelta(0) else feed for feed in feeds]
    return [
        Cell(replace(feed, diagnosis=diagnoses[at % len(names)] if at % 2 else None), NOW)
        for at, feed in enumerate(never)
    ]


@st.composite
def views(draw: st.DrawFn) -> PageView:
    """Return pages with none, one, or as many as there may be of everything."""
    names = draw(st.lists(NAME, min_size=1, max_size=3))
    view = any_view(names, *(draw(number(most)) for most in (COMPANIES, 43, PEOPLE, WORST, 12, 40)))
    selection = Selection(search=draw(NAME), turn=draw(st.sampled_from((None, *Turn))))
    return replace(view, selection=selection, selected=draw(number(COMPANIES)))


def any_view(
    names: Sequence[str], companies: int, data_types: int, people: int, worst: int, few: int, platforms: int
) -> PageView:
    """Return a page with so many of everything."""
    whole = page(name=names[0])
    of_rows = cells(names, data_types, min(companies, ROWS))
    of_worst = several(cells(names, max(data_types, 1), 10), worst)
    by_row = [of_rows[start : start + data_types] for start in range(0, len(of_rows), data_types or 1)]
    turns = tuple(
        TurnView(Diagnosis(turn, f"{names[at % len(names)]} {at}", names[0]), 5 + at, at)
        for turn in Turn
        for at in range(few)
    )
    person = whole.needs_person[0]
    named = [replace(person, feeds=(replace(person.feed, company_name=name, platform=name),)) for name in names]
    needs_person = several(named, people)
    return replace(
        whole,
        companies=companies,
        broken=few,
        broken_in_words=tuple(in_words([cell.feed for cell in of_worst], ())),
        turns=turns,
        needs_person=needs_person,
        data_types=tuple(dict.fromkeys(cell.feed.data_type for cell in of_rows)),
        rows=tuple(
            replace(
                whole.rows[0],
                company_id=str(at),
                company_name=names[at % len(names)],
                cells={c.feed.data_type: (c,) for c in row},
            )
            for at, row in enumerate(by_row)
        ),
        worst=of_worst,
        details=of_worst,
        misses=tuple(replace(cell.feed, misses_at=NOW) for cell in of_worst[:20]),
        attainment=several([RuleView(rule=name, day=TIMES, month=TIMES, objective=0.99) for name in names], few + 1),
        breaches=several([replace(whole.breaches[0], feed=cell.feed) for cell in of_worst], few),
        spending=several([SpendingView(platform=name, spent=1, cap=2, currency="USD") for name in names], platforms),
    )


def check(html: str, medium: Medium) -> None:
    assert len(html.encode()) <= LARGEST
    assert not HIDDEN.search(html)
    elements = Elements(html)
    assert elements.tags["script"] == (0 if medium is Medium.WIDGET else 1)
    assert not {name for name in elements.attributes if name.startswith("on")}


@given(views(), st.sampled_from(Medium))
@settings(max_examples=20)
def test_a_page_with_none_one_or_many_of_everything_and_any_names_is_whole_and_small(
    view: PageView, medium: Medium
) -> None:
    html = render(view, Frame(medium, function_arn=ARN, acting_function_arn=ARN, nonce="n"))
    check(html, medium)
    assert "as of 2026-11-23 12:00:00 UTC" in html


@pytest.mark.parametrize("medium", Medium)
def test_the_largest_page_is_small(medium: Medium) -> None:
    """No character is longer as HTML than an apostrophe."""
    view = any_view(["'" * 10_000], COMPANIES, 300, PEOPLE, WORST, 20, 300)
    html = render(view, Frame(medium, function_arn=ARN, nonce="n"))
    check(html, medium)
    assert "more data types have no column" in html


def test_a_party_with_many_reasons_is_shown_with_the_first_and_how_many_more_there_are() -> None:
    for reasons, text in ((4, ""), (5, "5 more, for another reason"), (10, "30 more, for 6 other reasons")):
        turns = tuple(
            TurnView(Diagnosis(Turn.CUSTOMER, f"the link to {at} has lapsed", "Relink."), 5, 5) for at in range(reasons)
        )
        html = render(replace(page(), turns=turns), Frame(Medium.FILE))
        assert text in html
        assert ("more, for" in html) is bool(text)


@given(NAME, number(3), number(200), number(MAX_ISSUES), st.sampled_from(Medium))
@settings(max_examples=5)
@example("'" * 10_000, 3, 200, MAX_ISSUES, Medium.SERVER)
def test_an_explanation_of_none_one_or_many_datasets_and_any_names_is_whole_and_small(
    name: str, others: int, datasets: int, issues: int, medium: Medium
) -> None:
    explanations = [explanation(name, issues, datasets)] * (1 + others)
    check(render_explanations(explanations, Frame(medium, nonce="n")), medium)


@given(NAME, NAME)
@settings(max_examples=10)
def test_a_page_of_one_sentence_is_whole_and_small_and_its_address_is_not_cut(text: str, name: str) -> None:
    address = "https://link.codat.io/" + "x" * 1000
    html = render_text(text, address, Frame(Medium.WIDGET))
    check(html, Medium.WIDGET)
    assert f'href="{address}"' in html
    assert "href" not in render_text(text, f"javascript:{name}", Frame(Medium.WIDGET))


def test_a_name_is_shown_shortened_and_without_what_hides_or_moves_others() -> None:
    assert shown("Tide Bakery", 11) == "Tide Bakery"
    assert shown("Tide Bakery Ltd", 11) == "Tide Baker…"
    assert shown("a\x00b\u202ec\ud800", 60) == "a\ufffdb\ufffdc\ufffd"
    assert shown("\u05d0\u05d1 \N{FAMILY}\u200d\N{FAMILY}", 60) == "\u05d0\u05d1 \N{FAMILY}\u200d\N{FAMILY}"
