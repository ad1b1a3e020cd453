"""`./freshness sandbox` changes the sandbox of the local run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.commands import app
from codat_sandbox.model import Company, ConnectionStatus
from codat_sandbox.server import RunningSandbox
from stack_access import stack

Freshness = Callable[..., tuple[int, str]]
KEYS = "export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1"


@pytest.fixture
def freshness(sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Freshness:
    """The command line beside a local run with the sandbox."""
    run = tmp_path / "4566"
    run.mkdir()
    (run / "outputs.json").write_text("{}")
    codat = f"CODAT_BASE_URL={sandbox.base_url} CODAT_API_KEY={sandbox.api_key}"
    (run / "env").write_text(f"{KEYS} AWS_ENDPOINT_URL=http://127.0.0.1:9 {codat}\n")
    monkeypatch.setattr(stack, "LOCAL_FOLDER", tmp_path)
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    def run_command(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["sandbox", *arguments])
        return result.exit_code, result.output

    return run_command


def company(sandbox: RunningSandbox, platform: str) -> Company:
    companies = sandbox.do(lambda s: s.backend.companies())
    return next(each for each in companies if any(c.platform.name == platform for c in each.connections))


def test_a_connection_lapses_is_relinked_and_unlinked(sandbox: RunningSandbox, freshness: Freshness) -> None:
    name = company(sandbox, "Xero").name
    found = []
    for command in ("lapse", "relink", "unlink"):
        status, printed = freshness(command, name[:-2], "--platform", "xero")
        assert (status, printed.startswith(f"{name}, Xero: ")) == (0, True), printed
        found += [c.status for c in company(sandbox, "Xero").connections if c.platform.name == "Xero"]

    assert found == [ConnectionStatus.DEAUTHORIZED, ConnectionStatus.LINKED, ConnectionStatus.UNLINKED]


def test_a_machine_a_read_the_books_and_codat_itself_fail(sandbox: RunningSandbox, freshness: Freshness) -> None:
    desktop = company(sandbox, "QuickBooks Desktop")
    freshness("offline", desktop.id)
    assert not company(sandbox, "QuickBooks Desktop").connections[0].machine_online
    freshness("online", desktop.id)
    assert company(sandbox, "QuickBooks Desktop").connections[0].machine_online
    assert freshness("fail", desktop.id, "suppliers", "--with", "AuthError")[0] == 0
    assert sandbox.do(lambda s: s.backend.history(desktop.id, s.now())[-1].data_type) == "suppliers"
    assert freshness("change", desktop.id)[1] == "The next read of each data type finds changed records.\n"
    freshness("webhooks", "lost")
    assert sandbox.do(lambda s: s.settings.webhooks_lost) == 1
    assert freshness("outage", "--for", "2 minutes")[1] == "Codat answers 503 for 2 min.\n"
    assert [stub.status for stub in sandbox.do(lambda s: s.stubs.pending())] == [503]


def test_what_cannot_be_done_is_said_in_a_sentence(sandbox: RunningSandbox, freshness: Freshness) -> None:
    name = company(sandbox, "Xero").name
    assert freshness("lapse", "Nobody") == (1, "freshness: No company Nobody at the sandbox has a connection.\n")
    assert "to Sage." in freshness("lapse", name, "--platform", "Sage")[1]
    assert "The sandbox refused this: " in freshness("fail", name, "nothing")[1]
    stack.local_run(stack.LOCAL_FOLDER).joinpath("env").write_text(
        f"{KEYS} AWS_ENDPOINT_URL=http://127.0.0.1:9 CODAT_BASE_URL=https://api.codat.io\n"
    )
    assert "only one without CODAT_API_KEY has a sandbox" in freshness("lapse", name)[1]
