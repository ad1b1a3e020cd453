"""`freshness policies`: policies of IAM with the names of the stack's resources."""

from typing import Annotated

import typer

from cli.arguments import selected_stack
from cli.errors import CommandError
from cli.output import print_json
from stack_access.policies import Resources, Role

Of = Annotated[Role | None, typer.Argument(help="Whose policy to print; without it, all of them.", show_default=False)]


def policies(context: typer.Context, role: Of = None) -> None:
    """Print the policies of IAM for the people and programs that work with the stack, as JSON."""
    stack = selected_stack(context)
    outputs, region = stack.outputs, stack.session.region_name
    logged = (
        outputs.check_freshness_function,
        outputs.queue_refreshes_function,
        outputs.receive_webhook_function,
        outputs.apply_webhook_function,
    )
    resources = Resources(
        outputs=outputs,
        partition=stack.session.get_partition_for_region(region),
        region=region,
        log_groups=[stack.log_group(function) for function in logged],
    )
    has_page = bool(outputs.show_page_function)
    known = [each for each in Role if has_page or each not in (Role.PAGE, Role.BUTTONS)]
    if role is None:
        print_json({each: resources.policy(each) for each in known})
    elif role in known:
        print_json(resources.policy(role))
    else:
        raise CommandError("The stack has no dashboard: set dashboard = true in deployment.toml, and deploy.")
