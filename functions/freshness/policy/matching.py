"""Finds the rules that match a connection without trying all of them: a policy may have one for each customer."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from freshness.domain.companies.company import Company, Connection
from freshness.policy.file.schema import Rule

Key = tuple[str, ...]


class Rules:
    """The rules of a policy in the order of the file, each indexed by one of its criteria."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._by_key: defaultdict[Key, list[int]] = defaultdict(list)
        for index, rule in enumerate(rules):
            for key in _keys(rule):
                self._by_key[key].append(index)

    def matching(self, company: Company, connection: Connection) -> Iterator[tuple[int, Rule]]:
        """Yield the rules that match a connection of a company, each with its number, in the order of the file."""
        keys: list[Key] = [(), ("company", company.company_id)]
        keys += [("group", each) for each in {company.company_id, company.parent_id}]
        keys += [("tag", *tag) for tag in company.tags.items()]
        for index in sorted({index for key in keys for index in self._by_key.get(key, ())}):
            if self._rules[index].matches(company, connection):
                yield index, self._rules[index]


def _keys(rule: Rule) -> list[Key]:
    """Return the index keys of one criterion of a rule; the empty key if it selects no companies."""
    if rule.companies:
        return [("company", each) for each in rule.companies]
    if rule.groups:
        return [("group", each) for each in rule.groups]
    return [("tag", *next(iter(rule.tags.items())))] if rule.tags else [()]
