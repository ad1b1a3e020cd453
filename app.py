"""The CDK app that `cdk synth` and `cdk deploy` run."""

import os
import sys
from pathlib import Path

from aws_cdk import App

ROOT = Path(__file__).parent
FUNCTIONS = ROOT / "functions"
sys.path.append(str(FUNCTIONS))

# These imports need `functions` on the path.
from freshness.policy.errors import PolicyError  # noqa: E402
from freshness.policy.loader import load  # noqa: E402
from infra import bundling  # noqa: E402
from infra.removals import deployed_template, removals  # noqa: E402
from infra.settings import Settings, SettingsError  # noqa: E402
from infra.stack import CodatFreshness  # noqa: E402


def main() -> None:
    """Validate the policy, build the bundle, and write the stack's template to `cdk.out`.

    Warn of what the template would remove from the deployed stack.
    """
    app = App()
    try:
        settings = Settings.from_context(app.node, ROOT / "deployment.toml")
        policy = load(settings.policy)
        target = bundling.THIS_MACHINE if settings.local else bundling.LAMBDA
        bundle = bundling.build(FUNCTIONS, settings.policy, target, ROOT / ".build")
    except (SettingsError, PolicyError, bundling.BundlingError) as error:
        sys.exit(str(error))
    CodatFreshness(app, settings, bundle, has_deadlines=bool(policy.deadlines))
    template = app.synth().get_stack_by_name(settings.name).template
    account, region = os.environ.get("CDK_DEFAULT_ACCOUNT"), os.environ.get("CDK_DEFAULT_REGION")
    if account and region and not settings.local:
        for gone in removals(deployed_template(settings.name, account, region) or {}, template):
            print(
                f"warning: this removes {gone} from the deployed stack {settings.name}. If you do not intend that, set "
                "in deployment.toml what an earlier deployment was given.",
                file=sys.stderr,
            )


if __name__ == "__main__":
    main()
