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
        """Return the name of the secret with Codat's API key, as its portal shows the key."""
        return f"/{self.stack_name}/codat-api-key"

    @property
    def webhook_signing(self) -> str:
        """Return the name of the secret with the webhook's signing secret, as Codat's portal shows that."""
        return f"/{self.stack_name}/webhook-signing-secret"

    @property
    def notify(self) -> str:
        """Return the name of the secret of `notify_url`. It is in Secrets Manager, where EventBridge reads it."""
        return f"/{self.stack_name}/notify"

    @property
    def webhook_header(self) -> str:
        """Return the name of the secret with the value of the header that Codat's webhooks must have."""
        return f"/{self.stack_name}/webhook-header"
