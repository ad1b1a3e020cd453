from typing import Any

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
        name: (_keys(table), {index["IndexName"]: _keys(index) for index in table.get("GlobalSecondaryIndexes", [])})
        for name, table in tables.items()
    } == TABLES


def test_every_key_is_a_string_and_an_index_projects_keys_and_what_attainment_needs(template: Template) -> None:
    for table in template.properties("AWS::DynamoDB::Table").values():
        assert {attribute["AttributeType"] for attribute in table["AttributeDefinitions"]} == {"S"}
        for index in table.get("GlobalSecondaryIndexes", []):
            measured = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["breach"]}
            keys = {"ProjectionType": "KEYS_ONLY"}
            assert index["Projection"] == (measured if index["IndexName"] == "broken" else keys)


def test_a_table_is_billed_on_demand_encrypted_restorable_and_retained(template: Template) -> None:
    for table in template.resources("AWS::DynamoDB::Table").values():
        assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
        properties = table["Properties"]
        assert properties["BillingMode"] == "PAY_PER_REQUEST"
        # With a key of DynamoDB itself, which costs nothing.
        assert properties["SSESpecification"] == {"SSEEnabled": False}
        assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        # CloudFormation could not delete a protected table when a first deployment fails.
        assert properties["DeletionProtectionEnabled"] is False


def test_tables_are_protected_if_the_settings_say_so_and_deleted_with_a_local_stack(
    full: Template, local_template: Template
) -> None:
    for name in TABLES:
        assert full.properties("AWS::DynamoDB::Table")[name]["DeletionProtectionEnabled"] is True
        disposable = local_template.resources("AWS::DynamoDB::Table")[name]
        assert disposable["DeletionPolicy"] == "Delete"
        assert disposable["Properties"]["DeletionProtectionEnabled"] is False


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
