"""The secrets shared with Codat, which a person copies after the first deployment."""

from aws_cdk import Acknowledgment, Validations
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct


class Secrets(Construct):
    """Secrets that hold random text until they are set: a key that Codat refuses, a signature that no one makes."""

    def __init__(self, scope: Construct) -> None:
        super().__init__(scope, "Secrets")
        self.codat_api_key = self._secret("CodatApiKey", "Codat's API key, as its portal shows it")
        self.webhook_signing = self._secret(
            "WebhookSigning", "The webhook's signing secret, as Codat's portal shows it"
        )

    def add_webhook_header(self) -> secretsmanager.Secret:
        """Make up the value of a header by which webhooks are told from other requests; Codat's portal is given it."""
        return self._secret("WebhookHeader", "The value of the header that Codat's webhook endpoint is set to send")

    def _secret(self, name: str, description: str) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            name,
            description=description,
            # Letters and digits, a multiple of four of them, are also valid base64, as a signing secret must be.
            generate_secret_string=secretsmanager.SecretStringGenerator(password_length=32, exclude_punctuation=True),
        )
        Validations.of(secret).acknowledge(
            Acknowledgment(id="AwsSolutions-SMG4", reason="Only Codat's portal can issue it, so AWS cannot rotate it")
        )
        return secret
