"""Settings of a local run that cannot be used."""

import pytest

from local.errors import SettingsError
from local.settings import Settings


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"LOCAL_AWS_PORT": "4577"}, "LOCAL_AWS_PORT and SANDBOX_PORT are both 4577: choose different ports"),
        ({"PAGE_PORT": "4566"}, "LOCAL_AWS_PORT and PAGE_PORT are both 4566"),
        ({"SANDBOX_PORT": "99999999"}, "SANDBOX_PORT cannot be used: Input should be less than or equal to 65535"),
        ({"RUN_FOR": "soon"}, "RUN_FOR cannot be used"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings.from_environment(environment)
