import pytest

from codat_sandbox import query
from codat_sandbox.errors import BadRequestError

DATASETS = [
    {"id": "1", "dataType": "invoices", "status": "Complete", "requested": "2026-08-01T00:00:00.0000000Z"},
    {"id": "2", "dataType": "invoices", "status": "FetchError", "requested": "2026-08-03T00:00:00.0000000Z"},
    {"id": "3", "dataType": "bills", "status": "NotSupported", "requested": "2026-08-02T00:00:00.0000000Z"},
]
PROPERTIES = ("id", "dataType", "status", "requested")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("dataType=invoices", "12"),
        ("dataType = invoices", "12"),
        ("dataType!=invoices", "3"),
        ("status~Err", "2"),
        ("dataType=invoices&&status=Complete", "1"),
        ("status!=Complete && status!=NotSupported", "2"),
        ("id=1||id=3", "13"),
        ("id=3 || dataType=invoices && status=Complete", "13"),
        ("(id=3 || dataType=invoices) && status=Complete", "1"),
        ("requested>2026-08-01T12:00:00Z", "23"),
        ("requested<=2026-08-02T00:00:00.0000000Z", "13"),
    ],
)
def test_a_query_returns_the_items_that_match(text: str, ids: str) -> None:
    matches = query.parse(text, "Dataset", PROPERTIES)

    assert "".join(item["id"] for item in DATASETS if matches(item)) == ids


@pytest.mark.parametrize("text", ["dataType", "=x", "id=1 &&", "&& id=1", "(id=1", "id=1)", "id=1 | id=2", ""])
def test_a_malformed_query_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="Malformed query"):
        query.parse(text, "Dataset", PROPERTIES)


def test_a_property_that_cannot_be_queried_is_named_in_the_error() -> None:
    with pytest.raises(BadRequestError, match="Could not resolve property isCompleted on Dataset"):
        query.parse("isCompleted=true", "Dataset", PROPERTIES)


def test_items_are_ordered_ascending_or_descending() -> None:
    def ids(order_by: str) -> str:
        return "".join(item["id"] for item in query.order(DATASETS, order_by, "Dataset", PROPERTIES))

    assert ids("requested") == "132"
    assert ids("-requested") == "231"
    with pytest.raises(BadRequestError, match="Could not resolve property nonsense on Dataset"):
        ids("nonsense")
