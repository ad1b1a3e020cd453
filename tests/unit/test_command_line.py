"""What the command line says before it reaches a stack."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def freshness(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `./freshness` without any AWS account."""
    unset = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return subprocess.run(
        [ROOT / "freshness", *arguments], env=unset | nowhere | environment, capture_output=True, text=True, check=False
    )


def test_help_lists_the_commands() -> None:
    told = freshness("--help")

    assert told.returncode == 0
    assert {"status", "explain", "refresh", "pause", "resume", "export"} <= set(told.stdout.split())


def test_what_is_not_understood_is_a_mistake_of_usage() -> None:
    told = freshness("explain", "a-company")

    assert told.returncode == 2
    assert "Missing argument 'TYPE'" in told.stderr


def test_without_a_region_or_credentials_it_says_what_to_do() -> None:
    assert "name one with --region" in _failure(freshness("status"))
    credentials = freshness("--region", "eu-west-2", "status", AWS_EC2_METADATA_DISABLED="true")
    assert "No AWS credentials" in _failure(credentials)
    assert "aws configure list-profiles" in _failure(freshness("--profile", "nobody", "status"))


def _failure(told: subprocess.CompletedProcess[str]) -> str:
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    assert len(told.stderr.splitlines()) == 1
    return told.stderr
