"""How predictions that data is up to date are scored."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from unittest.mock import Mock

import pytest

from cli.doctor import predictions as examined
from freshness.aws.prediction_scores import WRITE_EVERY, PredictionScores
from freshness.aws.table import Table
from freshness.domain.calibration import BINS, Calibration, Prediction, Scores, scored
from freshness.domain.company import Company
from freshness.domain.dataset import DatasetState, Trigger
from freshness.domain.facts import ReadEnded
from freshness.domain.feed import Feed
from freshness.domain.feed_values import Request
from freshness.domain.promise import Promise
from freshness.domain.sync_history import Sync, SyncHistory
from freshness.domain.transition import Transition, transition
from freshness.planning.decision import Action, Decision, Reason
from freshness.planning.samples import samples
from simulate.memory_dynamodb import MemoryDynamoDB
from tests.unit.test_planner import NOON, company, connection, policy

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
KIND = "Xero/invoices"


def predicted(count: int, bias: float = 0.0, kind: str = KIND) -> list[Prediction]:
    """Return predictions that come true as often as they say, apart from a bias."""
    random = Random(1)
    probabilities = [random.random() for _ in range(count)]
    return [Prediction(kind, each, random.random() < each - bias) for each in probabilities]


def test_predictions_that_come_true_as_often_as_they_say_are_calibrated() -> None:
    calibration = scored(predicted(20000)).by_platform["Xero"]

    assert calibration.total.count == 20000
    assert calibration.expected_error < 0.02
    assert calibration.brier == pytest.approx(1 / 6, abs=0.01)
    for number, each in enumerate(calibration.bins):
        assert number / BINS <= each.probability / each.count <= (number + 1) / BINS


def test_a_kind_whose_predictions_are_wrong_is_poor_once_there_are_enough() -> None:
    assert scored(predicted(2000, bias=0.3)).by_kind[KIND].is_poor
    assert not scored(predicted(20, bias=0.3)).by_kind[KIND].is_poor
    assert not scored(predicted(2000)).by_kind[KIND].is_poor


def test_scores_of_parts_add_up() -> None:
    given = predicted(100) + predicted(50, kind="Sage 50/bills")
    parts = scored(given[:70]).merged(scored(given[70:]))

    assert parts.by_platform.keys() == {"Xero", "Sage 50"}
    assert parts.by_platform["Xero"].total.count == 100
    assert parts.by_kind["Sage 50/bills"].squared_error == pytest.approx(
        scored(given).by_kind["Sage 50/bills"].squared_error
    )
    assert Calibration().brier == Calibration().expected_error == 0


def queued(feed: Feed, of: Company | None = None) -> list[Decision]:
    return [Decision(feed=feed, company=of or company(), action=Action.QUEUE, reason=Reason.DUE)]


def synced(count: int) -> Feed:
    syncs = [Sync(ended_at=NOON - number * HOUR, records_modified=number % 3 == 0) for number in reversed(range(count))]
    request = Request(at=NOON - 90 * timedelta(minutes=1), trigger=Trigger.PROMISE)
    return Feed(
        company_id="company",
        data_type="invoices",
        connection_id="Xero",
        history=SyncHistory.of(syncs),
        request=request,
        changes_per_day=8.0,
    )


def after_read(feed: Feed, at: datetime, *, modified: bool = False) -> Transition:
    """Return what follows from a webhook about a read."""
    fact = ReadEnded(
        company_id="company",
        connection_id="Xero",
        data_type="invoices",
        at=at,
        state=DatasetState.COMPLETE,
        records_modified=modified,
        is_first=False,
    )
    return transition(feed, fact, Promise(fresh_within=DAY), connection(), at)


@pytest.mark.parametrize("modified", [False, True])
def test_a_sync_is_scored_by_what_was_predicted_before_it_and_once_however_often_it_is_reported(
    *, modified: bool
) -> None:
    end = NOON + 2 * HOUR
    feed = replace(synced(20), succeeded_at=NOON)
    first = after_read(feed, end, modified=modified)

    (prediction,) = first.predictions
    assert (prediction.kind, prediction.unchanged) == (KIND, not modified)
    assert prediction.probability == pytest.approx(math.exp(-8.0 * 2 / 24))
    for late in (timedelta(0), timedelta(milliseconds=300)):
        assert not after_read(first.feed, end + late, modified=modified).predictions
    assert not after_read(first.feed, end - 50 * MINUTE).predictions


def test_nothing_is_learned_twice_from_a_feed_whose_call_failed_or_from_one_that_waits() -> None:
    feed, rules = synced(20), policy()
    (sample,) = samples(queued(feed), rules)
    assert len(sample.intervals) == 2

    waits = [decision._replace(action=Action.WAIT) for decision in queued(feed)]
    for decisions in (waits, queued(replace(feed, failed_calls=1))):
        assert not samples(decisions, rules)
    (first,) = samples(queued(replace(feed, request=None)), rules)
    assert len(first.intervals) == 19
    assert not samples(queued(synced(4)), rules)


def test_scores_of_several_processes_add_up_and_are_kept_for_30_days() -> None:
    seconds, table = Mock(return_value=0.0), Table(MemoryDynamoDB(), "control")  # type: ignore[arg-type]
    first, second = PredictionScores(table, seconds), PredictionScores(table, seconds)
    for day in range(40):
        for each in (first, second):
            each.add(predicted(10), NOON + timedelta(days=day))
            seconds.return_value += WRITE_EVERY
            each.add(predicted(10), NOON + timedelta(days=day))

    scores = first.recent(NOON + timedelta(days=39))
    assert scores.by_platform["Xero"].total.count == 30 * 2 * 20
    assert first.recent(NOON - timedelta(days=1)) == Scores()


def test_scores_are_written_four_times_an_hour() -> None:
    seconds, table = Mock(return_value=0.0), Mock()
    table.get.return_value = None
    scores = PredictionScores(table, seconds)
    for minute in range(1, 121):
        seconds.return_value = 60.0 * minute
        scores.add(predicted(3), NOON + timedelta(minutes=minute))
    assert table.update.call_count == 8


def test_the_doctor_shows_what_was_predicted_and_which_kinds_are_off() -> None:
    good, bad = examined(scored([*predicted(500), *predicted(500, bias=0.4, kind="Sage 50/bills")]))

    assert good.subject == "predictions for Sage 50"
    assert "Sage 50/bills (+" in good.to_do
    assert "500 syncs" in bad.found
    assert not bad.to_do
