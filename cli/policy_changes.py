"""`freshness policy show`, `diff`, `push`, `history` and `rollback`: the policy in force, and changing it."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import Json, selected_stack
from cli.errors import CommandError
from cli.output import new_table, print_json, print_table, print_text
from cli.plan import print_effect
from freshness.app import audit
from freshness.app.policy_in_force import DEPLOYED_ONLY
from freshness.app.reading.text import moment
from freshness.aws.dynamodb.control_items.policy_versions import PolicyVersion
from freshness.domain.audit import Operation
from freshness.policy import compiled
from freshness.policy.errors import PolicyError, described, line_numbers
from freshness.policy.file.values import quoted
from freshness.policy.policy import Policy
from freshness.policy.unmatched import warnings
from stack_access.errors import StackError
from stack_access.stack import DeployedStack, clock

File = Annotated[Path, typer.Argument(metavar="FILE", help="The policy file.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
WITHIN = "It is in force on all functions within a minute."
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def show(context: typer.Context, *, as_json: Json = False) -> None:
    """Print the policy file that is in force."""
    policies = selected_stack(context).policies
    latest = policies.latest()
    text = compiled.text_of(policies.content(latest))
    print_json({"version": latest, "text": text}) if as_json else print(text, end="")


def diff(context: typer.Context, file: File = Path("freshness.toml")) -> None:
    """Show how a policy file differs from the policy in force. The exit status is 1 if it does."""
    policies = selected_stack(context).policies
    content, latest = compiled.compiled(file), policies.latest()
    _print_diff(compiled.text_of(policies.content(latest)), compiled.text_of(content), latest, str(file))
    if compiled.parse(content).fingerprint != latest.fingerprint:
        raise typer.Exit(1)
    print_text(f"{file} says what the policy in force says.")


def push(context: typer.Context, file: File = Path("freshness.toml"), *, yes: Yes = False) -> None:
    """Put a policy file in force without a deployment. A later deployment of a changed policy file replaces it."""
    stack = selected_stack(context)
    content = compiled.compiled(file)
    latest = _changeable(stack)
    _require_account(stack, latest, content, file)
    for warning in warnings(compiled.parse(content), clock().date()):
        print_text(f"warning: {warning}", "yellow")
    _change(stack, latest, content, name=str(file), how="pushed", yes=yes)


def history(context: typer.Context, *, as_json: Json = False) -> None:
    """List the policies that were in force, with who put each in force, and when."""
    policies = selected_stack(context).policies
    versions = policies.versions.history(policies.latest())
    if as_json:
        print_json(versions)
        return
    table = new_table("version", "since (UTC)", "by", "how", "fingerprint")
    for each in versions:
        table.add_row(str(each.version), moment(each.at), each.by, each.how, each.fingerprint)
    print_table(table)


def rollback(
    context: typer.Context,
    version: Annotated[
        int | None, typer.Argument(min=1, help="The version; by default, the last one that was different.")
    ] = None,
    *,
    yes: Yes = False,
) -> None:
    """Put an earlier policy in force again."""
    stack = selected_stack(context)
    latest = _changeable(stack)
    wanted = stack.policies.version(version) if version else _last_different(stack, latest)
    content, name = stack.policies.content(wanted), f"version {wanted.version}"
    _change(stack, latest, content, name=name, how=f"rolled back to {name}", yes=yes)


def _changeable(stack: DeployedStack) -> PolicyVersion:
    """Return the version in force.

    Raises:
        CommandError: the deployment allows no change.
    """
    if stack.environment(stack.outputs.queue_refreshes_function).get("POLICY_SOURCE") == DEPLOYED_ONLY:
        raise CommandError('policy_source in deployment.toml is "deployed only": deploy the policy with "cdk deploy".')
    return stack.policies.latest()


def _require_account(stack: DeployedStack, latest: PolicyVersion, content: str, file: Path) -> None:
    """Require that a compiled policy names the same Codat account as the deployed policy.

    Raises:
        PolicyError: it names another account, or only one of them names any.
    """
    deployed = stack.policies.deployed(latest) or stack.policies.in_force()
    known, given = (each.codat.account for each in (deployed, compiled.parse(content)))
    if given == known:
        return
    mistake = (
        f"codat.account: expected {_account(known)}, as deployed, got {_account(given)}: with the key of another "
        'account, nothing would be read. Name the stack of this policy with --stack, or deploy it with "cdk deploy".'
    )
    lines = line_numbers(compiled.text_of(content))
    raise PolicyError(described([(("codat", "account"), mistake)], str(file), lines))


def _account(name: str) -> str:
    return quoted(name) if name else "none"


def _last_different(stack: DeployedStack, latest: PolicyVersion) -> PolicyVersion:
    before = stack.policies.versions.before(latest)
    found = next((each for each in before if each.fingerprint != latest.fingerprint), None)
    if found is None:
        raise CommandError("No other policy was in force before.")
    return found


def _change(stack: DeployedStack, latest: PolicyVersion, content: str, *, name: str, how: str, yes: bool) -> None:
    """Show what would change, ask, and put a compiled policy in force."""
    try:
        before = compiled.text_of(stack.policies.content(latest))
    except StackError as error:
        print_text(str(error), "yellow")
        before = ""
    text = compiled.text_of(content)
    if before == text:
        print_text(f"{name} is in force already.")
        return
    _print_diff(before, text, latest, name)
    policy = compiled.parse(content)
    print_effect(stack, stack.policies.in_force(), policy)
    for each in _left_to_do(stack, latest, policy):
        print_text(f"warning: {each}", "yellow")
    if not yes and not typer.confirm("Put it in force?"):
        raise CommandError("Nothing was changed.")
    with audit.recorded(stack.services, stack.actor, Operation.POLICY_PUSH, how):
        version = stack.policies.put(content, latest, by=stack.caller, how=how)
    print_text(f"{name} is version {version.version}. {WITHIN}")


def _left_to_do(stack: DeployedStack, latest: PolicyVersion, policy: Policy) -> Iterator[str]:
    """Yield what a policy still needs that only other commands can do."""
    deployed = stack.policies.deployed(latest)
    if deployed and policy.codat.account not in ("", deployed.codat.account):
        yield (
            f"it names the account {policy.codat.account} at Codat, and the deployed policy "
            f"{deployed.codat.account or 'none'}: nothing is read while the stack has the key of another account."
        )
    if policy.deadlines and deployed and not deployed.deadlines:
        yield (
            "it has deadlines, and the deployed policy has none: no alarm watches them until the file is deployed with "
            '"cdk deploy", which adds DeadlinesAtRisk (0.10 USD a month). Events are published all the same.'
        )
    known = stack.policies.in_force().products
    if new := sorted(set(policy.products) - set(known)):
        yield f'Codat sends no webhooks about {", ".join(new)} until "./freshness register-webhook" says how.'


def _print_diff(before: str, after: str, latest: PolicyVersion, name: str) -> None:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"in force (version {latest.version})", name, lineterm="", n=2
    )
    for line in lines:
        print_text(line, _STYLES.get(line[:1], ""))
