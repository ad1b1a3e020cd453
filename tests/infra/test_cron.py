import pytest

from infra.cron import validated


@pytest.mark.parametrize(
    "expression",
    [
        "cron(* * * * ? *)",
        "cron(0/5 * * * ? *)",
        "cron(0/10 6-22 * * ? *)",
        "cron(0 8,12,16 ? * MON-FRI *)",
        "cron(15 10 ? * 6L 2026-2030)",
        "cron(0 10 L JAN,JUL ? *)",
        "cron(0 10 3W * ? *)",
        "cron(0 10 LW * ? *)",
        "cron(0 10 ? * TUE#2 *)",
        "cron(0-30/5 */2 1,15 1-6 ? 2026/2)",
    ],
)
def test_a_valid_expression_is_returned_as_it_is(expression: str) -> None:
    assert validated(expression) == expression


@pytest.mark.parametrize(
    ("expression", "mistake"),
    [
        ("rate(5 minutes)", r"cron\(minutes hours"),
        ("cron(0 10 * * ?)", "6 fields"),
        ("cron(0 10  * * ? *)", "6 fields"),
        ("cron(0 10 * * * *)", r"must be \?"),
        ("cron(0 10 ? * ? *)", r"must be \?"),
        ("cron(60 10 * * ? *)", "minutes: 0-59 expected, not '60'"),
        ("cron(0 24 * * ? *)", "hours: 0-23 expected"),
        ("cron(0 10 0 * ? *)", "day of month: 1-31 expected"),
        ("cron(0 10 32W * ? *)", "day of month: 1-31 expected"),
        ("cron(0 10 * 13 ? *)", "month: 1-12 or JAN-DEC expected"),
        ("cron(0 10 * * ? 1969)", "year: 1970-2199 expected"),
        ("cron(0 10 ? * 0 *)", "day of week: 1-7 or SUN-SAT expected"),
        ("cron(0 10 ? * MON#6 *)", "day of week"),
        ("cron(0 10 ?,1 * MON *)", r"must be \?"),
        ("cron(0 10 ?,1 * ? *)", "day of month: . must be alone"),
        ("cron(30-10 * * * ? *)", "the range 30-10 ends before it starts"),
        ("cron(0/0 * * * ? *)", "a step is a number from 1"),
        ("cron(*/five * * * ? *)", "a step is a number from 1"),
        ("cron(, * * * ? *)", "minutes: 0-59 expected"),
        ("cron(-5 * * * ? *)", "minutes: 0-59 expected"),
        ("cron(0 10 * * ? *) ", r"cron\(minutes hours"),
    ],
)
def test_the_mistake_in_an_invalid_expression_is_named(expression: str, mistake: str) -> None:
    with pytest.raises(ValueError, match=mistake):
        validated(expression)
