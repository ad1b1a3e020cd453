"""The outputs of the CloudFormation stack."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_pascal

from freshness.aws.dynamodb.tables import TableNames


class Outputs(BaseModel):
    """The outputs by name. Each alias is the key that `infra.construct` gives the output."""

    model_config = ConfigDict(frozen=True, alias_generator=to_pascal, extra="allow")

    api_url: str
    webhook_url: str
    companies_table: str
    feeds_table: str
    datasets_table: str
    control_table: str
    event_bus_name: str
    webhook_queue_url: str
    webhook_dead_letter_queue_url: str
    codat_api_key_secret: str
    webhook_signing_secret: str
    check_freshness_function: str
    queue_refreshes_function: str
    receive_webhook_function: str
    apply_webhook_function: str
    serve_api_function: str
    notify_dead_letter_queue_url: str = ""
    """Empty without `notify_url`."""
    show_page_function: str = ""
    """Empty without a dashboard. So is the next output."""
    act_on_page_function: str = ""
    kms_key: str = ""
    """Empty if the stack has no KMS key of its own."""

    @property
    def tables(self) -> TableNames:
        """Return the names of the tables."""
        return TableNames(
            companies=self.companies_table,
            feeds=self.feeds_table,
            datasets=self.datasets_table,
            control=self.control_table,
        )
