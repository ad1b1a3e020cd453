"""The policy file: the promises that result from it, and the messages for mistakes in it."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from cli.policy_reference import reference
from freshness.domain.companies.company import Company
from freshness.domain.promises.promise import AttainmentKey, Promise
from freshness.domain.promises.windows import allowed
from freshness.policy.errors import PolicyError
from freshness.policy.file.local_time import Calendar, LocalTime
from freshness.policy.file.schema import Budget, ConsistencySet, DeadlineTable, Default, Rule, WindowTable
from freshness.policy.file.values import LONGEST_RETENTION, SHORTEST_PROMISE, SHORTEST_RETENTION, nearest
from freshness.policy.loader import load
from freshness.policy.policy import Policy, objective
from tests.builders import a_connection, a_policy

ROOT = Path(__file__).parent.parent.parent
XERO = a_connection("1", datetime(2026, 11, 1, tzinfo=UTC))
COMPANY = Company(company_id="7e1b7e0c-6a0e-4a39-b0a6-1e1a4b0f6c55", tags={"plan": "free"}, connections={"1": XERO})


def write(folder: Path, text: str) -> Path:
    path = folder / "freshness.toml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str) -> list[str]:
    """Return the messages about a policy, each of which begins with its line."""
    path = write(folder, text)
    with pytest.raises(PolicyError) as raised:
        load(path)
    return [line.removeprefix(f"{path}:") for line in str(raised.value).splitlines()]


def promise(policy: Policy, data_type: str, company: Company = COMPANY) -> Promise:
    (connection,) = company.connections.values()
    return policy.promise(data_type, company, connection)


def test_the_policy_in_the_repository_is_valid() -> None:
    policy = load(ROOT / "freshness.toml")
    assert promise(policy, "invoices", replace(COMPANY, tags={})).fresh_within == timedelta(hours=6)


def test_the_examples_of_the_reference_are_a_valid_policy() -> None:
    assert [each.name for each in load(ROOT / "docs" / "policy.toml").deadlines] == ["ready on Monday at nine"]


def test_the_reference_is_current_and_has_every_key() -> None:
    text = (ROOT / "docs" / "policy.md").read_text()
    assert text == reference(), "run: ./freshness policy reference > docs/policy.md"
    tables = (Default, Rule, DeadlineTable, WindowTable, ConsistencySet, Calendar, LocalTime, Budget)
    headings = set(re.findall(r"^## `\[+(\w+)", text, re.M))
    assert headings == set(Policy.model_fields)
    assert {name for table in tables for name in table.model_fields} <= set(re.findall(r"^\| `(\w+)`", text, re.M))


def test_a_data_type_that_is_not_named_gets_the_default_and_a_custom_one_is_named_with_its_identifier(
    tmp_path: Path,
) -> None:
    named = '[data_types]\nbills.fresh_within = "1 day"\n"custom.DynamicsPurchaseOrders".fresh_within = "1 hour"'
    policy = load(write(tmp_path, f'[default]\nfresh_within = "2 weeks"\n{named}'))

    found = [promise(policy, each).fresh_within for each in ("bills", "custom.DynamicsPurchaseOrders", "addedLater")]
    assert found == [timedelta(days=1), timedelta(hours=1), timedelta(weeks=2)]


DEFAULT = '[default]\nfresh_within = "1 day"\n'
RULE = "[[rules]]\nname = 'a'\ntags.plan = 'free'\noff = true"
WINDOW = "[[windows]]\nname = 'a'\n"
OFFICE = "[[rules]]\nname = 'office'\nfresh_within = '1 hour'\n"
BY_HOURS = OFFICE + "hours = '08:00 to 18:00'\n"
DEADLINE = "[[deadlines]]\nname = 'ready'\nfresh_within = '2 hours'\n"
READY = DEADLINE + "by = '08:00'\n"
TOO_MANY = DEADLINE.replace("ready", "noon") + "by = '12:00'\n[budget.refreshes_per_connection]\nXero = 1"
PRICES = "[prices]\nXero = '0.002 USD per refresh'\n"
READY_OFF = "[data_types.bills]\noff = true\n" + DEADLINE + "by = '08:00'\ndata_types = ['bills']"
DEAR = "[prices]\nXero = '1 USD per refresh'\n[budget.spending]\nXero = '27 USD a month'\n"
SIX_HOURS = "[data_types.bills]\nfresh_within = '6 hours'\n"
FREE = "[[rules]]\nname = 'free'\nfresh_within = '2 hours'\n"
NIGHT = "only = '22:00 to 06:00'"
WEEKENDS = "[[windows]]\nname = 'b'\nnever = '00:00 to 24:00'\ndays = ['Saturday', 'Sunday']"
WORKDAYS = "['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday']"
SET = "[[sets]]\nname = 'a'\nwithin = '1 hour'\n"
SHORTEST = SHORTEST_PROMISE.total_seconds()
ONE_A_DAY = "[budget.refreshes_per_connection]\nXero = 1"
DAYS_DIFFER = DEADLINE.replace("2 hours", "3 days") + "by = '08:00'\ndata_types = ['bills', 'invoices']\n"
TURNED_ON = READY_OFF + "\n[[rules]]\nname = 'on'\ntags.plan = 'paid'\n"
OFF = DEFAULT + "off = true\n" + READY_OFF.replace("off = true", "off = false")


def of_days(first: str, second: str) -> str:
    """Return a policy of one refresh a day, with a deadline on each of two weekdays."""
    noon = DEADLINE.replace("ready", "noon") + f"by = '12:00'\ndays = ['{second}']\n"
    return f"{READY}days = ['{first}']\n{noon}{ONE_A_DAY}"


@pytest.mark.parametrize(
    ("text", "line", "expectation"),
    [
        (DEFAULT + '[data_types.invoicez]\nfresh_within = "1 day"', 3, "did you mean 'invoices'?"),
        (DEFAULT + '[data_types.invoices]\n\nfresh_in = "1 day"', 5, "did you mean 'fresh_within'?"),
        (DEFAULT + '[data_types.invoices]\nfresh_within = "6 huors"', 4, "expected a duration such as"),
        (DEFAULT + '[data_types]\ninvoices = { fresh_within = "-6 hours" }', 4, "got '-6 hours'"),
        ('[default]\nfresh_within = "0 days"', 2, "expected a duration such as"),
        ("[default]\nfresh_within = 6", 2, "expected a duration such as"),
        ("# nothing\n[default]\n", 2, "default.fresh_within: expected, but it is missing"),
        ("", 1, "default: expected, but it is missing"),
        (DEFAULT + "[defaults]", 3, "did you mean 'default'?"),
        (DEFAULT + "fresh_within = '2 days'", 3, "expected TOML"),
        (DEFAULT + "[data_types]\ninvoices = 5", 4, "data_types.invoices"),
        (DEFAULT + "confidence = 1", 3, "less than 1"),
        (DEFAULT + "quiet_after = 'a month'", 3, 'a duration such as "30 minutes"'),
        (DEFAULT + '[data_types.bills]\nat_most_every = "2 days"\nfresh_within = "1 day"', 3, "at_most_every not"),
        (DEFAULT + '[[rules]]\nname = "all"\n', 3, "at least one of companies, groups, tags, platforms"),
        (DEFAULT + RULE + "\n[rules.data_types.bill]\noff = true", 7, "did you mean 'bills'?"),
        (DEFAULT + RULE + "\n[[rules]]\nname = 'b'\ntag.plan = 'free'", 9, "did you mean 'tags'?"),
        (DEFAULT + RULE + "\ndata_types.bills.of = true", 7, "did you mean 'off'?"),
        (DEFAULT + RULE + "\n" + RULE, 8, "expected another name than 'a'"),
        (DEFAULT + "[[rules]]\nname = 'a'\ntags.plan = 'free'", 3, "at least one of fresh_within"),
        (DEFAULT + "[rules]\nname = 'a'", 3, "rules: expected a list"),
        ("default = '1 day'", 1, "default: expected a table"),
        (DEFAULT + "off = 'yes'", 3, "expected true or false, got 'yes'"),
        (DEFAULT + "[data_types.bills]\nobjective = 0.9", 3, "expected fresh_within in the same table as objective"),
        (DEFAULT + "confidence = '0.9'", 3, "expected a number, got '0.9'"),
        (DEFAULT + "weight = inf", 3, "expected a finite number"),
        (DEFAULT + "warn_after = '999999 weeks'", 3, "at most 366 days"),
        (DEFAULT + "# a line\u2028of another kind\nweights = 1", 4, "did you mean 'weight'?"),
        (DEFAULT + "[[rules]]\nname = 'a'\ncompanies = ['Acme']", 5, "a UUID, got 'Acme'"),
        (DEFAULT + WINDOW + "never = '9 to 5'", 5, "two times of day"),
        (DEFAULT + WINDOW + "only = '09:00 to 09:00'", 5, "that differ"),
        (DEFAULT + WINDOW + "only = '09:00 to 10:00'\nnever = '11:00 to 12:00'", 3, "either only or never"),
        (DEFAULT + WINDOW + "only = '09:00 to 10:00'\ntime_zone = 'Europe/Londn'", 6, "mean 'Europe/London'?"),
        (DEFAULT + WINDOW + "only = '09:00 to 10:00'\ndays = ['Mondy']", 6, "did you mean 'Monday'?"),
        (DEFAULT + SET + "data_types = ['bills']", 6, "at least 2"),
        (DEFAULT + SET + "data_types = ['bills', 'bills']", 6, "expected 'bills' once, and in one set"),
        (DEFAULT + WINDOW + "only = '09:00 to 10:00'\ndays = []", 6, "windows.1.days: expected at least 1"),
        (DEFAULT + "[budget]\ncalls_per_minute = '600'", 4, "expected a whole number"),
        (DEFAULT + "[budget]\nshare_of_quota = 2", 4, "less than or equal to 1"),
        (DEFAULT + "[budget]\ncalls_per_minutes = 5", 4, "did you mean 'calls_per_minute'?"),
        (DEFAULT + "[budget.refreshes_per_connection]\nXero = 0", 4, "greater than or equal to 1"),
        (DEFAULT + OFFICE + "hours = '8 to 18'", 6, "two times of day"),
        (DEFAULT + OFFICE + "hours = '08:00 to 18:00'\ncalendar = 'uk'", 7, "expected one of calendars (none"),
        (DEFAULT + BY_HOURS.replace("fresh_within = '1 hour'", "off = true"), 5, "expected no off with hours"),
        (DEFAULT + OFFICE + "hours = '08:00 to 18:00'\nobjective = 0.9", 7, "expected no objective with hours"),
        (DEFAULT + BY_HOURS + "read_once = true", 7, "expected no read_once with hours"),
        (DEFAULT + BY_HOURS + "consent = '90 days'", 7, "expected no consent with hours"),
        (DEFAULT + OFFICE + "tags.plan = 'free'\ndays = ['Monday']", 7, "expected it with hours only"),
        (DEFAULT + DEADLINE + "by = '8'", 6, 'a time of day such as "08:00"'),
        (DEFAULT + DEADLINE, 3, "deadlines.1.by: expected, but it is missing"),
        (DEFAULT + DEADLINE + "by = '08:00'\n" + DEADLINE + "by = '09:00'", 8, "expected another name than 'ready'"),
        (DEFAULT + DEADLINE + "by = '08:00'\n" + WINDOW + "never = '05:30 to 09:00'", 6, "the windows 'a' forbid it"),
        (DEFAULT + DEADLINE + "by = '08:00'\n" + WINDOW + "only = '10:00 to 12:00'", 6, "the windows 'a' forbid it"),
        (DEFAULT + DEADLINE + "by = '08:00'\n" + TOO_MANY, 10, "Xero needs 2 refreshes a day for those up to here"),
        (DEFAULT + READY_OFF, 9, "expected data types that are refreshed, but 'bills' is off"),
        (DEFAULT + DEADLINE.replace("2 hours", "3 minutes") + "by = '08:00'", 5, "expected at least 4 minutes"),
        (DEFAULT + DEADLINE + "by = '08:00'\n" + DEAR, 6, "one connection to Xero needs 28 refreshes in 28 days"),
        (DEFAULT + DEAR.replace("27", "0.99"), 6, "expected at least the price of a refresh, 1"),
        (DEFAULT + "[prices]\nXero = '0.002 USD'", 4, "expected a price such as"),
        (DEFAULT + "[prices]\nXero = '0 USD per refresh'", 4, "leave it out if reading is free"),
        (DEFAULT + PRICES + "Sage = '1 GBP per GB, 2 MB a refresh'", 5, "expected USD, as in the prices above"),
        (DEFAULT + PRICES + "[budget.spending]\nXero = '50 USD'", 6, 'an amount such as "50 USD a month"'),
        (DEFAULT + PRICES + "[budget.spending]\nSage = '50 USD a month'", 6, "expected the price of Sage in [prices]"),
        (DEFAULT + PRICES + "[budget.spending]\nXero = '50 GBP a month'", 6, "expected USD, as in [prices]"),
        (DEFAULT + "[calendars.uk]\nholidays = 'GB-XX'", 4, "the parts of GB are"),
        (DEFAULT + "[calendars.uk]\ndates = ['2026-13-01']", 4, "valid date"),
        (DEFAULT + "[calendars.uk]\ndates = [2026-12-24T08:00:00Z]", 4, "a valid date such as 2026-12-24, got"),
        (DEFAULT + "[calendars.uk]", 3, "at least one of holidays, dates"),
        (DEFAULT + "[local_time]\nzone_tag = 'zone'", 4, "unknown key"),
        ("[default]\nfresh_within = '1 minute'", 2, "expected at least 4 minutes"),
        (DEFAULT + WINDOW + "never = '00:00 to 24:00'", 5, 'the windows "a" leave none'),
        (DEFAULT + WINDOW + "never = '09:00 to 11:00'\n" + WEEKENDS, 5, "allow no refresh for 48 hours"),
        (DEFAULT + SIX_HOURS + WINDOW + "only = '22:00 to 06:00'", 7, "allow no refresh for 16 hours"),
        (DEFAULT + BY_HOURS + WINDOW + "never = '09:00 to 10:30'", 9, "allow no refresh for 1 hour 30 minutes"),
        (DEFAULT + FREE + "platforms = ['Sage 50']\n" + WINDOW + NIGHT, 3, 'rule "free" (freshness.toml:3)'),
        (DEFAULT + SIX_HOURS + "[budget.refreshes_per_connection]\nXero = 3", 6, "needs 4 refreshes a day"),
        (DEFAULT + DEAR, 6, "one data type needs 28 refreshes in 28 days, of 1 USD each"),
        (DEFAULT + SIX_HOURS + "off = true", 5, "expected either off or fresh_within"),
        (DEFAULT + "[[rules]]\nname = 'a'\nplatforms = []\nfresh_within = '1 hour'", 5, "expected at least 1"),
        (DEFAULT + "[[rules]]\nname = 'a'\nplatforms = ['']\nfresh_within = '1 hour'", 5, "expected some text"),
        (DEFAULT + "weight = " + "9" * 5000, 3, "too many digits"),
        (DEFAULT + "[codat]\naccount = " + "[" * 2000 + "]" * 2000, 4, "nested too deeply"),
        (DEFAULT + "weight = '" + "9" * 5000 + "'", 3, "expected a number, got '999"),
        (DEFAULT + OFFICE + "hours = '08:00 to 18:00'\ntime_zone = 'BST'", 7, "mean 'Europe/London'?"),
        (DEFAULT + OFFICE + "hours = '08:00 to 18:00'\ntime_zone = 'new york'", 7, "mean 'America/New_York'?"),
        (DEFAULT + OFFICE + "hours = '08:00 to 18:00'\ntime_zone = 'localtime'", 7, "got 'localtime'"),
        (DEFAULT + "[data_types.cashflow]\nweight = 2", 3, "mean 'cashFlowStatement'?"),
        (DEFAULT + "[data_types.Invoices]\nweight = 2", 3, "mean 'invoices'?"),
        (DEFAULT + WINDOW + "never = '09:00 to 10:00'\ndays = 'Weekdays'", 6, f"write {WORKDAYS}"),
        (DEFAULT + WINDOW + "never = '09:00 to 10:00'\ndays = 'Monday'", 6, "write ['Monday']"),
        (DEFAULT + READY + "days = ['last buisness day']", 7, "did you mean 'last business day'?"),
        (DEFAULT + READY + "days = ['frist Monday']", 7, "did you mean 'first Monday'?"),
        (DEFAULT + READY + "days = ['sixth Monday']", 7, 'expected a day such as "Monday", "1st", "last business day'),
        (DEFAULT + READY + "days = ['32nd']", 7, "expected a day such as"),
        (DEFAULT + READY + "days = ['2026-02-30']", 7, "got '2026-02-30'"),
        (DEFAULT + READY + "days = [1]", 7, "expected a day such as"),
        (DEFAULT + READY + "days = ['month end']\n" + WINDOW + "never = '05:30 to 09:00'", 6, "'a' forbid it"),
        (DEFAULT + READY + WINDOW + "never = '05:30 to 09:00'\ndays = ['first Monday']", 6, "'a' forbid it"),
        (DEFAULT + WINDOW + "only = '00:00 to 24:00'\ndays = ['first business day']", 5, "allow no refresh for"),
        (DEFAULT + WINDOW + "never = '00:00 to 24:00'\ndays = ['2099-01-01']", 5, "allow no refresh for 24 hours"),
        (DEFAULT + WINDOW + "only = '00:00 to 24:00'\ndays = ['2020-01-01']", 5, "leave none"),
        (
            DEFAULT + READY + "days = ['2099-01-01']\n" + TOO_MANY.replace("'12:00'", "'12:00'\ndays = ['1st']"),
            11,
            "2 refreshes",
        ),
        (DEFAULT + "[requests]\nkeep_requests = '1 day'", 4, "expected a duration from 7 to 3660 days"),
        (DEFAULT + DAYS_DIFFER.replace("3 days", "20 hours") + ONE_A_DAY, 6, "Xero needs 4 refreshes in 3 days"),
        (DEFAULT + TURNED_ON + "weight = 2", 9, "'bills' is off"),
        (OFF.replace("off = false", "weight = 2"), 10, "'bills' is off"),
        (DEFAULT + of_days("Monday", "Monday"), 11, "Xero needs 2 refreshes a day"),
        (f"[default]\nfresh_within = '{SHORTEST - 1:.0f} seconds'\n", 2, "expected at least 4 minutes"),
        (DEFAULT + '[data_types."custom.a b"]\nweight = 2', 3, "identifier of a custom data type"),
        (DEFAULT + '[data_types."custom."]\nweight = 2', 3, "identifier of a custom data type"),
        (DEFAULT + '[data_types."custom.a.b"]\nweight = 2', 3, "identifier of a custom data type"),
        (DEFAULT + "[products.credit-model]\ndata_types = []", 4, "expected at least 1"),
        (DEFAULT + "[products.credit-model]\ndata_types = ['invoicez']", 4, "did you mean 'invoices'?"),
        (DEFAULT + "[products.credit-model]\ndata_types = ['custom.budgets']", 4, "custom"),
        (DEFAULT + WINDOW + "only = '00:00 to 24:00'\ncalendar = 'uk'", 6, "expected one of calendars"),
        (DEFAULT + "[local_time]\ntime_zone_tag = ''", 4, "expected some text"),
        (DEFAULT + "[codat]\naccount = ''", 4, "expected some text"),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_the_expected_value(
    tmp_path: Path, text: str, line: int, expectation: str
) -> None:
    (message,) = [message for message in mistakes(tmp_path, text) if expectation in message]
    assert message.startswith(f"{line}: ")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            DEFAULT + READY + WINDOW + "never = '05:30 to 07:30'", id="a window leaves time before a deadline"
        ),
        pytest.param(DEFAULT + READY + WINDOW + "only = '22:00 to 06:30'", id="a window ends before a deadline"),
        pytest.param(
            DEFAULT + READY + WINDOW + "never = '05:30 to 09:00'\nplatforms = ['Xero']",
            id="a window is of one platform",
        ),
        pytest.param(DEFAULT + READY + TOO_MANY.replace("12:00", "09:00"), id="one refresh serves two deadlines"),
        pytest.param(DEFAULT + READY + TOO_MANY.replace("12:00", "10:00"), id="one refresh just serves two deadlines"),
        pytest.param(DEFAULT + DAYS_DIFFER + ONE_A_DAY, id="deadlines allow different days"),
        pytest.param(DEFAULT + of_days("Monday", "Tuesday"), id="deadlines of different weekdays do not add up"),
        pytest.param(DEFAULT + WINDOW + "never = '00:00 to 24:00'\ndays = ['2020-01-01']", id="a past date"),
        pytest.param(DEFAULT + WINDOW + "never = '01:00 to 02:00'\ndays = ['month end', 2099-12-24]", id="few days"),
        pytest.param(DEFAULT + READY + "days = ['9999-12-31']\n" + ONE_A_DAY, id="the last day"),
        pytest.param(f"[default]\nfresh_within = '{SHORTEST:.0f} seconds'\n", id="the shortest promise"),
        pytest.param(
            DEFAULT + f"[requests]\nkeep_requests = '{SHORTEST_RETENTION.days} days'", id="shortest retention"
        ),
        pytest.param(DEFAULT + f"[requests]\nkeep_requests = '{LONGEST_RETENTION.days} days'", id="longest retention"),
        pytest.param(DEFAULT + TURNED_ON + "off = false", id="a rule turns on what a deadline names"),
        pytest.param(DEFAULT + TURNED_ON + "[rules.data_types.bills]\noff = false", id="its entry turns it on"),
        pytest.param(OFF, id="a data type is on although the default is off"),
    ],
)
def test_what_can_be_kept_is_no_mistake(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path, text))


def test_a_mistake_says_nothing_of_what_is_not_similar_and_repeats_no_more_than_a_line(tmp_path: Path) -> None:
    found = mistakes(tmp_path, DEFAULT + "[data_types.xyz]\nweight = '" + "9" * 5000 + "'")
    assert not any("did you mean" in each or len(each) >= 200 for each in found)


def test_all_mistakes_are_reported_at_once_each_of_them_once(tmp_path: Path) -> None:
    found = mistakes(tmp_path, '[default]\nfresh_within = "soon"\n[data_types.bill]\nfresh_within = "later"')
    assert [each.partition(":")[0] for each in found] == ["2", "3", "4"]
    assert len(mistakes(tmp_path, DEFAULT + SET + "data_types = ['bills', 'invoicez']")) == 1


def test_three_characters_suggest_the_shortest_name_that_begins_with_them_and_two_do_not() -> None:
    known = ["invoices", "invoiceItems", "items"]
    assert (nearest("INV", known), nearest("in", known)) == ("invoices", "")


def test_a_byte_order_mark_and_crlf_line_ends_are_accepted_and_other_text_than_utf_8_or_none_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "freshness.toml"
    with pytest.raises(PolicyError, match=r"freshness\.toml: expected a file here"):
        load(path)
    path.write_bytes(b"\xef\xbb\xbf" + DEFAULT.replace("\n", "\r\n").encode())
    assert load(path).default.fresh_within == timedelta(days=1)
    path.write_bytes(DEFAULT.encode() + b"# caf\xe9\n")
    with pytest.raises(PolicyError, match=r"freshness\.toml:3: expected text in UTF-8"):
        load(path)


def test_a_window_may_cover_whole_days(tmp_path: Path) -> None:
    days = "never = '00:00 to 24:00'\ndays = ['Saturday', 'Sunday']"
    [window] = promise(load(write(tmp_path, DEFAULT.replace("1 day", "3 days") + WINDOW + days)), "invoices").windows
    assert [day for day in range(21, 25) if allowed((window,), datetime(2026, 11, day, 12, tzinfo=UTC))] == [23, 24]


RULES = """
[default]
fresh_within = "1 day"
confidence = 0.9

[data_types.invoices]
fresh_within = "6 hours"
weight = 3

[[rules]]
name = "Xero"
platforms = ["Xero"]
fresh_within = "2 days"
data_types.bills.off = true

[[rules]]
name = "free plan"
tags = { plan = "free" }
fresh_within = "1 week"

[[rules]]
name = "one company"
companies = ["7e1b7e0c-6a0e-4a39-b0a6-1e1a4b0f6c55"]
[rules.data_types.payments]
fresh_within = "1 hour"
"""


def test_the_last_table_that_applies_wins_and_the_promise_names_it_with_its_position(tmp_path: Path) -> None:
    policy = load(write(tmp_path, RULES))
    paying = replace(COMPANY, company_id="3c2f5a0e-92b5-4c3e-8f6e-fd1f51d3a2aa", tags={"plan": "scale"})

    assert promise(policy, "payments").source == 'rule "one company", payments (freshness.toml:24)'
    assert promise(policy, "payments").fresh_within == timedelta(hours=1)
    assert promise(policy, "invoices").source == 'rule "free plan" (freshness.toml:16)'
    assert promise(policy, "invoices", paying).source == 'rule "Xero" (freshness.toml:10)'
    sage = replace(XERO, platform="Sage")
    assert policy.promise("invoices", paying, sage).source == "[data_types.invoices] (freshness.toml:6)"
    assert policy.promise("bills", paying, sage).source == "[default] (freshness.toml:2)"


def test_a_key_that_a_rule_does_not_set_is_taken_from_the_tables_before_it(tmp_path: Path) -> None:
    policy = load(write(tmp_path, RULES))
    invoices = promise(policy, "invoices")
    assert (invoices.fresh_within, invoices.confidence, invoices.weight) == (timedelta(weeks=1), 0.9, 3)
    assert (promise(policy, "bills").off, invoices.off) == (True, False)


def test_a_later_rule_wins_over_an_earlier_one_that_names_the_company_or_the_data_type(tmp_path: Path) -> None:
    text = RULES + '[[rules]]\nname = "last"\nplatforms = ["Xero"]\nfresh_within = "3 weeks"\n'
    policy = load(write(tmp_path, text))
    assert promise(policy, "bills").fresh_within == promise(policy, "payments").fresh_within == timedelta(weeks=3)


def test_within_a_rule_its_entry_for_a_data_type_wins_over_its_other_keys_wherever_it_is(tmp_path: Path) -> None:
    rule = 'tags.plan = "free"\ndata_types.bills.fresh_within = "1 hour"\nfresh_within = "2 days"'
    policy = load(write(tmp_path, f'{DEFAULT}[data_types.bills]\nweight = 3\n[[rules]]\nname = "a"\n{rule}'))

    assert [promise(policy, name).fresh_within for name in ("bills", "invoices")] == [
        timedelta(hours=1),
        timedelta(days=2),
    ]
    assert promise(policy, "bills").weight == 3


def test_a_policy_names_data_types_for_a_company_and_of_a_product(tmp_path: Path) -> None:
    policy = load(write(tmp_path, RULES + '[products.credit-model]\ndata_types = ["invoices", "bills"]'))
    assert policy.types_of_products == {"credit-model": ("invoices", "bills")}
    assert policy.data_types_named_for(COMPANY) == {"invoices", "bills", "payments"}
    assert policy.data_types_named_for(replace(COMPANY, connections={})) == {"invoices"}


def test_a_set_applies_only_to_the_companies_that_it_selects(tmp_path: Path) -> None:
    text = DEFAULT + (
        '[[sets]]\nname = "report"\ntags.plan = "free"\ndata_types = ["balanceSheet", "profitAndLoss"]\n'
        'within = "1 hour"'
    )
    policy = load(write(tmp_path, text))

    consistency_set = policy.set_of("balanceSheet", COMPANY)
    assert consistency_set
    assert consistency_set.within == timedelta(hours=1)
    assert policy.set_of("invoices", COMPANY) is None
    assert policy.set_of("balanceSheet", replace(COMPANY, tags={})) is None


def test_the_last_rule_that_says_so_decides_whether_a_connection_is_read_once() -> None:
    rules = [
        {"name": "decide once", "platforms": ["Xero"], "read_once": True},
        {"name": "free plan", "tags": {"plan": "free"}, "fresh_within": "3 days"},
        {"name": "books", "tags": {"team": "books"}, "read_once": False},
    ]
    policy = a_policy(rules=rules)

    assert policy.reads_once(COMPANY, XERO)
    assert not policy.reads_once(replace(COMPANY, tags={"team": "books"}), XERO)
    assert not policy.reads_once(COMPANY, replace(XERO, platform="Sage 50"))


def test_the_fingerprint_changes_with_the_content_but_not_with_comments(tmp_path: Path) -> None:
    one, same, other = (load(write(tmp_path, text)) for text in (DEFAULT, DEFAULT + "# a comment", RULES))
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_a_rule_for_a_group_applies_to_the_parent_and_to_its_subsidiaries(tmp_path: Path) -> None:
    parent, other = "0498e921-9b53-4396-a412-4f2f5983b0a2", "12571faf-0898-47e7-afdd-0fe9eb0a9bf5"
    policy = load(
        write(
            tmp_path,
            DEFAULT
            + '[[rules]]\nname = "free"\ntags.plan = "free"\nfresh_within = "3 days"\n'
            + f'[[rules]]\nname = "group"\ngroups = ["{parent}"]\nfresh_within = "1 hour"\n',
        )
    )

    assert promise(policy, "bills", replace(COMPANY, parent_id=parent)).fresh_within == timedelta(hours=1)
    assert promise(policy, "bills", replace(COMPANY, company_id=parent)).fresh_within == timedelta(hours=1)
    assert promise(policy, "bills", replace(COMPANY, parent_id=other)).fresh_within == timedelta(days=3)
    assert promise(policy, "bills", replace(COMPANY, parent_id="", tags={})).fresh_within == timedelta(days=1)


NINE_IN_LONDON = datetime(2026, 7, 6, 8, 30, tzinfo=UTC)
"""A Monday: 09:30 in London, and 04:30 in New York."""


def within(policy: Policy, at: datetime, data_type: str = "bills", **tags: str) -> timedelta:
    return promise(policy, data_type, replace(COMPANY, tags=tags)).at(at).fresh_within


def test_a_rule_with_hours_holds_during_them_in_the_time_zone_of_the_company(tmp_path: Path) -> None:
    text = DEFAULT + '[local_time]\ntime_zone_tag = "zone"\n' + BY_HOURS + "time_zone = 'Europe/London'\n"
    policy = load(write(tmp_path, text))
    assert within(policy, NINE_IN_LONDON) == timedelta(hours=1)
    assert within(policy, NINE_IN_LONDON, zone="America/New_York") == timedelta(days=1)
    assert within(policy, NINE_IN_LONDON, zone="nowhere") == timedelta(hours=1)
    assert within(policy, NINE_IN_LONDON + timedelta(hours=9)) == timedelta(days=1)


def test_hours_and_deadlines_do_not_hold_on_the_dates_of_a_calendar(tmp_path: Path) -> None:
    text = (
        DEFAULT
        + '[calendars.uk]\nholidays = "GB-ENG"\ndates = [2026-07-06]\n[calendars.us]\nholidays = "US"\n'
        + '[local_time]\ncalendar_tag = "country"\n'
        + BY_HOURS
        + "calendar = 'uk'\n"
    )
    policy = load(write(tmp_path, text))
    christmas = datetime(2026, 12, 25, 12, tzinfo=UTC)

    assert within(policy, NINE_IN_LONDON) == timedelta(days=1)
    assert within(policy, NINE_IN_LONDON, country="us") == timedelta(hours=1)
    assert within(policy, christmas) == within(policy, christmas, country="us") == timedelta(days=1)


def test_a_rule_with_hours_overrides_only_what_is_before_it(tmp_path: Path) -> None:
    text = (
        DEFAULT
        + BY_HOURS
        + '[data_types.invoices]\nfresh_within = "6 hours"\n'
        + '[[rules]]\nname = "free"\ntags.plan = "free"\nfresh_within = "3 days"\n'
        + '[[rules]]\nname = "lunch"\nhours = "12:00 to 13:00"\ntags.plan = "paid"\nfresh_within = "30 minutes"\n'
    )
    policy = load(write(tmp_path, text))

    assert within(policy, NINE_IN_LONDON, "invoices") == timedelta(hours=1)
    assert within(policy, NINE_IN_LONDON, plan="free") == timedelta(days=3)
    noon = NINE_IN_LONDON.replace(hour=12)
    assert [within(policy, noon, plan=plan) for plan in ("paid", "")] == [timedelta(minutes=30), timedelta(hours=1)]


def test_a_deadline_applies_to_what_it_selects(tmp_path: Path) -> None:
    text = DEFAULT + DEADLINE + "by = '08:00'\ndata_types = ['invoices']\ntags.plan = 'free'"
    policy = load(write(tmp_path, text))

    clock = promise(policy, "invoices").time_of_day
    assert clock is not None
    assert [(each.name, each.source) for each in clock.deadlines] == [("ready", 'deadline "ready" (freshness.toml:3)')]
    assert promise(policy, "bills").time_of_day is None
    assert promise(policy, "invoices", replace(COMPANY, tags={})).time_of_day is None


def test_a_table_without_an_objective_has_that_of_its_rule_or_of_all_companies(tmp_path: Path) -> None:
    text = """objective = 0.95
[data_types.invoices]
fresh_within = "6 hours"
[[rules]]
name = "lending"
tags.team = "lending"
objective = 0.999
data_types.bills.fresh_within = "1 hour"
"""
    policy = load(write(tmp_path, DEFAULT + text))

    assert objective(policy, "[default]") == objective(policy, "[data_types.invoices]") == 0.95
    assert objective(policy, 'rule "lending", bills') == 0.999


def test_attainment_is_measured_by_the_rule_and_by_the_tags_that_the_policy_selects_by(tmp_path: Path) -> None:
    policy = load(write(tmp_path, DEFAULT + RULE.replace("off = true", "fresh_within = '1 hour'")))
    company = replace(COMPANY, tags={"plan": "free", "owner": "me"})
    assert promise(policy, "bills", company).group == AttainmentKey(
        rule='rule "a"', platform="Xero", tags=("plan=free",)
    )


def test_a_window_leaves_out_holidays_only_where_it_depends_on_them(tmp_path: Path) -> None:
    holidays = "[calendars.uk]\ndates = [2026-11-30]\n[local_time]\ncalendar_tag = 'calendar'\n"
    always, close, named = (
        WINDOW.replace("'a'", f"'{name}'") + "never = '08:00 to 18:00'\n" + days
        for name, days in (
            ("always", ""),
            ("close", "days = ['last business day of the month']\n"),
            ("named", "calendar = 'uk'\n"),
        )
    )
    company = Company(company_id="c", tags={"calendar": "uk"})

    windows = load(write(tmp_path, DEFAULT + always + close + named + holidays)).promise("bills", company, XERO).windows

    shut = {day: [each.name for each in windows if each.include(date(2026, 11, day))] for day in (27, 30)}
    assert shut == {27: ["always", "close", "named"], 30: ["always"]}


def test_rules_whose_hours_overlap_in_one_data_type_change_that_one_only(tmp_path: Path) -> None:
    noon = "[[rules]]\nname = 'noon'\nhours = '12:00 to 13:00'\n[rules.data_types.bills]\nfresh_within = '10 minutes'\n"
    policy = load(write(tmp_path, DEFAULT + BY_HOURS + noon))
    monday = datetime(2026, 11, 23, tzinfo=UTC)

    def fresh_within(data_type: str, hour: float) -> timedelta:
        return promise(policy, data_type).at(monday + timedelta(hours=hour)).fresh_within

    assert [fresh_within("bills", hour) for hour in (7, 9, 12.5, 14)] == [
        timedelta(days=1),
        timedelta(hours=1),
        timedelta(minutes=10),
        timedelta(hours=1),
    ]
    assert {fresh_within("invoices", hour) for hour in (9, 12.5, 14)} == {timedelta(hours=1)}
