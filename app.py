"""The CDK app: `cdk synth` and `cdk deploy` run it."""

import sys
from pathlib import Path

from aws_cdk import App

from infra import bundling
from infra.settings import Settings, SettingsError
from infra.stack import CodatFreshness

ROOT = Path(__file__).parent
FUNCTIONS = ROOT / "functions"
sys.path.append(str(FUNCTIONS))

from freshness.policy import PolicyError, load  # noqa: E402 - `functions` is put on the path above


def main() -> None:
    """Check the policy, build the bundle, and write the stack's template to `cdk.out`."""
    app = App()
    try:
        settings = Settings.of(app.node)
        load(settings.policy)
        target = bundling.THIS_MACHINE if settings.local else bundling.LAMBDA
        bundle = bundling.build(FUNCTIONS, settings.policy, target, ROOT / ".build")
    except (SettingsError, PolicyError, bundling.BundlingError) as error:
        sys.exit(str(error))
    CodatFreshness(app, settings, bundle)
    app.synth()


if __name__ == "__main__":
    main()
