"""Finding what a person names."""

import difflib
from typing import Annotated

import typer

from cli.errors import CommandError
from freshness.aws.store import Store
from freshness.domain.company import Company
from freshness.domain.feed import Feed

CompanyName = Annotated[str, typer.Argument(metavar="COMPANY", help="A company's id, or its name.", show_default=False)]


def find_company(store: Store, name: str) -> Company:
    """The company with this id or, whatever its case, this name.

    Raises:
        CommandError: there is none, or there are several.
    """
    if company := store.company(name):
        return company
    companies = list(store.every_company())
    found = [company for company in companies if company.name.casefold() == name.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(company.company_id for company in found)
        raise CommandError(f"{len(found)} companies are called {name!r}: name one by its id ({ids}).")
    near = difflib.get_close_matches(name, [company.name for company in companies], n=1)
    hint = f"did you mean {near[0]!r}?" if near else '"./freshness status --companies" lists those that are known.'
    raise CommandError(f"No company has the id or the name {name!r}: {hint}")


def find_feeds(store: Store, company: Company, data_types: list[str]) -> list[Feed]:
    """The feeds of a company, of some data types if any are named.

    Raises:
        CommandError: the company has no feed of one of them.
    """
    feeds = store.feeds(company.company_id)
    known = sorted({feed.data_type for feed in feeds})
    for data_type in data_types:
        if data_type not in known:
            listed = ", ".join(known) or "none yet: it has not been checked"
            raise CommandError(f"{company.name} has no data type {data_type!r}; it has {listed}.")
    return [feed for feed in feeds if not data_types or feed.data_type in data_types]
