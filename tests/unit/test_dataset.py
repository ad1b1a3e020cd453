"""The states of a dataset, and what is kept of it."""

from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.dataset import IN_FLIGHT, Dataset, DatasetState, Outcome, Trigger, has_ended, may_follow, outcome

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def dataset(states: dict[str, int], trigger: Trigger = Trigger.EXTERNAL) -> Dataset:
    times = {state: NOON + timedelta(minutes=minute) for state, minute in states.items()}
    ended_at = min((at for state, at in times.items() if has_ended(state)), default=None)
    return Dataset(
        company_id="company",
        dataset_id="dataset",
        data_type="invoices",
        connection_id="connection",
        trigger=trigger,
        requested_at=NOON,
        states=times,
        ended_at=ended_at,
    )


def test_every_state_that_codat_documents_means_something() -> None:
    assert len(DatasetState) == 21
    assert all(outcome(state) is not Outcome.UNKNOWN for state in DatasetState)
    assert outcome("SomethingNew") is Outcome.UNKNOWN


def test_an_end_is_final_and_can_follow_every_state_in_flight() -> None:
    ends = [state for state in DatasetState if has_ended(state)]

    assert len(ends) == 12
    assert all(may_follow(state, end) for state in IN_FLIGHT for end in ends)
    assert not any(may_follow(end, state) for end in ends for state in DatasetState)


def test_states_in_flight_only_move_on() -> None:
    assert may_follow("Queued", "Fetching")
    assert may_follow("Queued", "Processing")
    assert not may_follow("Processing", "Queued")
    assert may_follow("Queued", "SomethingNew")
    assert may_follow("SomethingNew", "Complete")


def test_the_furthest_state_counts_whichever_was_told_last() -> None:
    assert dataset({"Queued": 0}).merge(dataset({"Mapping": 2})).merge(dataset({"Fetching": 1})).state == "Mapping"


def test_who_asked_for_it_is_not_forgotten() -> None:
    ours = dataset({"Queued": 0}, Trigger.PROMISE)

    assert dataset({"Fetching": 1}).merge(ours).trigger is Trigger.PROMISE


SIGHTINGS = st.lists(
    st.dictionaries(st.sampled_from(list(DatasetState)), st.integers(0, 9), min_size=1, max_size=3), min_size=1
)


@given(sightings=SIGHTINGS, random=st.randoms(use_true_random=False))
def test_what_is_kept_of_a_dataset_does_not_depend_on_the_order_of_hearing_it(
    sightings: list[dict[str, int]], random: Random
) -> None:
    def merged(sightings: list[dict[str, int]]) -> Dataset:
        first, *others = map(dataset, sightings)
        for other in others:
            first = first.merge(other)
        return first

    shuffled = sightings * 2
    random.shuffle(shuffled)

    assert merged(shuffled) == merged([sightings[0], *sightings])
