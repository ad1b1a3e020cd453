from typing import Any

import pytest

from tests.infra.template import Template

TABLES = {
    "TablesCompanies": (
        ["company_id"],
        {"due_for_check": ["shard", "check_at"], "needs_relink": ["shard", "needs_relink_at"]},
    ),
    "TablesFeeds": (["company_id", "feed"], {"due": ["shard", "due_at"], "broken": ["shard", "broken_at"]}),
    "TablesDatasets": (["company_id", "dataset_id"], {}),
    "TablesControl": (["name"], {"open": ["shard", "open_until"], "open_of_company": ["company_id", "open_until"]}),
}


def test_the_tables_and_indexes_have_these_keys(template: Template) -> None:
    tables = template.properties("AWS::DynamoDB::Table")
    assert {
        name: (
            _keys(table),
            {index["IndexName"]: _keys(index) for index in table.get("GlobalSecondaryIndexes", [])},
        )
        for name, table in tables.items()
    } == TABLES


def test_every_key_is_a_string_and_an_index_projects_keys_and_what_attainment_needs(template: Template) -> None:
    for table in template.properties("AWS::DynamoDB::Table").values():
        assert {attribute["AttributeType"] for attribute in table["AttributeDefinitions"]} == {"S"}
        for index in table.get("GlobalSecondaryIndexes", []):
            measured = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["breach"]}
            keys = {"ProjectionType": "KEYS_ONLY"}
            assert index["Projection"] == (measured if index["IndexName"] == "broken" else keys)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_billed_on_demand_encrypted_and_restorable(template: Template, name: str) -> None:
    table = template.properties("AWS::DynamoDB::Table")[name]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    # With a key of DynamoDB itself, which costs nothing.
    assert table["SSESpecification"] == {"SSEEnabled": False}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_retained_on_aws_and_deleted_with_a_local_stack(
    template: Template, local_template: Template, name: str
) -> None:
    kept = template.resources("AWS::DynamoDB::Table")[name]
    assert (kept["DeletionPolicy"], kept["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    # CloudFormation could not delete a protected table when a first deployment fails.
    assert kept["Properties"]["DeletionProtectionEnabled"] is False
    disposable = local_template.resources("AWS::DynamoDB::Table")[name]
    assert disposable["DeletionPolicy"] == "Delete"
    assert disposable["Properties"]["DeletionProtectionEnabled"] is False


def test_tables_are_protected_if_the_settings_say_so(full: Template) -> None:
    tables = full.properties("AWS::DynamoDB::Table").values()
    assert [table["DeletionProtectionEnabled"] for table in tables] == [True] * len(TABLES)


def test_only_deleted_feeds_datasets_and_requests_expire(template: Template) -> None:
    specifications = {
        name: table["TimeToLiveSpecification"]
        for name, table in template.properties("AWS::DynamoDB::Table").items()
        if "TimeToLiveSpecification" in table
    }
    assert set(specifications) == {"TablesFeeds", "TablesDatasets", "TablesControl"}
    assert all(given == {"AttributeName": "expires_at", "Enabled": True} for given in specifications.values())


def _keys(schema: dict[str, Any]) -> list[str]:
    return [key["AttributeName"] for key in sorted(schema["KeySchema"], key=lambda key: str(key["KeyType"]))]
