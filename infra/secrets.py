"""The secrets shared with Codat: parameters of Systems Manager that the user stores after the first deployment.

CloudFormation cannot create encrypted parameters. The template only names them, and they outlive the stack. Unlike the
secrets of Secrets Manager they are free of charge.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Secrets:
    """The names of the secrets of a stack."""

    stack_name: str

    @property
    def codat_api_key(self) -> str:
        """Codat's API key, as its portal shows it."""
        return f"/{self.stack_name}/codat-api-key"

    @property
    def webhook_signing(self) -> str:
        """The webhook's signing secret, as Codat's portal shows it."""
        return f"/{self.stack_name}/webhook-signing-secret"

    @property
    def notify(self) -> str:
        """The secret of the endpoint that events are sent to: in Secrets Manager, from which EventBridge reads it."""
        return f"/{self.stack_name}/notify"

    @property
    def webhook_header(self) -> str:
        """The value of the header that Codat's webhook endpoint is configured to send."""
        return f"/{self.stack_name}/webhook-header"
