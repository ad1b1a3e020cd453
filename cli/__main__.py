"""`./freshness`: runs a command."""

import sys
from io import TextIOWrapper
from pathlib import Path


def main() -> None:
    """Run a command. Exit with 0, 1 if it failed, or 2 if its arguments or a policy are wrong; `ensure` also with 3."""
    command = Path(sys.argv[0]).name
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no terminal shows every character
    name = "freshness" if command == "__main__.py" else command
    try:
        # AWS's packages take longer to import than a check of the policy file, which needs none of them.
        if sys.argv[1:3] == ["policy", "check"]:
            from cli.policy import app

            app(sys.argv[2:], prog_name=f"{name} policy")
        else:
            from cli.commands import app

            app(prog_name=name)
    except ModuleNotFoundError as error:
        print(f'The package {error.name} is missing: pip install "codat-freshness[cli]".', file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
