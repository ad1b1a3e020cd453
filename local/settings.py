"""What can be chosen about a local run, each by an environment variable."""

from collections.abc import MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    PositiveInt,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from local.errors import LocalRunError

ROOT = Path(__file__).resolve().parent.parent
"""The project's own folder."""


def _seconds(value: object) -> timedelta:
    return timedelta(seconds=TypeAdapter(PositiveInt).validate_python(value))


Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseModel):
    """The settings of one run. Each field is read from the environment variable of its name, in capitals."""

    model_config = ConfigDict(frozen=True)

    run_for: Seconds | None = None
    """How long to keep the loop running; until Ctrl-C if it is not given."""
    local_aws_port: Port = 4566
    sandbox_port: Port = 4577
    webhooks_lost: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of its webhooks that the sandbox never sends: with all of them lost, the checks find the same."""
    codat_api_key: SecretStr | None = None
    """The key of a real Codat account; the sandbox stands in for Codat if it is not given."""
    codat_base_url: HttpUrl = HttpUrl("https://api.codat.io")
    """Where the real Codat is."""
    queue: bool = False
    """Whether refreshes are queued at a real Codat; they are only shown otherwise."""
    local_folder: Path = ROOT / ".local"
    """Where everything that a run writes goes."""

    @property
    def dry_run(self) -> bool:
        """Whether refreshes are only shown."""
        return self.codat_api_key is not None and not self.queue

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Self:
        """Read the settings from an environment, and take the API key and all AWS settings out of it.

        What is started afterwards inherits neither the key nor a way to a real AWS account.

        Raises:
            LocalRunError: a variable has a value that cannot be used.
        """
        given = {name: value for name in cls.model_fields if (value := environment.get(name.upper()))}
        for name in [name for name in environment if name == "CODAT_API_KEY" or name.startswith("AWS_")]:
            del environment[name]
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            mistake = error.errors()[0]
            name = str(mistake["loc"][0]).upper()
            raise LocalRunError(f"{name} cannot be used: {mistake['msg']}. Correct or unset it.") from None
