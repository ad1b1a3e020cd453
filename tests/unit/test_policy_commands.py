"""`./freshness policy …` for the policy in force, over tables in memory."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner, Result

from cli.commands import app
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.policy import compiled
from stack_access.outputs import Outputs
from stack_access.stack import DeployedStack
from tests.integration.recording_bus import RecordingBus
from tests.unit.test_policy_in_force import World

ANN = "arn:aws:iam::123456789012:user/ann"


class AnyStack(DeployedStack):
    """A stack with given tables, and functions whose environment is given."""

    given: ClassVar[Tables]
    variables: ClassVar[dict[str, str]]

    @property
    def tables(self) -> Tables:
        return self.given

    @cached_property
    def _bus(self) -> EventBus:
        return RecordingBus()

    def environment(self, function: str) -> dict[str, str]:  # noqa: ARG002
        return self.variables

    @property
    def caller(self) -> str:
        return ANN


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a stack with a policy of a day, in whose folder the commands run."""
    world = World(tmp_path)
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps({field.alias: "x" for field in Outputs.model_fields.values() if field.alias}))

    def of_any(*given: Any) -> AnyStack:
        return AnyStack(Mock(), "CodatFreshness", given[-1], None, outputs)

    monkeypatch.setattr(DeployedStack, "in_aws", of_any)
    monkeypatch.setattr(AnyStack, "given", world.tables, raising=False)
    monkeypatch.setattr(AnyStack, "variables", {}, raising=False)
    monkeypatch.chdir(tmp_path)
    return world


def run(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, ("policy", *arguments), input=answer)


def draft(hours: int, account: str = "") -> None:
    """Write a policy file."""
    codat = f'[codat]\naccount = "{account}"\n' if account else ""
    Path("freshness.toml").write_text(f'# Ours\n{codat}[default]\nfresh_within = "{hours} hours"\n')


def test_a_policy_is_shown_compared_pushed_listed_and_rolled_back(world: World) -> None:
    world.deploy(24)
    draft(2)

    different = run("diff")
    assert different.exit_code == 1
    assert '-fresh_within = "24 hours"' in different.stdout
    assert '+fresh_within = "2 hours"' in different.stdout
    assert world.in_force() == 24

    pushed = run("push", "freshness.toml", "--yes")
    assert pushed.exit_code == 0, pushed.output
    assert '+fresh_within = "2 hours"' in pushed.stdout
    assert "freshness.toml is version 2. It is in force on all functions within a minute." in pushed.stdout
    assert world.in_force() == 2
    assert run("show").stdout == Path("freshness.toml").read_text()
    assert run("diff").exit_code == 0

    assert run("rollback", "--yes").exit_code == 0
    assert world.in_force() == 24
    assert run("rollback", "2", "--yes").exit_code == 0
    assert world.in_force() == 2
    history = json.loads(run("history", "--json").stdout)
    assert [(each["version"], each["by"], each["how"]) for each in history] == [
        (4, ANN, "rolled back to version 2"),
        (3, ANN, "rolled back to version 1"),
        (2, ANN, "pushed"),
        (1, "cdk deploy", "deployed"),
    ]
    assert ANN in run("history").stdout


def test_what_an_agent_does_is_recorded_as_by_an_agent(world: World) -> None:
    world.deploy(24)
    stack = AnyStack(Mock(), "CodatFreshness", Path("freshness.toml"))
    by_agent, by_person = stack.used_by("an agent").operations.actor, stack.operations.actor
    assert by_agent.who == by_person.who == ANN
    assert by_agent.source.startswith("an agent on ")
    assert by_person.source.startswith("the command line on ")


def test_a_push_says_what_only_another_command_adds(world: World) -> None:
    world.deploy(24)
    draft(24)
    with Path("freshness.toml").open("a") as file:
        file.write('[products.loan-book]\ndata_types = ["invoices"]\n')
        file.write('[[deadlines]]\nname = "at nine"\nby = "09:00"\nfresh_within = "2 hours"\n')

    pushed = run("push", answer="n\n").stdout
    assert "no alarm watches them until the file is deployed" in pushed.replace("\n", " ")
    assert "DeadlinesAtRisk" in pushed
    assert 'webhooks about loan-book until "./freshness register-webhook"' in pushed.replace("\n", " ")
    assert run("push", "--yes").exit_code == 0
    draft(12)
    assert "warning" not in run("push", "--yes").stdout


@pytest.mark.parametrize(("deployed", "given"), [("Ours", "Theirs"), ("Ours", ""), ("", "Theirs")])
def test_a_policy_of_another_account_at_codat_is_not_pushed(world: World, deployed: str, given: str) -> None:
    """Codat would not be called any more: the stack has the key of the deployed policy's account."""
    world.deploy(24, deployed)
    draft(2, given)

    refused = run("push", "--yes")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("freshness: freshness.toml:")
    assert "as deployed" in refused.stderr
    assert "cdk deploy" in refused.stderr
    assert world.in_force() == 24

    draft(2, deployed)
    assert run("push", "--yes").exit_code == 0
    assert world.in_force() == 2


def test_a_rollback_to_the_policy_of_another_account_warns_and_is_possible(world: World) -> None:
    world.deploy(24, "Ours")
    world.deploy(12, "Owrs")  # misspelled, so that nothing is read
    undone = run("rollback", "--yes")
    assert undone.exit_code == 0
    assert "it names the account Ours at Codat, and the deployed policy Owrs" in " ".join(undone.stdout.split())
    assert world.in_force() == 24


def test_without_an_answer_nothing_is_pushed(world: World) -> None:
    world.deploy(24)
    draft(2)
    assert run("push", answer="n\n").exit_code == 1
    assert world.in_force() == 24
    assert run("push", answer="y\n").exit_code == 0
    assert world.in_force() == 2


@pytest.mark.parametrize(
    ("hours", "variables", "status", "message"),
    [("2 ours", {}, 2, "freshness.toml:2:"), ("2 hours", {"POLICY_SOURCE": "deployed only"}, 1, "deploy the policy")],
    ids=["a mistake", "a setting that turns pushing off"],
)
def test_nothing_is_pushed_because_of(
    world: World, hours: str, variables: dict[str, str], status: int, message: str
) -> None:
    world.deploy(24)
    AnyStack.variables |= variables
    Path("freshness.toml").write_text(f'[default]\nfresh_within = "{hours}"\n')

    result = run("push", "freshness.toml", "--yes")

    assert result.exit_code == status
    assert message in result.stderr
    assert world.in_force() == 24


def test_before_the_first_tick_nothing_can_be_pushed(world: World) -> None:
    draft(2)
    result = run("push", "--yes")
    assert result.exit_code == 1
    assert "Try again in a minute" in result.stderr


def test_a_policy_that_only_has_other_comments_is_no_other_policy(world: World) -> None:
    world.deploy(24)
    draft(24)
    same = run("diff")
    assert same.exit_code == 0
    assert "# Ours" in same.stdout


def test_a_policy_that_cannot_be_loaded_is_rolled_back(world: World) -> None:
    world.deploy(24)
    world.push(2)
    table = world.dynamodb.tables["control"]
    table.replace({"name": {"S": f"policy content {world.policies().latest().digest} 000"}}, None)
    assert world.in_force() == 24

    assert run("show").exit_code == 1
    result = run("rollback", "--yes")
    assert result.exit_code == 0, result.output
    assert world.in_force() == 24
    assert compiled.text_of(world.policies().content(world.policies().latest()))
