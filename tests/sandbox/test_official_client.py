"""Codat's own client for Python drives the sandbox. `make test` installs it into an environment of its own."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from codat_sandbox.codat_api import CodatApi
from codat_sandbox.not_modelled import NOT_MODELLED
from codat_sandbox.sandbox import Sandbox
from codat_sandbox.server import running_sandbox
from codat_sandbox.settings import Settings
from tests.sandbox.conftest import QUICK
from tests.sandbox.test_codat_docs import operations

PYTHON = Path(__file__).parents[2] / ".venv-official-client" / "bin" / "python"
MODELLED = {route.name for route in CodatApi(Sandbox(Settings(companies=0), "key")).routes()}


@pytest.fixture(scope="module")
def official() -> Any:
    """The operations that the client has, and what became of a call of each that the sandbox models."""
    if not PYTHON.exists():
        pytest.skip("`make test` installs Codat's client")
    own = {"custom_data_types": {"Xero": ("budgets",)}, "custom_products": {"credit-model": ("invoices",)}}
    with running_sandbox(QUICK.model_copy(update={"companies": 3, **own})) as sandbox:
        command = [str(PYTHON), str(Path(__file__).with_name("official_client.py")), sandbox.base_url]
        environment = os.environ | {"AUTHORIZATION": sandbox.authorization}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_official_client_calls_every_operation_that_the_sandbox_models(official: Any) -> None:
    assert {name: why for name, why in official["outcomes"].items() if why} == {}
    assert official["outcomes"].keys() == MODELLED
    assert len(MODELLED) == 28


def test_every_operation_of_the_official_client_is_documented_and_known_to_the_sandbox(official: Any) -> None:
    assert {name: call for name, (call, _) in operations().items()} == official["operations"]
    assert official["operations"].keys() == MODELLED | NOT_MODELLED.keys()


@pytest.mark.parametrize(("name", "call"), NOT_MODELLED.items(), ids=NOT_MODELLED)
def test_an_operation_that_is_not_modelled_is_refused_by_name(codat: httpx.Client, name: str, call: str) -> None:
    method, path = call.split(" ")

    response = codat.request(method, path)

    assert response.status_code == 501
    assert response.json()["error"] == f"The sandbox does not model Codat's operation {name} ({call})."
