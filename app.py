"""The CDK app that `cdk synth` and `cdk deploy` run."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
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
    from infra import bundling
    from infra.settings import Deployment, SettingsError, context_of

    try:
        deployment = Deployment.read(ROOT / "deployment.toml", context_of(os.environ))
        load(deployment.policy)
        # Imported while the bundle is built: most of an import is the start of another process.
        importing = ThreadPoolExecutor().submit(import_module, "infra.freshness_stack")
        bundle = bundling.build_for(deployment.policy, ROOT / ".build", local=deployment.local)
    except (SettingsError, PolicyError, bundling.BundlingError) as error:
        print(error, file=sys.stderr)
        sys.exit(WRONG)

    importing.result()
    from aws_cdk import App

    from freshness.policy import compiled
    from infra.freshness_stack import FreshnessStack
    from infra.removals import deployed_policies, deployed_template, removals, replaced_policy

    app = App()
    FreshnessStack(app, deployment, bundle)
    template = app.synth().get_stack_by_name(deployment.name).template
    account, region = os.environ.get("CDK_DEFAULT_ACCOUNT"), os.environ.get("CDK_DEFAULT_REGION")
    if account and region:
        for gone in removals(deployed_template(deployment.name, account, region) or {}, template):
            print(
                f"warning: this removes {gone} from the deployed stack {deployment.name}. If you do not intend that, "
                "set in deployment.toml what an earlier deployment was given.",
                file=sys.stderr,
            )
        policy = compiled.parse(compiled.read(bundle))
        if replaced := replaced_policy(deployed_policies(deployment.name, account, region), policy):
            print(
                f"warning: this replaces the policy in force by {deployment.policy.name}: {replaced}. If you do not "
                f"intend that, put it into the file first: ./freshness policy show > {deployment.policy}",
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
