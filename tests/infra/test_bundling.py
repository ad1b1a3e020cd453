import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from freshness.policy import compiled
from freshness.policy.loader import load
from infra import bundling

ROOT = Path(__file__).parents[2]
SLOW = {"boto3", "httpx", "holidays", "s3transfer"}
"""Packages that take long to import."""
EVERY_HANDLER = f"""
import zoneinfo
zoneinfo.reset_tzpath(())
import act_on_page, receive_webhook, serve_api, show_page
assert not {SLOW} & sys.modules.keys(), 'someone waits for these handlers to start'
import apply_webhook, check_freshness, queue_refreshes
zoneinfo.ZoneInfo('Europe/London')
modules = act_on_page, apply_webhook, check_freshness, queue_refreshes, receive_webhook, serve_api, show_page
assert all(callable(module.handler) for module in modules)
"""
# A small package that runs on any platform and has no dependencies.
OTHER = replace(bundling.THIS_MACHINE, name="other", cache_tag="cpython-999", interpreter="python9.99")
SIX = "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n"


@pytest.fixture(scope="session")
def bundle() -> Path:
    """Return the bundle for this machine, which shares its cache with `make run`."""
    return bundling.build(
        bundling.Sources.of_this_package(), ROOT / "freshness.toml", bundling.THIS_MACHINE, ROOT / ".build"
    )


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    folder = tmp_path / "functions"
    (folder / "freshness").mkdir(parents=True)
    (folder / "requirements.lock").write_text(SIX)
    (folder / "check_freshness.py").write_text("handler = 1\n")
    (folder / "freshness" / "policy.py").touch()
    return folder


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text("[default]\nfresh_within = '2 days'\n")
    return path


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for builds in which pip has installed the package, so that it need not run in each test."""
    folder = tmp_path_factory.mktemp("installed")
    lock, policy = folder / "functions" / "requirements.lock", folder / "policy.toml"
    (lock.parent / "freshness").mkdir(parents=True)
    lock.write_text(SIX)
    policy.write_text("[default]\nfresh_within = '2 days'\n")
    for target in (bundling.THIS_MACHINE, OTHER):
        shutil.rmtree(build(lock.parent, policy, target, folder / "builds"))
    return folder / "builds"


@pytest.fixture
def builds(installed: Path, tmp_path: Path) -> Path:
    """Return a folder for builds. The package is installed in it already."""
    return Path(shutil.copytree(installed, tmp_path / "builds", symlinks=True))


def build(functions: Path, policy: Path, target: bundling.Target, builds: Path) -> Path:
    """Build the bundle of a folder with handlers and the package that they share."""
    return bundling.build(bundling.Sources(functions, functions / "freshness"), policy, target, builds)


def run_isolated(bundle: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program with only the bundle on the path, without site-packages and environment variables."""
    options = ["-I", "-S", "-W", "error"]
    command = [sys.executable, *options, "-c", f"import sys; sys.path.append({str(bundle)!r})\n{program}"]
    return subprocess.run(command, env={}, capture_output=True, text=True, check=False)


def test_the_handlers_import_only_from_the_bundle_also_time_zones_and_need_no_environment_variables(
    bundle: Path,
) -> None:
    done = run_isolated(bundle, EVERY_HANDLER)
    assert (done.stderr, done.returncode) == ("", 0)


def test_the_page_takes_its_templates_from_the_bundle(bundle: Path) -> None:
    program = (
        "from freshness.app.page.render import Frame, Medium, render_text\n"
        "assert 'color-scheme' in render_text('text', '', Frame(Medium.SERVER))"
    )
    done = run_isolated(bundle, program)
    assert (done.stderr, done.returncode) == ("", 0)


def test_the_bundle_has_the_api_description_of_each_service_and_no_other(bundle: Path) -> None:
    program = (
        "from botocore.session import get_session\n"
        f"for each in {bundling.BOTOCORE_SERVICES}: get_session().create_client(each, region_name='eu-west-2')"
    )
    done = run_isolated(bundle, program)
    assert (done.stderr, done.returncode) == ("", 0)
    services = {path.name for path in (bundle / "botocore" / "data").iterdir() if path.is_dir()}
    assert services == set(bundling.BOTOCORE_SERVICES)


def test_the_bundle_contains_dependencies_handlers_the_package_and_the_policy(
    functions: Path, policy: Path, builds: Path
) -> None:
    bundle = build(functions, policy, bundling.THIS_MACHINE, builds)
    files = {path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file()}
    assert {path.as_posix() for path in files if path.suffix != ".pyc"} == {
        "six.py",
        "check_freshness.py",
        "freshness/policy.py",
        "policy.json",
    }
    bundled, written = compiled.parse(compiled.read(bundle)), load(policy)
    assert bundled.model_dump() == written.model_dump()
    assert bundled.fingerprint == written.fingerprint


def test_the_bundle_contains_the_dates_of_the_public_holidays_that_the_policy_names(
    functions: Path, policy: Path, builds: Path
) -> None:
    policy.write_text('[default]\nfresh_within = "1 day"\n[calendars.uk]\nholidays = "GB-ENG"\n')

    bundle = build(functions, policy, OTHER, builds)

    program = (
        "import sys; sys.modules['holidays'] = None\nfrom pathlib import Path\nfrom freshness.policy import compiled\n"
        f"policy = compiled.parse(compiled.read(Path({str(bundle)!r})))\n"
        "print(max(policy.calendars['uk'].all_dates).year)"
    )
    command = [sys.executable, "-c", program]
    deployed = subprocess.run(command, env={"PYTHONPATH": str(ROOT / "functions")}, capture_output=True, check=True)
    assert int(deployed.stdout) >= datetime.now(UTC).year + 9


def test_the_functions_have_the_policy_with_its_fingerprint_and_positions(bundle: Path) -> None:
    program = (
        "from freshness.app import services\n"
        "from freshness.domain.companies.company import Company, Connection\n"
        "from freshness.domain.times import BEGINNING\n"
        "connection = Connection(\n"
        "    connection_id='a', platform='Xero', source_type='', status='Linked', status_at=BEGINNING)\n"
        "company = Company(company_id='c')\n"
        "from pathlib import Path\n"
        "from freshness.policy import compiled\n"
        "policy = compiled.parse(compiled.read(Path(services.__file__).parents[2]))\n"
        "print(policy.fingerprint, policy.promise('invoices', company, connection).source)\n"
    )
    done = run_isolated(bundle, program)
    policy = load(ROOT / "freshness.toml")
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.startswith(f"{policy.fingerprint} [data_types.invoices] (freshness.toml:")


def test_the_same_bundle_has_the_same_name_and_bytecode_wherever_it_is_built(
    functions: Path, policy: Path, builds: Path, tmp_path: Path
) -> None:
    here, there = (
        build(functions, policy, bundling.THIS_MACHINE, folder) for folder in (builds, tmp_path / "elsewhere")
    )
    assert here.name == there.name
    compiled = list(here.rglob("*.pyc"))
    assert compiled
    for path in compiled:
        assert path.read_bytes() == (there / path.relative_to(here)).read_bytes()


def test_modules_are_compiled_only_if_there_is_an_interpreter_of_the_target(
    functions: Path, policy: Path, builds: Path
) -> None:
    own = build(functions, policy, bundling.THIS_MACHINE, builds)
    sources_only = build(functions, policy, OTHER, builds)

    tag = sys.implementation.cache_tag
    assert {path.relative_to(own).as_posix() for path in own.rglob("*.pyc")} == {
        f"__pycache__/six.{tag}.pyc",
        f"__pycache__/check_freshness.{tag}.pyc",
        f"freshness/__pycache__/policy.{tag}.pyc",
    }
    assert not list(sources_only.rglob("*.pyc"))


def test_pip_runs_once_for_the_same_requirements(
    functions: Path, policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = build(functions, policy, OTHER, tmp_path / "builds")
    assert "Installing" in capsys.readouterr().err
    assert build(functions, policy, OTHER, tmp_path / "builds") == first
    (functions / "check_freshness.py").write_text("handler = 2\n")
    changed = build(functions, policy, OTHER, tmp_path / "builds")
    assert (changed / "check_freshness.py").read_text() == "handler = 2\n"
    assert changed != first
    assert capsys.readouterr().err == ""


def test_only_the_latest_bundles_are_kept(functions: Path, policy: Path, builds: Path) -> None:
    bundles, archives = [], []
    for days in range(bundling.KEPT + 1):
        policy.write_text(f"[default]\nfresh_within = '{days + 1} days'\n")
        bundles.append(build(functions, policy, OTHER, builds))
        archives.append(bundling.archive(bundles[-1]))
    assert [bundle.exists() for bundle in bundles] == [False] + bundling.KEPT * [True]
    assert [archive.exists() for archive in archives] == [False] + bundling.KEPT * [True]


def test_a_package_that_pip_cannot_install_is_reported_and_leaves_no_files(
    functions: Path, policy: Path, tmp_path: Path
) -> None:
    (functions / "requirements.lock").write_text(SIX.replace("1.17.0", "0.0.0"))
    with pytest.raises(
        bundling.BundlingError, match=r"requirements\.lock .* six==0\.0\.0.*\. Check that the package index"
    ):
        build(functions, policy, bundling.THIS_MACHINE, tmp_path / "builds")
    assert list((tmp_path / "builds").iterdir()) == []


def test_dependencies_for_lambda_are_installed_for_its_platform(functions: Path, policy: Path, tmp_path: Path) -> None:
    [pydantic_core] = [package for package in locked() if package.startswith("pydantic-core==")]
    (functions / "requirements.lock").write_text(pydantic_core)
    bundle = build(functions, policy, bundling.LAMBDA, tmp_path / "builds")
    assert [path.name for path in bundle.rglob("*.so")] == ["_pydantic_core.cpython-314-aarch64-linux-gnu.so"]


def locked() -> list[str]:
    """Return each locked package with its hashes."""
    lines = (ROOT / "functions" / "requirements.lock").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    return re.split(r"\n(?! )", text)


def test_the_locked_packages_are_the_required_ones() -> None:
    required = (ROOT / "functions" / "requirements.txt").read_text().splitlines()
    assert {package.split()[0] for package in locked() if package} == {line for line in required if line[0] != "#"}


def test_a_package_with_another_hash_is_not_installed(functions: Path, policy: Path, tmp_path: Path) -> None:
    (functions / "requirements.lock").write_text(SIX.replace("sha256:4721", "sha256:0000"))
    with pytest.raises(bundling.BundlingError, match=r"(?i)hash"):
        build(functions, policy, OTHER, tmp_path / "builds")


def test_for_this_machine_the_locked_packages_are_copied_from_this_environment_without_pip(
    functions: Path, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    copied = build(functions, policy, bundling.THIS_MACHINE, tmp_path / "builds")
    assert (copied / "six.py").stat().st_size > 30_000
    with pytest.raises(bundling.BundlingError):
        build(functions, policy, OTHER, tmp_path / "builds")


def test_the_archive_of_a_bundle_has_the_same_files_and_modes(functions: Path, policy: Path, builds: Path) -> None:
    bundle = build(functions, policy, OTHER, builds)
    with zipfile.ZipFile(bundling.archive(bundle)) as archive:
        for path in bundle.rglob("*"):
            name = path.relative_to(bundle).as_posix() + ("/" if path.is_dir() else "")
            assert archive.getinfo(name).external_attr >> 16 == path.stat().st_mode
            assert path.is_dir() or archive.read(name) == path.read_bytes()


def test_everyone_can_read_a_bundle_that_is_built_with_umask_077(functions: Path, policy: Path, tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        policy.chmod(0o600)
        bundle = build(functions, policy, bundling.THIS_MACHINE, tmp_path / "builds")
    finally:
        os.umask(umask)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (bundle, *bundle.rglob("*"))}
    assert {path: mode for path, mode in modes.items() if mode != (0o755 if path.is_dir() else 0o644)} == {}


def test_an_interpreter_of_the_target_compiles_the_modules_whichever_interpreter_builds(
    functions: Path, policy: Path, builds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = build(functions, policy, OTHER, builds)
    command = tmp_path / OTHER.interpreter
    command.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    compiled = build(functions, policy, OTHER, builds)

    assert {path.name.partition(".")[0] for path in compiled.rglob("*.pyc")} == {"six", "check_freshness", "policy"}
    assert compiled != without
    assert len(list(builds.glob("dependencies-other-*"))) == 2
