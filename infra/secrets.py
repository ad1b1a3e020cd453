"""The secrets shared with Codat, which the user sets after the first deployment."""

from aws_cdk import Acknowledgment, RemovalPolicy, Validations
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct


class Secrets(Construct):
    """Secrets with random values until they are set, so that Codat refuses the key and no signature is valid."""

    def __init__(self, scope: Construct, *, disposable: bool) -> None:
        """Create the secrets. Disposable ones are deleted with their stack; others are retained."""
        super().__init__(scope, "Secrets")
        self._removal_policy = RemovalPolicy.DESTROY if disposable else RemovalPolicy.RETAIN
        self.codat_api_key = self._secret("CodatApiKey", "Codat's API key, as its portal shows it")
        self.webhook_signing = self._secret(
            "WebhookSigning", "The webhook's signing secret, as Codat's portal shows it"
        )

    def add_webhook_header(self) -> secretsmanager.Secret:
        """Add a random secret for the header that identifies webhooks, which the user copies to Codat's portal."""
        return self._secret(
            "WebhookHeader", "The value of the header that Codat's webhook endpoint is configured to send"
        )

    def _secret(self, name: str, description: str) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            name,
            description=description,
            removal_policy=self._removal_policy,
            # A signing secret must be base64. Letters and digits are, if their number is a multiple of four.
            generate_secret_string=secretsmanager.SecretStringGenerator(password_length=32, exclude_punctuation=True),
        )
        Validations.of(secret).acknowledge(
            Acknowledgment(id="AwsSolutions-SMG4", reason="Only Codat's portal can issue it, so AWS cannot rotate it")
        )
        return secret
