"""Telling the receivers in deployment.toml of alarms. Others may subscribe to the topic."""

from aws_cdk import Aws, Stack
from aws_cdk import aws_chatbot as chatbot
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.settings import Settings


def tell_of_alarms(scope: Construct, topic: sns.Topic, settings: Settings) -> None:
    """Send a topic's messages by mail, over HTTPS, to Slack and to Teams, wherever the settings name a receiver."""
    if settings.alarm_email:
        topic.add_subscription(subscriptions.EmailSubscription(settings.alarm_email))
    if settings.alarm_https:
        topic.add_subscription(
            subscriptions.UrlSubscription(settings.alarm_https, protocol=sns.SubscriptionProtocol.HTTPS)
        )
    # The local AWS has no chatbot.
    if settings.local:
        return
    name = Stack.of(scope).stack_name
    if settings.slack_channel:
        chatbot.CfnSlackChannelConfiguration(
            scope,
            "Slack",
            configuration_name=f"{name}-slack",
            slack_workspace_id=settings.slack_workspace,
            slack_channel_id=settings.slack_channel,
            iam_role_arn=_role(scope, "SlackRole").role_arn,
            guardrail_policies=[_guardrail()],
            sns_topic_arns=[topic.topic_arn],
        )
    if teams := settings.teams_channel:
        chatbot.CfnMicrosoftTeamsChannelConfiguration(
            scope,
            "Teams",
            configuration_name=f"{name}-teams",
            team_id=teams.team,
            teams_tenant_id=teams.tenant,
            teams_channel_id=teams.channel,
            iam_role_arn=_role(scope, "TeamsRole").role_arn,
            guardrail_policies=[_guardrail()],
            sns_topic_arns=[topic.topic_arn],
        )


def _role(scope: Construct, name: str) -> iam.Role:
    """Return a role without permissions: whoever is in the channel sees alarms, and can do nothing."""
    from_this_account = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
    return iam.Role(scope, name, assumed_by=iam.ServicePrincipal("chatbot.amazonaws.com", conditions=from_this_account))


def _guardrail() -> str:
    """Return the policy beyond which nobody in the channel may act. Without one it would be `AdministratorAccess`."""
    return f"arn:{Aws.PARTITION}:iam::aws:policy/CloudWatchReadOnlyAccess"
