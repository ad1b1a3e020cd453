"""The states of a dataset, and its record."""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.datasets.dataset import OUTCOMES, Dataset, DatasetState, Issue, Outcome, Trigger, has_ended
from tests.builders import NOON


def dataset(
    state: str,
    minute: int,
    trigger: Trigger = Trigger.EXTERNAL,
    records_modified: bool | None = None,
    issues: tuple[Issue, ...] = (),
) -> Dataset:
    return Dataset(
        company_id="company",
        dataset_id="dataset",
        data_type="invoices",
        connection_id="connection",
        trigger=trigger,
        requested_at=NOON,
        state=state,
        ended_at=NOON + timedelta(minutes=minute),
        records_modified=records_modified,
        issues=issues,
    )


def test_every_state_that_codat_documents_has_an_outcome() -> None:
    assert len(DatasetState) == 21
    assert all(OUTCOMES[state] is not Outcome.UNKNOWN for state in DatasetState)
    assert OUTCOMES["SomethingNew"] is Outcome.UNKNOWN


def test_twelve_states_are_ends() -> None:
    assert len([state for state in DatasetState if has_ended(state)]) == 12
    assert not has_ended("SomethingNew")


def test_the_first_end_counts_whichever_was_recorded_last() -> None:
    merged = dataset("FetchError", 5).merge(dataset("Complete", 2)).merge(dataset("MapError", 9))

    assert (merged.state, merged.ended_at) == ("Complete", NOON + timedelta(minutes=2))


def test_who_requested_a_dataset_is_kept() -> None:
    ours = dataset("Complete", 1, Trigger.PROMISE)

    assert dataset("Complete", 1).merge(ours).trigger is Trigger.PROMISE


def test_the_issues_of_a_read_are_kept_with_its_own_end() -> None:
    issue = Issue(type="warning.validation", message="Something is wrong.")
    with_issue = dataset("Complete", 1, issues=(issue,))

    assert dataset("Complete", 1).merge(with_issue).issues == (issue,)
    assert dataset("Complete", 0).merge(with_issue).issues == ()


ISSUES = [Issue(type="warning.validation", message=message) for message in "ab"]
RECORDS = st.lists(
    st.builds(
        dataset,
        st.sampled_from([state for state in DatasetState if has_ended(state)]),
        st.integers(0, 5),
        st.sampled_from(Trigger),
        st.sampled_from([None, True, False]),
        st.lists(st.sampled_from(ISSUES), max_size=2).map(tuple),
    ),
    min_size=1,
)


@given(records=RECORDS, random=st.randoms(use_true_random=False))
def test_merging_records_does_not_depend_on_their_order_or_repetition(records: list[Dataset], random: Random) -> None:
    def merged(records: list[Dataset]) -> Dataset:
        first, *others = records
        for other in others:
            first = first.merge(other)
        return first

    shuffled = records * 2
    random.shuffle(shuffled)

    assert merged(shuffled) == merged(records)


@pytest.mark.parametrize(
    ("meaning", "states"),
    [
        (Outcome.COMPLETE, {"Complete"}),
        (Outcome.PERSON_MUST_ACT, {"PermissionsError"}),
        (Outcome.NEVER, {"NotSupported"}),
        (
            Outcome.TRY_AGAIN,
            {
                "AuthError",  # a second one in a row asks the customer to relink
                "FetchError",
                "MapError",
                "ValidationError",
                "ProcessingError",
                "InternalError",
                "RateLimitError",
                "PrerequisiteNotMet",
                "Cancelled",
            },
        ),
        (
            Outcome.IN_FLIGHT,
            {
                "Initial",
                "Queued",
                "Fetching",
                "MapQueued",
                "Mapping",
                "ValidationQueued",
                "Validating",
                "ProcessingQueued",
                "Processing",
            },
        ),
    ],
)
def test_each_state_means_what_codat_documents(meaning: Outcome, states: set[str]) -> None:
    assert {str(state) for state in DatasetState if OUTCOMES[state] is meaning} == states
    assert {str(state) for state in DatasetState if has_ended(state)}.isdisjoint(states) is (
        meaning is Outcome.IN_FLIGHT
    )
