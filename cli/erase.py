"""`freshness erase`: deleting what the tables hold of a company."""

from typing import Annotated

import typer

from cli.arguments import CompanyName, Json, selected_stack
from cli.output import print_json, print_text


def erase(
    context: typer.Context,
    company: CompanyName,
    *,
    show: Annotated[
        bool, typer.Option("--show", help="Print what would be deleted, as JSON, and delete nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete all that the tables hold of a company, for good. docs/data.md says what else there is of it.

    The company is not recorded again, although Codat may still list it. Delete it at Codat as well.
    """
    stack = selected_stack(context)
    found = stack.queries.find_company(company)
    if show:
        print_json(stack.tables.company_items.read(found.company_id))
        return
    if not yes:
        held = stack.tables.company_items.read(found.company_id)
        numbers = ", ".join(f"{kind} {len(items)}" for kind, items in held.items())
        typer.confirm(f"Erase {found.name} ({found.company_id}) for good? Items: {numbers}", abort=True, err=True)
    erased = stack.operations.erase(found.company_id)
    if as_json:
        print_json({"erased": erased})
    else:
        print_text(f"{erased} items were deleted. Delete the company at Codat as well.")
