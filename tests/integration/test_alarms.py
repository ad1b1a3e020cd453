"""Every alarm is raised by what real handlers emit in a state that should raise it, and by no other."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from uuid import uuid4

import boto3
import pytest

import receive_webhook
import serve_api
from codat_sandbox.server import running_sandbox
from freshness.app.api.routes import Route
from freshness.app.services import Services
from freshness.app.webhook_heartbeat import WEBHOOK_RECEIVED
from freshness.aws.dynamodb.tables import Tables
from freshness.policy.file.schema import CodatTable
from local.http_api import context
from stack_access.api import api_event
from tests.builders import MINUTE
from tests.infra.template import Properties
from tests.infra.test_alarms import WATCHED, alarms
from tests.integration.alarm_state import CloudWatch, evaluate
from tests.integration.deployed import ANOTHER_SECRET, API_KEY, SETTINGS, Deployed, policy_with_deadline, signed
from tests.integration.roles import Roles, template


@dataclass
class Stack:
    """The deployed functions, and the metrics about them."""

    deployed: Deployed
    cloudwatch: CloudWatch
    patch: pytest.MonkeyPatch

    def check(self, within: timedelta = 5 * MINUTE, *, listing: bool = True) -> None:
        self.cloudwatch.run("CheckFreshnessFunction", lambda: self.deployed.check(within, listing=listing))

    def queue(self, within: timedelta = 5 * MINUTE) -> None:
        self.cloudwatch.run("QueueRefreshesFunction", lambda: self.deployed.queue(within))

    def receive(self, event: object) -> None:
        self.cloudwatch.run("ReceiveWebhookFunction", lambda: receive_webhook.handler(event, context()))  # type: ignore[arg-type]

    def apply(self, body: str) -> None:
        self.cloudwatch.run("ApplyWebhookFunction", lambda: self.deployed.apply(body))

    def ask(self) -> None:
        event = api_event("GET", Route.GET_FRESHNESS.path("unknown"))
        self.cloudwatch.run("ServeApiFunction", lambda: serve_api.handler(event, context()))

    def repeat(self, times: int, every: timedelta, *runs: Callable[[], None]) -> None:
        for _ in range(times):
            self.deployed.ahead += every
            for run in runs:
                run()

    def break_tables(self) -> None:
        def fail() -> Services:
            raise OSError("no tables")

        self.patch.setattr(Services, "deployed", fail)

    def make_old(self) -> None:
        """Let all data be older than promised."""
        self.check()
        self.deployed.ahead += timedelta(days=8)

    def forge(self, number: int) -> None:
        """Send webhooks that another secret signed."""
        for _ in range(number):
            self.receive(signed(secret=ANOTHER_SECRET))

    def count_dead_letters(self) -> None:
        """Record the number of messages in the dead-letter queue of webhooks, as SQS does."""
        url = self.dead_letters
        attributes = boto3.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]
        self.cloudwatch.put(
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            {"QueueName": "WebhookIntakeDeadLetterQueue"},
            float(attributes["ApproximateNumberOfMessages"]),
        )

    dead_letters: str = ""


@pytest.fixture(scope="session")
def deployed_alarms() -> dict[str, Properties]:
    return alarms(template())


@pytest.fixture
def stack(
    request: pytest.FixtureRequest,
    aws: None,
    tables: Tables,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    roles: Roles,
) -> Iterator[Stack]:
    # Ten connections are many, and elsewhere fewer companies make a test quicker.
    needs_many = any(name in request.node.name for name in ("ManyCompaniesBlocked", "ListingDoubted"))
    companies = 12 if needs_many else 2
    settings = SETTINGS.model_copy(update={"companies": companies})
    with running_sandbox(settings, API_KEY) as sandbox:
        made = Stack(
            Deployed(tables, sandbox, monkeypatch, roles),
            CloudWatch(capsys, lambda: made.deployed.clock()),
            monkeypatch,
        )
        made.dead_letters = boto3.client("sqs").create_queue(QueueName=uuid4().hex)["QueueUrl"]
        monkeypatch.setenv("WEBHOOK_DEAD_LETTER_QUEUE_URL", made.dead_letters)
        monkeypatch.setenv("MAX_RECEIVE_COUNT", "20")
        yield made


def paused(stack: Stack) -> None:
    """Pause everything until most data is older than promised."""
    stack.check()
    stack.deployed.tables.control.pause()
    stack.deployed.ahead += timedelta(days=8)
    stack.queue()
    stack.check()
    stack.repeat(1, 15 * MINUTE, stack.queue, stack.check)


def idle(stack: Stack) -> None:
    stack.repeat(9, 5 * MINUTE, stack.queue, lambda: stack.check(listing=False))


def too_old(stack: Stack) -> None:
    stack.make_old()
    stack.queue()


def refreshed_nine_hours_ago(stack: Stack) -> None:
    stack.check()
    stack.queue()
    for company in stack.deployed.tables.companies.scan():
        stack.deployed.tables.companies.put(replace(company, check_at=stack.deployed.clock(), checked_at=None))
    stack.check()
    stack.deployed.ahead += 9 * 60 * MINUTE
    stack.queue()


def no_refresh_can_be_queued(stack: Stack) -> None:
    stack.make_old()
    stack.deployed.stub("POST", status=500)
    stack.repeat(3, 15 * MINUTE, stack.queue)


def no_refresh_can_be_queued_for_a_quarter_of_an_hour(stack: Stack) -> None:
    no_refresh_can_be_queued(stack)
    stack.deployed.unstub()
    stack.repeat(1, 15 * MINUTE, stack.queue)


def quota_left(stack: Stack, left: int) -> None:
    control, now = stack.deployed.tables.control, stack.deployed.clock()
    control.update_api_limits(control.api_limits(), lambda limits: limits.with_quota(1000, left, now))
    stack.queue()


def key_refused(stack: Stack, run: Callable[[Stack], None]) -> None:
    stack.make_old()
    stack.deployed.key("wrong")
    run(stack)


def account_refused(stack: Stack, run: Callable[[Stack], None]) -> None:
    stack.make_old()
    stack.deployed.stub(status=402)
    run(stack)


def with_deadline(stack: Stack, *, is_paused: bool) -> None:
    """Let a deadline come in an hour, for which all data must be refreshed again."""
    policy = policy_with_deadline(stack.deployed.clock() + 60 * MINUTE)
    stack.deployed.policy = policy
    stack.check()
    if is_paused:
        stack.deployed.tables.control.pause()
    stack.queue()


def pinned(stack: Stack, account: str, run: Callable[[Stack], None]) -> None:
    stack.make_old()
    policy = stack.deployed.policy.model_copy(update={"codat": CodatTable(account=account)})
    stack.deployed.policy = policy
    calls = stack.deployed.sandbox.sandbox.calls
    calls.clear()
    run(stack)
    if account == "Codat sandbox":
        assert calls["get-profile"] <= 1
        assert calls.total() > 1
    else:
        assert calls == {"get-profile": 1}


def overrun(stack: Stack, minutes: int) -> None:
    stack.make_old()
    stack.repeat(minutes // 5, 5 * MINUTE, lambda: stack.queue(timedelta(seconds=1)))


def failing_ticks(stack: Stack, run: Callable[[Stack], None]) -> None:
    stack.break_tables()
    run(stack)


def two_failing_ticks_of_three(stack: Stack, run: Callable[[Stack], None]) -> None:
    run(stack)
    stack.break_tables()
    run(stack)
    run(stack)


def one_failing_tick_of_two(stack: Stack, run: Callable[[Stack], None]) -> None:
    run(stack)
    stack.break_tables()
    run(stack)


def silent(stack: Stack) -> None:
    stack.make_old()
    stack.queue()
    stack.deployed.ahead += 10 * MINUTE
    stack.check()


def webhooks_arrive(stack: Stack) -> None:
    stack.make_old()
    stack.queue()
    stack.deployed.ahead += 10 * MINUTE
    stack.deployed.tables.control.put_done(WEBHOOK_RECEIVED, stack.deployed.clock())
    stack.check()


def connections_lost(stack: Stack, number: int) -> None:
    """Let a check report half of the connections that are lost, and webhooks the others."""
    stack.check()
    linked = [
        (company.company_id, connection.connection_id)
        for company in stack.deployed.tables.companies.scan()
        for connection in company.connections.values()
        if connection.is_linked
    ][:number]
    assert len(linked) == number
    for company_id, connection_id in linked[: number // 2]:
        stack.deployed.deauthorize(company_id, connection_id)
    stack.check()
    for company_id, connection_id in linked[number // 2 :]:
        report_lapse(stack, company_id, connection_id)


def report_lapse(stack: Stack, company_id: str, connection_id: str) -> None:
    lapse = partial(stack.deployed.report_lapse, company_id, connection_id)
    stack.cloudwatch.run("ApplyWebhookFunction", lapse)


def listing_lacks(stack: Stack, keep: int) -> None:
    """Let a list have only some of the companies."""
    stack.check()
    companies = [company.company_id for company in stack.deployed.tables.companies.scan()][:keep]
    listed = json.dumps({"results": [{"id": company_id} for company_id in companies]})
    stack.deployed.stub(path="/companies", body=listed, times=1)
    stack.deployed.ahead += 15 * MINUTE
    stack.check()


def no_ticks(stack: Stack) -> None:
    assert stack.cloudwatch.values == []


def failing_intake(stack: Stack) -> None:
    stack.receive(None)
    stack.receive(None)


def failing_application(stack: Stack) -> None:
    stack.break_tables()
    stack.apply("{}")
    stack.apply("{}")


def failing_api(stack: Stack) -> None:
    stack.break_tables()
    stack.ask()
    stack.ask()


def unknown_companies(stack: Stack) -> None:
    stack.ask()
    stack.ask()


def two_malformed_webhooks(stack: Stack) -> None:
    stack.apply("{")
    stack.apply("{")


def malformed_webhook(stack: Stack) -> None:
    stack.apply("{")
    stack.count_dead_letters()


def applied_webhook(stack: Stack) -> None:
    stack.check()
    company, connection_id = stack.deployed.linked()
    report_lapse(stack, company.company_id, connection_id)
    stack.count_dead_letters()


Scenario = Callable[[Stack], None]
RAISED: list[tuple[str, Scenario]] = [
    ("ErrorBudgetBurning", paused),
    ("DataTooOld", too_old),
    ("ListingDoubted", lambda stack: listing_lacks(stack, 0)),
    ("DeadlinesAtRisk", lambda stack: with_deadline(stack, is_paused=True)),
    ("RefreshesNotQueued", no_refresh_can_be_queued),
    ("QuotaNearlySpent", lambda stack: quota_left(stack, 94)),
    ("AccessRefused", lambda stack: key_refused(stack, Stack.queue)),
    ("AccessRefused", lambda stack: key_refused(stack, Stack.check)),
    ("AccessRefused", lambda stack: account_refused(stack, Stack.queue)),
    ("AccessRefused", lambda stack: account_refused(stack, Stack.check)),
    ("AccessRefused", lambda stack: pinned(stack, "Another account", Stack.queue)),
    ("AccessRefused", lambda stack: pinned(stack, "Another account", Stack.check)),
    ("TicksOverrunning", lambda stack: overrun(stack, 45)),
    ("CheckFreshnessFailing", no_ticks),
    ("CheckFreshnessFailing", lambda stack: failing_ticks(stack, Stack.check)),
    ("QueueRefreshesFailing", no_ticks),
    ("QueueRefreshesFailing", lambda stack: failing_ticks(stack, Stack.queue)),
    ("FunctionsFailing", lambda stack: two_failing_ticks_of_three(stack, Stack.check)),
    ("FunctionsFailing", lambda stack: two_failing_ticks_of_three(stack, Stack.queue)),
    ("FunctionsFailing", failing_intake),
    ("FunctionsFailing", failing_application),
    ("FunctionsFailing", failing_api),
    ("WebhooksSilent", silent),
    ("SignaturesFailing", lambda stack: stack.forge(5)),
    ("WebhooksNotApplied", malformed_webhook),
    ("ManyCompaniesBlocked", lambda stack: connections_lost(stack, 10)),
]
NOT_RAISED: list[tuple[str, Scenario]] = [
    ("ErrorBudgetBurning", idle),
    ("DataTooOld", refreshed_nine_hours_ago),
    ("ListingDoubted", lambda stack: listing_lacks(stack, 11)),
    ("DeadlinesAtRisk", lambda stack: with_deadline(stack, is_paused=False)),
    ("RefreshesNotQueued", no_refresh_can_be_queued_for_a_quarter_of_an_hour),
    ("QuotaNearlySpent", lambda stack: quota_left(stack, 100)),
    ("AccessRefused", too_old),
    ("AccessRefused", lambda stack: pinned(stack, "Codat sandbox", Stack.queue)),
    ("AccessRefused", lambda stack: pinned(stack, "Codat sandbox", Stack.check)),
    ("TicksOverrunning", lambda stack: overrun(stack, 30)),
    ("CheckFreshnessFailing", lambda stack: one_failing_tick_of_two(stack, Stack.check)),
    ("QueueRefreshesFailing", lambda stack: one_failing_tick_of_two(stack, Stack.queue)),
    ("FunctionsFailing", lambda stack: one_failing_tick_of_two(stack, Stack.queue)),
    ("FunctionsFailing", lambda stack: stack.forge(2)),
    ("FunctionsFailing", two_malformed_webhooks),
    ("FunctionsFailing", unknown_companies),
    ("WebhooksSilent", webhooks_arrive),
    ("SignaturesFailing", lambda stack: stack.forge(4)),
    ("WebhooksNotApplied", applied_webhook),
    ("ManyCompaniesBlocked", lambda stack: connections_lost(stack, 9)),
]


@pytest.mark.parametrize(("name", "scenario"), RAISED)
def test_an_alarm_is_raised(
    stack: Stack, deployed_alarms: dict[str, Properties], name: str, scenario: Scenario
) -> None:
    scenario(stack)
    assert stack.cloudwatch.is_raised(deployed_alarms[name])


@pytest.mark.parametrize(("name", "scenario"), NOT_RAISED)
def test_an_alarm_is_not_raised(
    stack: Stack, deployed_alarms: dict[str, Properties], name: str, scenario: Scenario
) -> None:
    scenario(stack)
    assert not stack.cloudwatch.is_raised(deployed_alarms[name])


def test_every_alarm_has_a_state_that_raises_it_and_one_that_does_not() -> None:
    assert {name for name, _ in RAISED} == {name for name, _ in NOT_RAISED} == WATCHED


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("IF(a - b < 1 OR b >= 2, 1, 0)", 1),
        ("IF(a - c < 1 OR c >= 2, 1, 0)", None),
        ("MAX([a, c])", 3),
    ],
)
def test_expressions_have_the_value_that_cloudwatch_gives_them(expression: str, value: float | None) -> None:
    assert evaluate(expression, {"a": 3.0, "b": 2.5, "c": None}) == value
