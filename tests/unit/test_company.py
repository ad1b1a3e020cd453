"""Which connections feed a data type, and when a company is worth a check."""

from datetime import UTC, datetime, timedelta

from freshness.domain.company import Company, Connection, ConnectionStatus

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def connection(name: str, source_type: str = "Accounting", status: str = ConnectionStatus.LINKED) -> Connection:
    return Connection(
        connection_id=name, platform=name, source_type=source_type, status=status, status_at=NOON, link_url="https://x"
    )


def company(*connections: Connection) -> Company:
    return Company(company_id="company", connections={c.connection_id: c for c in connections})


def feeds(company: Company, data_type: str) -> list[str]:
    return [connection.connection_id for connection in company.active_connections(data_type)]


def test_a_data_type_is_fed_by_the_connections_of_its_kind() -> None:
    both = company(connection("Xero"), connection("Plaid", "Banking"), connection("TrueLayer", "Banking"))

    assert feeds(both, "invoices") == ["Xero"]
    assert feeds(both, "banking-transactions") == ["Plaid", "TrueLayer"]
    assert feeds(both, "commerce-orders") == []


def test_a_connection_whose_kind_says_nothing_feeds_what_no_other_does() -> None:
    assert feeds(company(connection("Xero"), connection("Pleo", "Expense")), "bills") == ["Xero"]
    assert feeds(company(connection("Pleo", "Expense")), "bills") == ["Pleo"]


def test_an_unlinked_connection_counts_only_until_another_took_its_place() -> None:
    old, new = connection("Xero", status=ConnectionStatus.UNLINKED), connection("QuickBooks Online")

    assert feeds(company(old), "bills") == ["Xero"]
    assert feeds(company(old, new), "bills") == ["QuickBooks Online"]


def test_a_connection_never_linked_feeds_nothing() -> None:
    assert feeds(company(connection("Xero", status=ConnectionStatus.PENDING_AUTH)), "bills") == []


def test_a_company_listed_as_it_was_is_not_due_for_a_check() -> None:
    known = company(connection("Xero")).listed("Name", {}, [connection("Xero")], NOON, NOON)

    again = known.listed("New name", {}, [connection("Xero")], NOON, NOON + timedelta(hours=1))

    assert again.check_at == known.check_at == NOON


def test_a_company_whose_tags_changed_is_due_for_a_check_since_rules_go_by_them() -> None:
    known = company(connection("Xero")).listed("Name", {}, [connection("Xero")], NOON, NOON)
    later = NOON + timedelta(hours=1)

    assert known.listed("Name", {"team": "lending"}, [connection("Xero")], NOON, later).check_at == later


def test_a_company_whose_connection_lapsed_is_due_for_a_check() -> None:
    known = company(connection("Xero")).listed("Name", {}, [connection("Xero")], NOON, NOON)
    later = NOON + timedelta(hours=1)

    lapsed = Connection(
        connection_id="Xero", platform="Xero", source_type="Accounting", status="Deauthorized", status_at=later
    )

    assert known.listed("Name", {}, [lapsed], later, later).connections["Xero"].status == ConnectionStatus.DEAUTHORIZED


def test_of_two_updates_with_the_same_time_the_later_status_in_a_connections_life_stands() -> None:
    pending, linked = connection("Xero", status=ConnectionStatus.PENDING_AUTH), connection("Xero")

    assert pending.latest(linked).status == linked.latest(pending).status == ConnectionStatus.LINKED
