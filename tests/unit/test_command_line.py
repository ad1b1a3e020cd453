"""The command line without a stack: help, usage errors and missing AWS settings."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def freshness(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `./freshness` without any AWS account."""
    unset = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return subprocess.run(
        [ROOT / "freshness", *arguments], env=unset | nowhere | environment, capture_output=True, text=True, check=False
    )


def test_help_lists_the_commands() -> None:
    run = freshness("--help")

    assert run.returncode == 0
    assert {"status", "explain", "refresh", "pause", "resume", "export"} <= set(run.stdout.split())


def test_a_missing_argument_is_a_usage_error() -> None:
    run = freshness("explain", "a-company")

    assert run.returncode == 2
    assert "Missing argument 'TYPE'" in run.stderr


def test_without_a_region_credentials_or_profile_the_error_says_what_to_do() -> None:
    assert "name one with --region" in _failure(freshness("status"))
    credentials = freshness("--region", "eu-west-2", "status", AWS_EC2_METADATA_DISABLED="true")
    assert "No AWS credentials" in _failure(credentials)
    assert "aws configure list-profiles" in _failure(freshness("--profile", "nobody", "status"), 2)


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_may_be_in_either_variable(variable: str) -> None:
    run = freshness("status", AWS_EC2_METADATA_DISABLED="true", **{variable: "eu-west-2"})
    assert "No AWS credentials" in _failure(run)


def test_a_policy_is_checked_without_aws_and_the_cdk_in_less_than_a_second(tmp_path: Path) -> None:
    mistaken = tmp_path / "mistaken.toml"
    mistaken.write_text('[default]\nfresh_within = "1 minute"\n')

    before = os.times()
    valid = freshness("policy", "check", str(ROOT / "freshness.toml"))
    after = os.times()

    assert (valid.returncode, valid.stdout) == (0, f"{ROOT / 'freshness.toml'} is valid.\n")
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1
    assert f"{mistaken}:2: default.fresh_within: expected at least 4 minutes" in _failure(
        freshness("policy", "check", str(mistaken)), 2
    )


def _failure(run: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """Return the one line of text that a failed command prints."""
    assert run.returncode == status
    assert "Traceback" not in run.stderr
    assert len(run.stderr.splitlines()) == 1
    return run.stderr
