"""The CloudFormation stack that this repository deploys."""

from pathlib import Path

from aws_cdk import CliCredentialsStackSynthesizer, Stack
from constructs import Construct

from infra.construct import CodatFreshness
from infra.settings import Deployment


class FreshnessStack(Stack):
    """A stack with nothing but Codat Freshness."""

    def __init__(self, scope: Construct, deployment: Deployment, bundle: Path) -> None:
        """Create the stack. `bundle` is the folder with the code of all functions."""
        super().__init__(
            scope,
            deployment.name,
            description="Keeps companies' data at Codat as fresh as freshness.toml promises",
            termination_protection=not deployment.local,
            # The local AWS does not know a condition in the policies of the roles that `cdk bootstrap` makes.
            synthesizer=CliCredentialsStackSynthesizer() if deployment.local else None,
        )
        # The CDK leaves this name out of the logical ids, so those of deployed stacks do not change.
        CodatFreshness(self, "Default", policy=deployment.policy, settings=deployment, bundle=bundle)
