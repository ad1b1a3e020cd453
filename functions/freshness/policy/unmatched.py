"""Names in the policy file that select nothing, which may be a mistake."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from freshness.domain.companies.company import Company, Connection, ConnectionStatus
from freshness.domain.companies.platforms import KEYS, is_known, selects
from freshness.policy.file.local_time import Timing
from freshness.policy.file.schema import CompanySelection, Selection
from freshness.policy.file.table import Location
from freshness.policy.file.values import suggestion
from freshness.policy.policy import Policy


@dataclass(slots=True)
class _Known:
    """The companies, connections, tags, platforms and products that Codat has."""

    connections: list[tuple[Company, Connection]] = field(default_factory=list)
    company_ids: dict[str, str] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    tags: dict[str, set[str]] = field(default_factory=dict)
    platforms: dict[str, str] = field(default_factory=dict)
    """The keys of platforms by their names."""
    products: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, companies: Iterable[Company]) -> "_Known":
        known = cls()
        for company in companies:
            if company.deleted_at:
                continue
            known.company_ids[company.company_id] = company.name
            known.groups |= {company.company_id, company.parent_id}
            known.products.update(company.products)
            for name, value in company.tags.items():
                known.tags.setdefault(name, set()).add(value)
            for connection in company.connections.values():
                if connection.status != ConnectionStatus.DELETED:
                    known.connections.append((company, connection))
                    known.platforms[connection.platform] = connection.integration_key
        return known

    def has(self, platform: str) -> bool:
        """Return whether a name selects a platform that a company is connected to."""
        return any(selects(platform, name, key) for name, key in self.platforms.items())


def unmatched(policy: Policy, companies: Iterable[Company]) -> Iterator[str]:
    """Yield a sentence for each name of the policy that matches no known connection, with the nearest known name.

    Yield nothing if no connection is known.
    """
    known = _Known.of(companies)
    if not known.connections:
        return
    for location, label, selection in _selections(policy):
        where = policy.source(location, label)
        missing = list(_missing(selection, known))
        yield from (f"{where}: {each}" for each in missing)
        if not missing and not _matches(selection, known):
            yield f"{where}: no connection matches all of its criteria"
    for location, label, name in _platforms(policy):
        if not known.has(name):
            yield f"{policy.source(location, label)}: no connection is to {name!r}{suggestion(name, known.platforms)}"
    for product in policy.products:
        if product not in known.products:
            where = policy.source(("products", product), f"[products.{product}]")
            yield f"{where}: no company has this product{suggestion(product, known.products)}"


def warnings(policy: Policy, today: date) -> Iterator[str]:
    """Yield a sentence for each name that may be a mistake: a platform that is not listed, and a date that is past."""
    selections = list(_selections(policy))
    named = [
        (location, label, name)
        for location, label, selection in selections
        if isinstance(selection, Selection)
        for name in selection.platforms
    ]
    for location, label, name in (*named, *_platforms(policy)):
        if not is_known(name):
            hint = suggestion(name, KEYS.values())
            yield f"{policy.source(location, label)}: {name!r} is no platform of Codat's that is known here{hint}"
    for location, label, selection in selections:
        if isinstance(selection, Timing):
            for day in sorted(each for each in selection.parsed_days if isinstance(each, date) and each < today):
                yield f"{policy.source(location, label)}: {day} is past"


def _selections(policy: Policy) -> Iterator[tuple[Location, str, CompanySelection]]:
    kinds: Mapping[str, tuple[str, Iterable[CompanySelection]]] = {
        "rules": ("rule", policy.rules),
        "deadlines": ("deadline", policy.deadlines),
        "windows": ("window", policy.windows),
        "sets": ("set", policy.sets),
    }
    for key, (kind, tables) in kinds.items():
        for index, table in enumerate(tables):
            yield (key, index), f'{kind} "{getattr(table, "name", "")}"', table


def _platforms(policy: Policy) -> Iterator[tuple[Location, str, str]]:
    for name in policy.prices:
        yield ("prices", name), "[prices]", name
    for key in ("spending", "refreshes_per_connection"):
        for name in getattr(policy.budget, key):
            yield ("budget", key, name), f"[budget.{key}]", name


def _matches(selection: CompanySelection, known: _Known) -> bool:
    if isinstance(selection, Selection):
        return any(selection.matches(company, connection) for company, connection in known.connections)
    return any(selection.matches_company(company) for company, _ in known.connections)


def _missing(selection: CompanySelection, known: _Known) -> Iterator[str]:
    """Yield a sentence for each criterion of a selection that nothing at Codat meets."""
    for company_id in selection.companies:
        if company_id not in known.company_ids:
            yield f"there is no company {company_id}"
    for group in selection.groups:
        if group not in known.groups:
            yield f"no company is or belongs to {group}"
    for name, value in selection.tags.items():
        if name not in known.tags:
            yield f"no company has a tag {name!r}{suggestion(name, known.tags)}"
        elif value not in known.tags[name]:
            yield f"no company is tagged {name} = {value!r}{suggestion(value, known.tags[name])}"
    if isinstance(selection, Selection):
        for platform in selection.platforms:
            if not known.has(platform):
                yield f"no connection is to {platform!r}{suggestion(platform, known.platforms)}"
