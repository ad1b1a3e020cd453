"""The wheel of `codat-sandbox`, installed into an environment of its own and used from an empty folder."""

import ast
import base64
import email
import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from tests.packaging.conftest import ROOT, built, install
from tests.sandbox.conftest import Receiver

TEST = """
import httpx

def test_invoices_become_fresh(codat_sandbox):
    with httpx.Client(base_url=codat_sandbox.base_url, headers={"Authorization": codat_sandbox.authorization}) as codat:
        company, *_ = codat.get("/companies").json()["results"]
        assert codat.post(f"/companies/{company['id']}/data/all").status_code == 204
    assert codat_sandbox.signing_secret.startswith("whsec_")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT / "codat-sandbox", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has the wheel, and sees the packages that are installed here."""
    return install(tmp_path_factory.mktemp("environment"), wheel) / "bin"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not re.match("PYTHON|PYTEST|SANDBOX_", name)}


def test_the_command_prints_what_a_client_needs_and_signs_its_webhooks(
    programs: Path, tmp_path: Path, receiver: Receiver
) -> None:
    url = f"http://127.0.0.1:{receiver.port}"
    command = [str(programs / "codat-sandbox"), "--port", "0", "--companies", "2", "--webhook-url", url]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline().split()[-1] for _ in range(4)]
        address, key, secret, console = printed
        authorization = "Basic " + base64.b64encode(key.encode()).decode()
        with httpx.Client(base_url=address, headers={"Authorization": authorization}, trust_env=False) as codat:
            created = codat.post("/companies", json={"name": "Tide Bakery"}).json()
            total = codat.get("/companies").json()["totalResults"]
            console_status = codat.get(console).status_code
        received = receiver.next()
        process.send_signal(signal.SIGINT)

    assert (total, console_status) == (3, 200)
    event = Webhook(secret).verify(received.body, dict(received.headers))
    assert (event["eventType"], event["payload"]["id"]) == ("company.created", created["id"])
    assert process.returncode == 0


def test_pytest_finds_the_fixture(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "test_books.py").write_text(TEST)

    command = [str(programs / "python"), "-m", "pytest", "--quiet", "-p", "no:cacheprovider"]
    command += ["-p", "no:schemathesis", "-p", "no:hypothesispytest", "-p", "no:typeguard", "-p", "no:xdist"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)

    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr


def test_the_wheel_names_every_package_that_it_imports(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
        modules = [archive.read(name).decode() for name in names if name.endswith(".py")]
    required = {re.split("[><=]", each)[0] for each in email.message_from_string(metadata).get_all("Requires-Dist", [])}
    imported = {
        name.partition(".")[0] for module in modules for node in ast.walk(ast.parse(module)) for name in _imported(node)
    }
    third_party = (
        imported - set(sys.stdlib_module_names) - {"codat_sandbox", "pytest"}
    )  # pytest loads its plugin itself

    distributions = importlib.metadata.packages_distributions()
    assert {distributions[name][0].lower() for name in third_party} == required
    assert {Path(name).parts[0] for name in names if ".dist-info" not in name} == {"codat_sandbox"}


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
