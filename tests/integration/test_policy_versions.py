"""Versions of the policy over the DynamoDB protocol."""

import random
from pathlib import Path

import pytest

from freshness.app.policy_in_force import NOT_LOADED, PolicyInForce
from freshness.aws.dynamodb.control import control_key
from freshness.aws.dynamodb.tables import Tables
from freshness.policy import compiled
from stack_access.deployed_policies import DeployedPolicies
from stack_access.errors import StackError
from tests.builders import NOON


@pytest.fixture
def tables(stored_tables: Tables) -> Tables:
    return stored_tables


def written(file: Path, hours: int, comment: str = "") -> str:
    """Write a policy file, and return it compiled."""
    file.write_text(f'[default]\nfresh_within = "{hours} hours"\n# {comment}\n')
    return compiled.compiled(file)


def test_a_large_policy_is_pushed_and_loaded_and_of_two_pushes_one_is_refused(tables: Tables, tmp_path: Path) -> None:
    file = tmp_path / "freshness.toml"
    deployed = written(file, 24)
    process = PolicyInForce(tables.policies, lambda: deployed)
    process.record_deployed(NOON)
    policies = DeployedPolicies(tables.policies, file)
    seen = policies.latest()
    # What cannot be compressed takes several items.
    large = written(file, 2, random.Random(1).randbytes(600_000).hex())

    assert policies.put(large, seen, by="Ann", how="pushed").parts > 1
    with pytest.raises(StackError, match="Ann put version 2 in force meanwhile"):
        policies.put(written(file, 3), seen, by="Ben", how="pushed")

    fresh_within = PolicyInForce(tables.policies, lambda: deployed).policy().default.fresh_within
    assert fresh_within.total_seconds() == 2 * 3600
    assert policies.content(policies.latest()) == large
    assert [each.by for each in policies.versions.history(policies.latest())] == ["Ann", "cdk deploy"]


def test_a_corrupted_policy_leaves_the_last_good_one_in_force_is_logged_for_the_alarm_and_can_be_rolled_back(
    tables: Tables, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, seconds = tmp_path / "freshness.toml", 0.0
    deployed = written(file, 24)
    process = PolicyInForce(tables.policies, lambda: deployed, seconds=lambda: seconds)
    process.record_deployed(NOON)
    policies = DeployedPolicies(tables.policies, file)
    policies.put(written(file, 6), policies.latest(), by="Ann", how="pushed")
    latest = policies.put(written(file, 2), policies.latest(), by="Ben", how="pushed")
    key = control_key(f"policy content {latest.digest} 000")
    tables.policies._table.put_always(key | {"part": b"no policy"})

    def in_force() -> float:
        return process.policy().default.fresh_within.total_seconds() / 3600

    seconds += 60
    assert in_force() == 6
    assert NOT_LOADED in caplog.text
    policies.put(policies.content(policies.version(1)), policies.latest(), by="Ann", how="rolled back to version 1")
    seconds += 60
    assert in_force() == 24
