"""The four tables: the only record of what is to be done, and of what was."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

DUE_FOR_CHECK = "due_for_check"
"""The index of companies by when to check them next."""

DUE = "due"
"""The index of freshness feeds by when to look at them next."""


class Tables(Construct):
    """The tables, each with every way in which it is read or written beside it.

    Both indexes are sparse (what is never due is not in them), spread over a few shards (one partition takes
    1,000 writes a second), and hold keys alone: what a tick acts on, it reads from the table.
    """

    def __init__(self, scope: Construct, *, disposable: bool) -> None:
        """Disposable tables go with their stack. Others outlive it, and refuse to be deleted."""
        super().__init__(scope, "Tables")
        self._disposable = disposable

        # due for a check          Query due_for_check: shard, check_at <= now
        # one, several             GetItem, BatchGetItem: company_id
        # a change to one          PutItem, if still as it was read: company_id
        self.companies = self._table("Companies", "company_id")
        self._add_index(self.companies, DUE_FOR_CHECK, "check_at")

        # A feed is a data type of one connection: feed is "{data_type}#{connection_id}".
        # due for a refresh        Query due: shard, due_at <= now; then BatchGetItem: company_id, feed
        # one, all of a company    GetItem: company_id, feed; Query: company_id
        # a change to one          PutItem, if still as it was read: company_id, feed
        # one that no one feeds    DeleteItem: company_id, feed
        self.feeds = self._table("Feeds", "company_id", "feed")
        self._add_index(self.feeds, DUE, "due_at")

        # one, all of a company    GetItem: company_id, dataset_id; Query: company_id
        # a change to one          PutItem, if still as it was read: company_id, dataset_id
        self.datasets = self._table("Datasets", "company_id", "dataset_id", expires="expires_at")

        # whether all is paused    GetItem: name
        # a lease                  PutItem, if free; DeleteItem, if one's own: name
        # how often feeds change    GetItem; PutItem: name
        # Codat's quota, its own schedule, typical sync times
        #                          GetItem; PutItem, if still as it was read: name
        # a webhook applied        GetItem, PutItem: name; forgotten when it can come no more
        # when webhooks came       GetItem, PutItem: name
        self.control = self._table("Control", "name", expires="expires_at")

    def _table(
        self, name: str, partition_key: str, sort_key: str | None = None, *, expires: str | None = None
    ) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            name,
            partition_key=_string(partition_key),
            sort_key=_string(sort_key) if sort_key else None,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute=expires,
            removal_policy=RemovalPolicy.DESTROY if self._disposable else RemovalPolicy.RETAIN,
            deletion_protection=not self._disposable,
        )

    def _add_index(self, table: dynamodb.Table, name: str, sort_key: str) -> None:
        table.add_global_secondary_index(
            index_name=name,
            partition_key=_string("shard"),
            sort_key=_string(sort_key),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )


def _string(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
