"""A stack of somebody else, with Codat Freshness in it."""

from pathlib import Path

from aws_cdk import App, Environment, Stack
from aws_cdk import aws_iam as iam

from infra.construct import CodatFreshness
from infra.settings import Settings
from tests.infra.conftest import ROOT

POLICY = ROOT / "freshness.toml"


class Lending(Stack):
    """A stack with resources of its own, and a role that asks for fresh data."""

    def __init__(self, app: App, name: str, bundle: Path, settings: Settings) -> None:
        super().__init__(app, name, env=Environment(account="111111111111", region="ap-southeast-2"))
        self.freshness = CodatFreshness(self, "Freshness", policy=POLICY, settings=settings, bundle=bundle)
        role = iam.Role(self, "Decide", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.freshness.grant_ensure_fresh(role)
