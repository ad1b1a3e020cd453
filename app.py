"""The CDK app that `cdk synth` and `cdk deploy` run."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent
sys.path.append(str(ROOT / "functions"))

WRONG = 2
"""The exit status if the policy or a setting is wrong."""


def main() -> None:
    """Validate the policy, build the bundle, and write the stack's template to `cdk.out`.

    Warn of what the template would remove from the deployed stack.
    """
    # The CDK takes ten times as long to import as these, which find most mistakes.
    from freshness.policy.errors import PolicyError
    from freshness.policy.loader import load
    from freshness.policy.unmatched import unknown_platforms
    from infra import bundling
    from infra.settings import Settings, SettingsError, context_of

    try:
        settings = Settings.read(ROOT / "deployment.toml", context_of(os.environ))
        policy = load(settings.policy)
        target = bundling.THIS_MACHINE if settings.local else bundling.LAMBDA
        bundle = bundling.build(bundling.Sources.of_this_package(), settings.policy, target, ROOT / ".build")
    except (SettingsError, PolicyError, bundling.BundlingError) as error:
        print(error, file=sys.stderr)
        sys.exit(WRONG)
    for warning in (*settings.warnings, *unknown_platforms(policy)):
        print(f"warning: {warning}", file=sys.stderr)

    from aws_cdk import App

    from infra.removals import deployed_template, removals
    from infra.stack import CodatFreshness

    app = App()
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
    try:
        main()
    except ModuleNotFoundError as error:
        print(
            f"The package {error.name} is missing: run this in the virtual environment with the packages of "
            "requirements.lock (. .venv/bin/activate).",
            file=sys.stderr,
        )
        sys.exit(WRONG)
