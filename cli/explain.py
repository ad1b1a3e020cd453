"""`freshness explain`: why a data type is, or is not, refreshed."""

from dataclasses import replace
from typing import Annotated

import typer

from cli.arguments import CompanyName, Json, argument, print_difference, selected_stack
from cli.output import link_text, new_table, print_issues, print_json, print_table, print_text
from freshness.app.reading.text import changed, changes, codat_words, duration, moment, read_times
from freshness.app.reading.views import Explanation
from freshness.domain.companies.pause import in_force
from stack_access.stack import clock


def explain(
    context: typer.Context,
    company: CompanyName,
    data_type: Annotated[str, argument("TYPE", "One of Codat's data types, such as invoices.")],
    *,
    as_json: Json = False,
) -> None:
    """Show the promise for a company's data type, what the next tick does about it and why, and its datasets."""
    stack, now = selected_stack(context), clock()
    found = stack.queries.find_company(company)
    explanations = stack.queries.explain(found, data_type, now)
    feeds = [explanation.feed for explanation in explanations]
    links = {link.connection_id: link for link in stack.links(found, feeds)}
    explanations = [
        replace(explanation, link=links.get(explanation.feed.connection_id)) for explanation in explanations
    ]
    if as_json:
        print_json(explanations)
        return
    for what, pause in (("Everything", stack.queries.pause(now)), (found.name, in_force(found.pause, now))):
        if pause:
            print_text(f"{what} is {pause}.", "yellow")
    for explanation in explanations:
        _print(explanation)
    print_difference(stack)


def _print(explanation: Explanation) -> None:
    feed = explanation.feed
    print_text(f"{feed.data_type} of {feed.company_name}, from {feed.platform} ({feed.connection_id})", "bold")
    print_text(f"Promise   no older than {duration(feed.promise)}, by {feed.rule}")
    for part in explanation.timing:
        coming = f", next at {moment(part.next_at)} UTC" if part.next_at else ""
        print_text(f"          {part.when}: no older than {duration(part.fresh_within)}{coming}, by {part.rule}")
    print_text(f"Now       {feed.state}, " + (f"{duration(feed.age)} old" if feed.age else "never synced"))
    if feed.succeeded_at:
        print_text(f"Read      {read_times(feed.succeeded_at, feed.as_of, feed.as_of_is_estimated)}")
    _print_learned(explanation)
    style = "yellow" if feed.diagnosis else ""
    if feed.diagnosis:
        print_text(f"Why       {feed.diagnosis.why}", style)
    print_text(f"Turn      {feed.turn.waited_for}: {feed.turn.next_action}", style)
    if feed.codat_says:
        print_text(f"Because   {codat_words(feed.codat_says)}", "yellow")
    if feed.misses_at:
        print_text(f"At risk   the deadline at {moment(feed.misses_at)} UTC is expected to be missed", "yellow")
    until = f", until {moment(explanation.until)} UTC" if explanation.until else ""
    print_text(f"Next      {explanation.next_step}{until}")
    if explanation.link:
        print_text(f"Link      {link_text(explanation.link)}", "yellow")
    if explanation.last_decided:
        print_text(f"Last      {feed.reason}, at {moment(explanation.last_decided.at)} UTC")
    table = new_table("requested (UTC)", "trigger", "state", "took", "changed", "dataset")
    for dataset in explanation.datasets:
        took = duration(dataset.ended_at - dataset.requested_at) if dataset.ended_at else "-"
        modified = changed(dataset.records_modified, dataset.modified_from)
        cells = str(dataset.trigger), dataset.state, took, modified, dataset.dataset_id
        table.add_row(moment(dataset.requested_at), *cells)
    print_table(table)
    for dataset in explanation.datasets:
        print_issues(dataset)


def _print_learned(explanation: Explanation) -> None:
    """Print how often the data changes, and whether the copy is probably still current."""
    feed = explanation.feed
    if feed.probability_up_to_date is not None:
        print_text(f"Current   with a probability of {feed.probability_up_to_date:.0%}: no change since it was read")
    if feed.quiet_since:
        print_text(f"Quiet     no change since {moment(feed.quiet_since)} UTC, longer than quiet_after", "magenta")
    if explanation.changes_per_day:
        print_text(f"Changes   {changes(explanation.changes_per_day, explanation.changes_are_learned)}")
