"""The DynamoDB tables: companies, feeds, datasets and control.

They are the only record of what is to be done and of what was done.
"""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct

from freshness.aws.dynamodb.companies import DUE_FOR_CHECK, NEEDS_RELINK
from freshness.aws.dynamodb.control_items.freshness_requests import OPEN, OPEN_OF_COMPANY
from freshness.aws.dynamodb.feeds import BROKEN, DUE


class Tables(Construct):
    """The four tables. Comments list the access patterns of each: DynamoDB operation, key, and when.

    All indexes are sparse: an item that is never due, not broken, or no longer open, is not in them. They are
    partitioned into a few shards, since one partition takes 1,000 writes a second. They project keys only, and a tick
    reads the items from the table. The index of broken promises also has the breaches, so that they can be added up.

    "Conditional" means that the item must have the version that was read. Only the command line scans tables.
    """

    def __init__(self, scope: Construct, *, disposable: bool, protected: bool = False, kms_key: str = "") -> None:
        """Create the tables.

        Disposable tables are deleted with their stack. Others are retained, unless their own creation is rolled back.
        DynamoDB refuses to delete protected tables. `kms_key` is the ARN of the KMS key that encrypts them. If it is
        empty, DynamoDB's own key does, which is free of charge, unlike calls of a KMS key.
        """
        super().__init__(scope, "Tables")
        self._disposable, self._protected = disposable, protected
        self._key = kms.Key.from_key_arn(self, "Key", kms_key) if kms_key else None

        # - Query due_for_check (shard, check_at <= now): list the companies due for a check; all: count the companies.
        # - Query needs_relink (shard), first page: show the companies whose customer must act.
        # - GetItem, BatchGetItem (company_id): read companies.
        # - PutItem (company_id), conditional: change a company.
        self.companies = self._table("Companies", "company_id")
        self._add_index(self.companies, DUE_FOR_CHECK, "check_at")
        self._add_index(self.companies, NEEDS_RELINK, "needs_relink_at")

        # The sort key `feed` is "{data_type}#{connection_id}".
        # - Query due (shard, due_at <= now): list the feeds that are due.
        # - Query broken (shard), first page: show the feeds whose promise is broken; all: add up their breaches.
        # - BatchGetItem (company_id, feed): read the feeds that are due.
        # - BatchGetItem (company_id, feed): read the feeds of a webhook, consistently, as something may be published.
        # - Query (company_id): read all feeds of a company.
        # - PutItem (company_id, feed), conditional: change a feed.
        # - DeleteItem (company_id, feed): delete a feed that no connection provides, or whose company was deleted.
        # - PutItem, BatchGetItem ("deleted#{company_id}", feed): what is kept of it, until `expires_at`.
        # - PutItem ("audit#{day}", time): an operation of a person or a program. It expires at `expires_at`.
        # - Query ("audit#{day}"): list them, from the command line.
        self.feeds = self._table("Feeds", "company_id", "feed", expires="expires_at")
        self._add_index(self.feeds, DUE, "due_at")
        self._add_index(self.feeds, BROKEN, "broken_at", "breach")

        # - BatchGetItem (company_id, dataset_id), for each company: find a dataset by its id, from the command line.
        # - Query (company_id): list the datasets of a company, for the command line and the page.
        # - PartiQLInsert (company_id, dataset_id): record a dataset that runs. It expires at `expires_at`.
        # - PartiQLUpdate (company_id, dataset_id), conditional: record how it ended.
        # - PutItem (company_id, dataset_id), conditional: how one ended that was not recorded, or is reported again.
        self.datasets = self._table("Datasets", "company_id", "dataset_id", expires="expires_at")

        # Each item has its own `name`.
        # - GetItem once a minute, PutItem conditional: which version of the policy is in force.
        # - BatchGetItem when that changed, PutItem: the content of a version, in parts, and the versions before.
        # - GetItem, PutItem: which feeds were rescheduled by which policy.
        # - GetItem, PutItem, DeleteItem: whether all refreshes are paused.
        # - PutItem if free, DeleteItem if held by the same owner: the lease of a running tick.
        # - GetItem, PutItem: how often the feeds of each kind change.
        # - GetItem, PutItem conditional: Codat's API limits, Codat's own schedule, what its last list of companies
        #   lacked, and typical sync durations.
        # - GetItem, PutItem: when the last webhook arrived.
        # - GetItem, PutItem conditional: a request for fresh data. It expires at `expires_at`.
        # - Query open (shard, open_until), open_of_company (company_id, open_until): list the requests that are open.
        # - UpdateItem: count the requests of a caller in an hour. It expires too.
        # - BatchGetItem (name): read them.
        # - UpdateItem, BatchGetItem: the attainment of an hour or a day. It expires at `expires_at`.
        # - GetItem, PutItem: sum a day's attainment, once.
        # - UpdateItem, GetItem: the refreshes of a month at platforms with a cap on spending. It expires too.
        # - GetItem: whether a company that is new was erased, by the hash of its id.
        # - PutItem if free, DeleteItem if held by the same owner: the lease of a feed that is queued or polled.
        self.control = self._table("Control", "name", expires="expires_at")
        self._add_index(self.control, OPEN, "open_until")
        self._add_index(self.control, OPEN_OF_COMPANY, "open_until", partition_key="company_id")

    def _table(
        self, name: str, partition_key: str, sort_key: str | None = None, *, expires: str | None = None
    ) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            name,
            partition_key=_string(partition_key),
            sort_key=_string(sort_key) if sort_key else None,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=(dynamodb.TableEncryption.CUSTOMER_MANAGED if self._key else dynamodb.TableEncryption.DEFAULT),
            encryption_key=self._key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute=expires,
            removal_policy=RemovalPolicy.DESTROY if self._disposable else RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
            deletion_protection=self._protected,
        )

    def _add_index(
        self, table: dynamodb.Table, name: str, sort_key: str, *projected: str, partition_key: str = "shard"
    ) -> None:
        table.add_global_secondary_index(
            index_name=name,
            partition_key=_string(partition_key),
            sort_key=_string(sort_key),
            projection_type=dynamodb.ProjectionType.INCLUDE if projected else dynamodb.ProjectionType.KEYS_ONLY,
            non_key_attributes=list(projected) or None,
        )


def _string(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
