"""Settings of a local run, read from environment variables."""

from collections.abc import MutableMapping
from datetime import timedelta
from itertools import combinations
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
    model_validator,
)

from local.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
"""The root folder of the project."""


def _seconds(value: object) -> timedelta:
    return timedelta(seconds=TypeAdapter(PositiveInt).validate_python(value))


Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseModel):
    """Settings of one run. The environment variable of each field is its name in capitals."""

    model_config = ConfigDict(frozen=True)

    run_for: Seconds | None = None
    """How long to run; until Ctrl-C if it is not set."""
    local_aws_port: Port = 4566
    sandbox_port: Port = 4577
    page_port: Port = 4580
    webhooks_lost: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of webhooks that the sandbox never sends, from 0 to 1."""
    codat_api_key: SecretStr | None = None
    """The API key of a real Codat account. Without it, the run uses the sandbox."""
    codat_base_url: HttpUrl = HttpUrl("https://api.codat.io")
    """The address of the real Codat's API."""
    queue: bool = False
    """Whether to queue refreshes at the real Codat. Otherwise they are only shown."""
    local_folder: Path = ROOT / ".local"
    """Each run has a folder in here for all files that it writes."""

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        ports = {"LOCAL_AWS_PORT": self.local_aws_port, "SANDBOX_PORT": self.sandbox_port, "PAGE_PORT": self.page_port}
        for (name, port), (other, same) in combinations(ports.items(), 2):
            if port == same:
                raise ValueError(f"{name} and {other} are both {port}: choose different ports")
        return self

    @property
    def run_folder(self) -> Path:
        """Return the folder of this run. Other runs, with other ports, have their own."""
        return self.local_folder / str(self.local_aws_port)

    @property
    def dry_run(self) -> bool:
        """Return whether refreshes are only shown."""
        return self.codat_api_key is not None and not self.queue

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Self:
        """Read the settings from `environment`, and delete the API key and all AWS variables from it.

        Processes started afterwards inherit neither the key nor access to a real AWS account.

        Raises:
            SettingsError: a variable has an invalid value.
        """
        given = {name: value for name in cls.model_fields if (value := environment.get(name.upper()))}
        for name in [name for name in environment if name == "CODAT_API_KEY" or name.startswith("AWS_")]:
            del environment[name]
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            mistake = error.errors()[0]
            problem = mistake["msg"].removeprefix("Value error, ")
            name = "".join(f"{str(part).upper()} cannot be used: " for part in mistake["loc"][:1])
            raise SettingsError(f"{name}{problem}. Correct or unset it.") from None
