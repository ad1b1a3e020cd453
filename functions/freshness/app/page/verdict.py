"""The sentence at the top of the page."""

from collections.abc import Sequence
from datetime import datetime

from freshness.app.page.turns import WEBHOOKS_THEN, Conditions, Turn
from freshness.app.page.view import NeedsPerson, Tone, TurnView, Verdict
from freshness.domain.value import value


@value
class Facts:
    """What the verdict depends on."""

    conditions: Conditions
    feeds: int
    companies: int
    broken: int
    broken_is_minimum: bool
    needs_person: Sequence[NeedsPerson]
    relinks_elsewhere: int
    turns: Sequence[TurnView]
    webhooks_silent_since: datetime | None


def verdict(facts: Facts) -> Verdict:
    """Return whether the promises are kept, and if not the one cause that explains most, and what to do about it."""
    if not facts.feeds:
        return Verdict(Tone.WARNING, "No company with data has been found at Codat yet.", "Run ./freshness doctor.")
    of_all = _of_everything(facts)
    if of_all:
        return of_all
    if facts.needs_person:
        return _of_people(facts)
    if facts.broken:
        if not facts.turns:
            return Verdict(Tone.BAD, f"{_broken(facts)}.")
        most = facts.turns[0].step
        return Verdict(Tone.BAD, f"{_broken(facts)}, and it is {_possessive(most.turn)} turn: {most.why}.", most.then)
    if since := facts.webhooks_silent_since:
        text = f"Every promise is kept, although no webhook has arrived since {_hour(since)}."
        return Verdict(Tone.WARNING, text, WEBHOOKS_THEN)
    kept = f"{_count(facts.feeds, 'data type')} of {_count(facts.companies, 'company', 'companies')}"
    return Verdict(Tone.GOOD, f"Every promise is kept: {kept}.")


def _of_everything(facts: Facts) -> Verdict | None:
    """Return the verdict if one thing keeps everything from being refreshed."""
    conditions = facts.conditions
    broken = f"and {_lower(_broken(facts))}" if facts.broken else "but every promise is still kept"
    tone = Tone.BAD if facts.broken else Tone.WARNING
    if conditions.paused:
        return Verdict(tone, f"Everything is paused, {broken}.", "Run ./freshness resume.")
    if conditions.is_spent:
        text = f"Today's quota of calls to Codat is spent until 00:00 UTC, {broken}."
        return Verdict(tone, text, "Wait until 00:00 UTC. If it recurs, promise less, or buy more calls from Codat.")
    if until := conditions.stopped_until:
        return Verdict(tone, f"Codat accepts no calls until {_hour(until)}, {broken}.", "Wait until then.")
    if since := conditions.unanswered_since:
        then = "Wait, and see Codat's status page. ./freshness doctor shows what it answers."
        return Verdict(tone, f"Codat has answered no call since {_hour(since)}, {broken}.", then)
    if facts.broken and (since := conditions.no_call_since):
        then = "Run ./freshness doctor, and read the log of queue_refreshes."
        return Verdict(tone, f"No tick has called Codat since {_hour(since)}, {broken}.", then)
    if facts.broken and (since := facts.webhooks_silent_since):
        return Verdict(tone, f"No webhook has arrived since {_hour(since)}, {broken}.", WEBHOOKS_THEN)
    return None


def _of_people(facts: Facts) -> Verdict:
    number = len(facts.needs_person) + facts.relinks_elsewhere
    first = facts.needs_person[0]
    who, then = f"{number:,} connections wait for their customers", "Send each customer the link under Needs a person."
    if number == 1:
        who, then = f"{first.company_name} must act, because {first.why}", first.then
    if not facts.broken:
        return Verdict(Tone.WARNING, f"{who}, but every promise is still kept.", then)
    return Verdict(Tone.BAD, f"{who}, and {_lower(_broken(facts))}.", then)


def _broken(facts: Facts) -> str:
    least = "At least " if facts.broken_is_minimum else ""
    verb = "is" if facts.broken == 1 else "are"
    return f"{least}{facts.broken:,} of {_count(facts.feeds, 'promise')} {verb} broken"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _hour(time: datetime) -> str:
    return f"{time:%H:%M} UTC"


def _possessive(turn: Turn) -> str:
    match turn:
        case Turn.US:
            return "our"
        case Turn.CODAT:
            return "Codat's"
        case _:
            return f"the {turn}'s"
