"""`./freshness`: runs a command."""

import sys


def main() -> None:
    """Run a command. The exit status is 0, or 1 if it failed, or 2 if its arguments are wrong; `ensure` also has 3."""
    # AWS's packages take longer to import than a check of the policy file, which needs none of them.
    if sys.argv[1:3] == ["policy", "check"]:
        from cli.policy import app

        app(sys.argv[2:], prog_name="freshness policy")
    else:
        from cli.commands import app

        app(prog_name="freshness")


if __name__ == "__main__":
    main()
