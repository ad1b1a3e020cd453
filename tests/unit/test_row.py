"""What a row learns, and what follows from it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.backoff import FIRST as FIRST_RETRY
from freshness.company import Connection, ConnectionStatus
from freshness.dataset import AskedBy, DatasetState
from freshness.policy import Promise
from freshness.row import ANOTHER_LOOK, ASKED_FOR, FIRST_PATIENCE, End, Request, Row, State
from freshness.sighting import Sighting, sighted
from freshness.times import BEGINNING

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PROMISE = Promise(fresh_within=timedelta(hours=6))
LINKED = Connection(
    connection_id="connection",
    platform="Xero",
    source_type="Accounting",
    status=ConnectionStatus.LINKED,
    status_at=NOON - timedelta(days=30),
)
NEW = Row(company_id="company", data_type="invoices", connection_id="connection")


def request(at: datetime, dataset_id: str = "dataset", asked_by: AskedBy = AskedBy.PROMISE) -> Request:
    return Request(at=at, asked_by=asked_by, dataset_id=dataset_id)


def end(at: datetime, state: str = DatasetState.COMPLETE) -> End:
    return End(at=at, state=state)


def test_a_row_that_was_never_synced_is_stale_and_due_at_once() -> None:
    assert NEW.state(PROMISE, LINKED, NOON) is State.STALE
    assert NEW.due(PROMISE, LINKED) == BEGINNING


def test_a_row_is_refreshing_until_its_dataset_ends() -> None:
    row = NEW.requested(request(NOON))
    assert row.state(PROMISE, LINKED, NOON) is State.REFRESHING

    row = row.ended(end(NOON + MINUTE), records_modified=True)
    assert row.state(PROMISE, LINKED, NOON + MINUTE) is State.FRESH
    assert [sync.took for sync in row.syncs] == [MINUTE]
    assert row.changed_at == NOON + MINUTE


def test_the_end_of_an_earlier_dataset_does_not_end_the_one_in_flight() -> None:
    row = NEW.requested(request(NOON)).ended(end(NOON - MINUTE))

    assert row.in_flight
    assert row.succeeded_at == NOON - MINUTE


def test_a_row_is_due_so_early_that_its_sync_ends_before_the_promise_does() -> None:
    row = NEW.requested(request(NOON - 10 * MINUTE)).ended(end(NOON), records_modified=False)

    due = row.due(PROMISE, LINKED)

    assert due is not None
    assert due + row.usual_sync_time < NOON + PROMISE.fresh_within


def test_a_row_stays_due_at_the_same_time_while_its_dataset_is_in_flight() -> None:
    row = NEW.ended(end(NOON))

    assert row.requested(request(NOON + timedelta(hours=6))).due(PROMISE, LINKED) == row.due(PROMISE, LINKED)


def test_each_failure_in_a_row_doubles_the_wait_for_the_next_try() -> None:
    row, now, waits = NEW, NOON, []
    for _ in range(4):
        row = row.requested(request(now, dataset_id=str(now))).ended(end(now + MINUTE, DatasetState.FETCH_ERROR))
        due = row.due(PROMISE, LINKED)
        assert due is not None
        waits.append((due - now - MINUTE) / FIRST_RETRY)
        now = due

    assert row.failures == 4
    assert row.state(PROMISE, LINKED, NOON) is State.FAILING
    assert waits == [pytest.approx(2**n, rel=0.25) for n in range(4)]


def test_a_success_forgets_the_failures_before_it() -> None:
    row = NEW.requested(request(NOON)).ended(end(NOON + MINUTE, DatasetState.FETCH_ERROR))
    row = row.requested(request(NOON + 2 * MINUTE, "second")).ended(end(NOON + 3 * MINUTE))

    assert row.failures == 0
    assert row.requested(request(NOON + 4 * MINUTE, "third")).attempts == 1


@pytest.mark.parametrize("state", [DatasetState.AUTH_ERROR, DatasetState.PERMISSIONS_ERROR])
def test_a_row_that_needs_a_person_is_blocked_until_its_connection_is_back(state: DatasetState) -> None:
    row = NEW.requested(request(NOON)).ended(end(NOON + MINUTE, state))
    assert row.state(PROMISE, LINKED, NOON) is State.BLOCKED
    due = row.due(PROMISE, LINKED)
    # Codat lists it as linked: an authorization may have come back without a word, permissions not.
    assert due == (NOON + MINUTE + ANOTHER_LOOK if state is DatasetState.AUTH_ERROR else None)

    relinked = replace(LINKED, status_at=NOON + 2 * MINUTE)
    assert row.state(PROMISE, relinked, NOON) is State.STALE
    assert row.due(PROMISE, relinked) == BEGINNING


def test_a_row_whose_connection_is_not_linked_is_blocked() -> None:
    lapsed = replace(LINKED, status=ConnectionStatus.DEAUTHORIZED)

    assert NEW.state(PROMISE, lapsed, NOON) is State.BLOCKED
    assert NEW.due(PROMISE, lapsed) is None


def test_what_a_platform_does_not_have_is_never_asked_for_again() -> None:
    row = NEW.ended(end(NOON, DatasetState.NOT_SUPPORTED))

    assert row.state(PROMISE, LINKED, NOON) is State.UNSUPPORTED
    assert row.due(PROMISE, LINKED) is None


def test_a_state_that_codat_adds_later_is_tried_again() -> None:
    row = NEW.requested(request(NOON)).ended(end(NOON + MINUTE, "SomethingNew"))

    assert row.state(PROMISE, LINKED, NOON) is State.FAILING
    assert row.due(PROMISE, LINKED) is not None


def test_patience_with_a_dataset_doubles_each_time_it_is_seen_still_running() -> None:
    row, waits = NEW.requested(request(NOON)), []
    for _ in range(4):
        late_at = row.late_at
        assert late_at is not None
        waits.append(late_at - NOON)
        row = sighted(row, Sighting(at=late_at, state=DatasetState.QUEUED, dataset_id="dataset"), NOON)

    assert waits == [FIRST_PATIENCE * 2**n for n in range(4)]


def sighting(at: datetime, state: str, dataset_id: str = "dataset", succeeded_at: datetime | None = None) -> Sighting:
    return Sighting(at=at, state=state, dataset_id=dataset_id, succeeded_at=succeeded_at)


def test_a_check_finds_the_end_that_no_webhook_told() -> None:
    row = NEW.requested(request(NOON))

    row = sighted(row, sighting(NOON + 5 * MINUTE, DatasetState.COMPLETE, succeeded_at=NOON + MINUTE), NOON)

    assert row.in_flight is None
    assert row.succeeded_at == NOON + MINUTE


def test_a_check_finds_the_failure_that_no_webhook_told() -> None:
    row = sighted(NEW.requested(request(NOON)), sighting(NOON + 5 * MINUTE, DatasetState.MAP_ERROR), NOON)

    assert row.state(PROMISE, LINKED, NOON) is State.FAILING


def test_a_failure_seen_again_is_not_a_new_failure() -> None:
    row = sighted(NEW.requested(request(NOON)), sighting(NOON + MINUTE, DatasetState.AUTH_ERROR), NOON)
    relinked = replace(LINKED, status_at=NOON + 2 * MINUTE)

    row = sighted(row, sighting(NOON + 3 * MINUTE, DatasetState.AUTH_ERROR), NOON)

    assert not row.is_blocked(relinked)


def test_a_dataset_that_others_asked_for_is_in_flight_too() -> None:
    row = sighted(NEW, sighting(NOON, DatasetState.FETCHING, dataset_id="theirs"), NOON)

    assert row.in_flight == request(NOON, "theirs", AskedBy.OTHERS)
    assert row.attempts == 0


def test_a_status_older_than_the_request_does_not_end_its_dataset() -> None:
    row = NEW.requested(request(NOON))

    assert sighted(row, sighting(NOON - MINUTE, DatasetState.FETCH_ERROR, dataset_id="earlier"), NOON).in_flight


def test_a_company_that_comes_with_a_failure_is_tried_once() -> None:
    row = sighted(NEW, sighting(NOON, DatasetState.PERMISSIONS_ERROR), LINKED.status_at)

    assert row.due(PROMISE, LINKED) == BEGINNING


def test_a_clock_ahead_of_codats_does_not_keep_an_adopted_dataset_in_flight() -> None:
    row = NEW.requested(request(NOON + 5 * MINUTE, asked_by=AskedBy.OTHERS))

    row = sighted(row, sighting(NOON + 6 * MINUTE, DatasetState.COMPLETE, succeeded_at=NOON + MINUTE), NOON)

    assert row.in_flight is None


def test_a_dataset_that_codat_no_longer_tells_of_does_not_keep_a_row_waiting() -> None:
    row = NEW.requested(request(NOON))
    assert row.late_at is not None

    row = sighted(
        row, sighting(row.late_at, DatasetState.COMPLETE, dataset_id="other", succeeded_at=NOON - MINUTE), NOON
    )

    assert row.in_flight is None


ENDS = st.lists(
    st.tuples(
        st.integers(-50, 50).map(lambda minutes: NOON + minutes * MINUTE),
        st.sampled_from(list(DatasetState)[9:]),
        st.sampled_from([None, True, False]),
    ),
    unique_by=lambda told: told[0],
    max_size=40,
)


@given(ends=ENDS, order=st.randoms())
def test_ends_told_in_any_order_and_any_number_of_times_leave_the_same_row(
    ends: list[tuple[datetime, DatasetState, bool | None]], order: "object"
) -> None:
    def told(ends: list[tuple[datetime, DatasetState, bool | None]]) -> Row:
        row = NEW.requested(request(NOON))
        for at, state, modified in ends:
            row = row.ended(end(at, state), modified)
        return row

    shuffled = ends + ends[::2]
    order.shuffle(shuffled)  # type: ignore[attr-defined]

    assert told(shuffled) == told(ends)


@given(hours=st.integers(1, 500), tighter=st.integers(1, 500), ran=st.integers(0, 5000))
def test_tightening_a_promise_never_makes_a_row_due_later(hours: int, tighter: int, ran: int) -> None:
    row = NEW.requested(request(NOON - ran * MINUTE)).ended(end(NOON), records_modified=True)
    loose, tight = (
        row.due(Promise(fresh_within=timedelta(hours=n)), LINKED) for n in (max(hours, tighter), min(hours, tighter))
    )

    assert loose is not None
    assert tight is not None
    assert tight <= loose


def test_what_a_person_asks_for_is_due_before_all_else_until_it_is_requested() -> None:
    fresh = NEW.ended(end(NOON))

    asked = fresh.asked_for(NOON)

    assert asked.due(PROMISE, LINKED) == ASKED_FOR < BEGINNING
    requested = asked.requested(request(NOON + MINUTE, asked_by=AskedBy.PERSON))
    assert requested.asked_for_at is None
    assert requested.ended(end(NOON + 2 * MINUTE)).keeps(PROMISE, NOON)


def test_what_a_person_asks_for_while_it_is_in_flight_is_already_on_its_way() -> None:
    in_flight = NEW.requested(request(NOON))

    assert in_flight.asked_for(NOON + MINUTE) == in_flight


def test_what_a_person_asked_for_is_looked_at_when_it_is_late_though_the_promise_is_kept() -> None:
    row = NEW.ended(end(NOON)).requested(request(NOON + MINUTE, asked_by=AskedBy.PERSON))

    assert row.due(PROMISE, LINKED) == row.late_at


def test_a_person_cannot_have_refreshed_what_is_blocked() -> None:
    unlinked = replace(LINKED, status=ConnectionStatus.DEAUTHORIZED)

    assert NEW.asked_for(NOON).due(PROMISE, unlinked) is None
