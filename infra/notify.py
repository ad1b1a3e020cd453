"""Sending events to the user's own HTTPS endpoint: a rule for each kind of event, and one API destination."""

from aws_cdk import Acknowledgment, Aws, Duration, SecretValue, Validations
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from constructs import Construct

from freshness.aws.event_bus import SOURCE
from freshness.domain.transitions.notifications import KINDS
from infra.event_schemas import schema
from infra.queue import Queue
from infra.settings import Settings

TRIED_FOR = Duration.hours(24)
TRIES = 185
"""The most that EventBridge makes."""


class Notify(Construct):
    """Sends the events of a bus that are named in the settings. What could not be sent is in `dead_letter_queue`."""

    def __init__(self, scope: Construct, bus: events.IEventBus, settings: Settings, secret: str) -> None:
        """Create the rules. `secret` is the name of a secret in Secrets Manager, which must exist before."""
        super().__init__(scope, "Notify")
        self.dead_letter_queue = Queue(self, "DeadLetterQueue")
        Validations.of(self.dead_letter_queue).acknowledge(
            Acknowledgment(id="AwsSolutions-SQS3", reason="It is a dead-letter queue of rules, not of a queue")
        )
        destination = events.ApiDestination(
            self,
            "Destination",
            connection=events.Connection(self, "Connection", authorization=_authorization(settings, secret)),
            endpoint=settings.notify_url,
        )
        from_this_account = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
        role = iam.Role(
            self, "Role", assumed_by=iam.ServicePrincipal("events.amazonaws.com", conditions=from_this_account)
        )
        for kind in KINDS:
            if kind.detail_type not in settings.notify_events:
                continue
            target = targets.ApiDestination(
                destination,
                event=events.RuleTargetInput.from_object(flat(kind.detail_type, list(schema(kind)["properties"]))),
                event_role=role,
                dead_letter_queue=self.dead_letter_queue,
                max_event_age=TRIED_FOR,
                retry_attempts=TRIES,
            )
            events.Rule(
                self,
                kind.__name__,
                event_bus=bus,
                event_pattern=events.EventPattern(source=[SOURCE], detail_type=[kind.detail_type]),
                targets=[target],
            )


def flat(detail_type: str, fields: list[str]) -> dict[str, str]:
    """Return the body to send for an event: its kind, its time, and the fields of its detail, all on one level."""
    detail = {field: events.EventField.from_path(f"$.detail.{field}") for field in fields}
    return {"event": detail_type, "time": events.EventField.time, **detail}


def _authorization(settings: Settings, secret: str) -> events.Authorization:
    if not settings.notify_token_url:
        return events.Authorization.api_key(settings.notify_header, SecretValue.secrets_manager(secret))
    return events.Authorization.oauth(
        authorization_endpoint=settings.notify_token_url,
        http_method=events.HttpMethod.POST,
        client_id=SecretValue.secrets_manager(secret, json_field="client_id").unsafe_unwrap(),
        client_secret=SecretValue.secrets_manager(secret, json_field="client_secret"),
        body_parameters={"grant_type": events.HttpParameter.from_string("client_credentials")},
    )
