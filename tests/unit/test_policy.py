"""The policy file: what it promises, and how it answers mistakes."""

from datetime import timedelta
from pathlib import Path

import pytest

from freshness.policy import PolicyError, load

ROOT = Path(__file__).parent.parent.parent


def write(folder: Path, text: str) -> Path:
    path = folder / "freshness.toml"
    path.write_text(text)
    return path


def test_the_policy_that_ships_can_be_used() -> None:
    policy = load(ROOT / "freshness.toml")

    assert policy.promise("invoices").fresh_within == timedelta(hours=6)


def test_a_data_type_that_is_not_named_gets_the_default(tmp_path: Path) -> None:
    policy = load(write(tmp_path, '[default]\nfresh_within = "2 weeks"\n[data_types]\nbills.fresh_within = "1 day"'))

    assert policy.promise("bills").fresh_within == timedelta(days=1)
    assert policy.promise("somethingCodatAddsLater").fresh_within == timedelta(weeks=2)


DEFAULT = '[default]\nfresh_within = "1 day"\n'


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
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_was_expected(
    tmp_path: Path, text: str, line: int, expectation: str
) -> None:
    path = write(tmp_path, text)

    with pytest.raises(PolicyError) as raised:
        load(path)

    (told,) = [told for told in str(raised.value).splitlines() if expectation in told]
    assert told.startswith(f"{path}:{line}: ")


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, '[default]\nfresh_within = "soon"\n[data_types.bill]\nfresh_within = "later"')

    with pytest.raises(PolicyError) as raised:
        load(path)

    assert [line.split(":")[1] for line in str(raised.value).splitlines()] == ["2", "3", "4"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"freshness\.toml: expected a policy file here"):
        load(tmp_path / "freshness.toml")
