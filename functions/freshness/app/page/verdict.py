"""The top of the page: what is wrong in one sentence, what is broken, whose turn it is, and what to do next."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from freshness.app.page.view import NeedsPerson, PageView, Tone, TurnView, Verdict
from freshness.app.reading.diagnosis import Turn, no_tick, of_everything, parties, silent_webhooks
from freshness.app.reading.text import duration
from freshness.app.reading.views import FeedView
from freshness.domain.feeds.feed import FeedKey

FEW = 3
"""The most broken promises that are named one by one. If there are more, they are counted by data type."""
MOST_TYPES = 5
"""The most data types that are named."""
MOST_STEPS = 3
"""The most next steps that are named."""
OWNERS = {
    Turn.US: "ours",
    Turn.CODAT: "Codat's",
    Turn.PLATFORM: "the platforms'",
    Turn.CUSTOMER: "the customers'",
    Turn.NOBODY: "nobody's",
}
"""Whose turn it is, in words."""


def verdict(view: PageView) -> Verdict:
    """Return whether the promises are kept, and if not whose turn it is and what to do about it."""
    if not view.feeds:
        return Verdict(
            Tone.WARNING, "No company with data has been found at Codat yet.", next_actions=("Run ./freshness doctor.",)
        )
    return _of_everything(view) or _of_feeds(view) or _of_people(view) or _of_webhooks(view)


def in_words(worst: Sequence[FeedView], elsewhere: Sequence[FeedKey]) -> Iterator[str]:
    """Yield what is broken: each feed if there are few, otherwise each data type with its number of companies.

    `worst` are feeds that are older than promised, the worst first, and `elsewhere` further ones, of companies that
    were not read.
    """
    if not elsewhere and len(worst) <= FEW:
        yield from (f"{feed.data_type} of {_name(feed)} ({_age(feed)})" for feed in worst)
        return
    keys = {key[:2] for key in (*(feed.key for feed in worst), *elsewhere)}
    companies = Counter(data_type for _, data_type in keys).most_common()
    for data_type, number in companies[:MOST_TYPES]:
        yield f"{data_type} of {_count(number, 'company', 'companies')}"
    if more := companies[MOST_TYPES:]:
        yield f"{_count(len(more), 'other data type')}"
    if worst:
        yield f"the worst: {worst[0].data_type} of {_name(worst[0])} ({_age(worst[0])})"


def _of_everything(view: PageView) -> Verdict | None:
    """Return the verdict if one thing keeps everything from being refreshed."""
    conditions = view.conditions
    broken = f"and {_lower(_broken(view))}" if view.broken else "but every promise is still kept"
    tone = Tone.BAD if view.broken else Tone.WARNING

    found = next(iter(of_everything(conditions, None)), None)
    if view.broken and found is None:
        since = view.webhooks_silent_since
        found = no_tick(conditions) or (silent_webhooks(since) if since else None)
    if found is None:
        return None
    text = f"{found.why[0].upper()}{found.why[1:]}, {broken}."
    return Verdict(tone, text, turn=OWNERS[found.turn], next_actions=(found.next_action,))


def _of_feeds(view: PageView) -> Verdict | None:
    """Return the verdict if promises are broken, each for its own reason."""
    if not view.broken:
        return None
    causes = [each for each in view.turns if each.broken]
    match parties((each.diagnosis, each.broken) for each in causes):
        case ():
            return Verdict(Tone.BAD, f"{_broken(view)}.")
        case (party,):
            others = f", and {len(causes) - 1} other reasons" if len(causes) > 2 else ""
            why = " and ".join(each.diagnosis.why for each in (causes if len(causes) == 2 else causes[:1]))
            text, whose = f"{_broken(view)}, because {why}{others}.", OWNERS[party.turn]
        case several:
            text = f"{_broken(view)}: {', '.join(map(str, several))}."
            whose = _listed([f"{OWNERS[each.turn]} ({each.feeds:,})" for each in several])
    return Verdict(Tone.BAD, text, turn=whose, next_actions=tuple(_next(view, causes)))


def _next(view: PageView, causes: Iterable[TurnView]) -> Iterator[str]:
    """Yield what to do next: first what a person can do, then what only takes time."""
    by_step = Counter[tuple[Turn, str]]()
    for each in causes:
        by_step[each.diagnosis.turn, each.diagnosis.next_action] += each.broken
    order = (Turn.US, Turn.CUSTOMER, Turn.CODAT, Turn.PLATFORM, Turn.NOBODY)
    steps = sorted(by_step.items(), key=lambda item: (order.index(item[0][0]), -item[1]))
    for (turn, next_action), number in steps[:MOST_STEPS]:
        about = "" if len(steps) == 1 else f" ({_count(number, 'data type')})"
        names = _customers(view.needs_person, next_action) if turn is Turn.CUSTOMER else ""
        yield f"{next_action.removesuffix('.')}{': ' if names else ''}{names}{about}."


def _customers(people: Iterable[NeedsPerson], next_action: str) -> str:
    """Return the names of the customers who must do something."""
    names = list(dict.fromkeys(_name(each.feed) for each in people if each.diagnosis.next_action == next_action))
    listed = names if len(names) <= FEW else [*names[:FEW], f"{len(names) - FEW:,} more"]
    return _listed(listed) if listed else ""


def _of_people(view: PageView) -> Verdict | None:
    """Return the verdict if only connections wait for their customers."""
    if not view.needs_person:
        return None
    number, first = len(view.needs_person) + view.relinks_elsewhere, view.needs_person[0]
    who, turn = f"{number:,} connections wait for their customers", OWNERS[Turn.CUSTOMER]
    next_action = "Send each customer the link under Needs a person."
    if number == 1:
        who, turn = f"{first.feed.company_name} must act, because {first.diagnosis.why}", "the customer's"
        next_action = first.diagnosis.next_action
    return Verdict(Tone.WARNING, f"{who}, but every promise is still kept.", turn=turn, next_actions=(next_action,))


def _of_webhooks(view: PageView) -> Verdict:
    """Return the verdict if every promise is kept: a warning if webhooks are silent, otherwise good."""
    if since := view.webhooks_silent_since:
        text = f"Every promise is kept, although no webhook has arrived since {_hour(since)}."
        return Verdict(Tone.WARNING, text, turn="ours", next_actions=(silent_webhooks(since).next_action,))
    kept = f"{_count(view.feeds, 'data type')} of {_count(view.companies, 'company', 'companies')}"
    return Verdict(
        Tone.GOOD, f"Every promise is kept: {kept}.", turn="nobody's", next_actions=("There is nothing to do.",)
    )


def _name(feed: FeedView) -> str:
    return feed.company_name or feed.company_id


def _age(feed: FeedView) -> str:
    return "never read" if feed.age is None else f"{duration(feed.age)} old, not {duration(feed.promise)}"


def _broken(view: PageView) -> str:
    least = "At least " if view.broken_is_minimum else ""
    verb = "is" if view.broken == 1 else "are"
    return f"{least}{view.broken:,} of {_count(view.feeds, 'promise')} {verb} broken"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _hour(time: datetime) -> str:
    return f"{time:%H:%M} UTC"
