"""What a caller asks for: bodies of requests, with any times and durations."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from freshness.app.api.models import EARLIEST, LATEST_DEADLINE, EnsureFreshBody
from freshness.app.ensure.problems import Problem
from freshness.domain.times import sortable

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
durations = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from(["PT1H", "P999999999D", "-P999999999D", "P99999999999D", "1:00", "", "\u0663"]),
)
times = st.one_of(
    st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat()),
    st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-23", "now"]),
    st.floats(),
)


@given(
    not_before=st.one_of(st.tuples(st.just("maxAge"), durations), st.tuples(st.just("notBefore"), times)),
    deadline=st.one_of(st.tuples(st.just("within"), durations), st.tuples(st.just("deadline"), times)),
)
def test_any_times_are_refused_with_a_reason_or_can_be_stored(
    not_before: tuple[str, object], deadline: tuple[str, object]
) -> None:
    text = json.dumps({"dataTypes": ["invoices"], **dict([not_before, deadline])})
    try:
        ask = EnsureFreshBody.model_validate_json(text).ask(("invoices",), NOW)
    except (ValidationError, Problem):
        return

    assert EARLIEST <= ask.not_before <= NOW < ask.deadline <= NOW + LATEST_DEADLINE
    assert sortable(ask.not_before) < sortable(ask.deadline)


@pytest.mark.parametrize("never", [{"maxAge": "P999999D"}, {"notBefore": "0001-01-01T00:00:00+14:00"}])
def test_data_of_any_age_may_be_asked_for(never: dict[str, str]) -> None:
    body = EnsureFreshBody.model_validate({"dataTypes": ["invoices"], "within": 60, **never})

    assert body.ask(("invoices",), NOW).not_before == EARLIEST


def test_a_deadline_is_too_far_ahead_however_far_it_is() -> None:
    body = EnsureFreshBody.model_validate({"dataTypes": ["invoices"], "maxAge": 0, "within": timedelta.max})

    with pytest.raises(Problem, match="6 days at most"):
        body.ask(("invoices",), NOW)
