"""An upgrade from the last release, and back: each revision goes on with the stack that the other deployed and used."""

import os
import shutil
import subprocess
import tarfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path

import boto3
import pytest

from codat_sandbox.server import RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings as SandboxSettings
from freshness.client import FreshnessClient
from freshness.domain.datasets.dataset import Dataset
from freshness.domain.feeds.feed import Feed, FeedKey
from local import deploy, local_aws
from local.codat import Codat
from local.processes import Processes, free_port, guarded_processes
from local.settings import ROOT
from stack_access.stack import DeployedStack, clock
from tests.end_to_end.conftest import is_due, queue_of_events, received, using_local_aws, wait_for

NAME = "upgraded"
SIGNING_SECRET = "whsec_dXBncmFkZWR1cGdyYWRlZHVwZ3Jh"
COMPANIES = {
    "companies": 2,
    "seed": 4,
    "never_synced": 0,
    "fresh_at_start": 0,
    "needs_relink": 0,
    "fails_first": 0,
    "machine_offline": 0,
    # So long that a deployment begins meanwhile.
    "sync_time_min": 10,
    "sync_time_max": 10,
}
POLICY = '[default]\nfresh_within = "1 hour"\n'


def git(*arguments: str) -> bytes:
    """Return what git prints, nothing where it fails."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False).stdout


def last_release() -> str:
    """Return the newest tag before this revision, or else the revision whose changelog first named this version."""
    if tag := git("describe", "--tags", "--abbrev=0", "HEAD^").decode().strip():
        return tag
    if git("rev-parse", "--is-shallow-repository").decode().strip() != "false":
        pytest.skip("The history that an upgrade is tested from is not in this clone: git fetch --unshallow --tags")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    *_, first = git("log", "-S", f"## [{version}]", "--format=%H", "--", "CHANGELOG.md").decode().split()
    return first


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Return a folder with the last release, which shares the cache of the functions' dependencies."""
    folder = tmp_path / "release"
    with tarfile.open(fileobj=BytesIO(git("archive", last_release()))) as files:
        files.extractall(folder, filter="data")
    (ROOT / ".build").mkdir(exist_ok=True)
    (folder / ".build").symlink_to(ROOT / ".build")
    return folder


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Return the processes of a local AWS of its own, which every tool uses."""
    port, folder = free_port(), tmp_path / "ministack"
    with using_local_aws(port), guarded_processes(tmp_path, transient=[folder]) as processes:
        local_aws.start(processes, port, folder)
        deploy.create_asset_bucket()
        yield processes


@pytest.fixture
def codat() -> Iterator[RunningSandbox]:
    """Return a Codat for the stack, with companies whose data is stale."""
    with running_sandbox(SandboxSettings.model_validate(COMPANIES), "key-of-upgraded", SIGNING_SECRET) as sandbox:
        yield sandbox


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The stack, which one revision after the other is deployed over."""

    processes: Processes
    codat: RunningSandbox
    folder: Path

    def deploy(self, revision: Path) -> DeployedStack:
        """Deploy a revision from its folder."""
        policy, file, scratch = self.folder / "policy.toml", self.folder / "outputs.json", self.folder / "scratch"
        policy.write_text(POLICY)
        context = {
            "local": "true",
            "name": NAME,
            "policy": str(policy),
            "codat_base_url": self.codat.base_url,
            "start_paused": "false",
        }
        outputs = deploy.deploy(self.processes, context, scratch, revision)
        shutil.rmtree(scratch)
        file.write_text(outputs.model_dump_json(by_alias=True))
        return DeployedStack(boto3.Session(), NAME, policy, os.environ["AWS_ENDPOINT_URL"], file)

    def check(self, deployed: DeployedStack) -> None:

        def has_feeds() -> bool:
            # A tick is skipped while a scheduled one runs.
            deployed.invoke(deployed.outputs.check_freshness_function)
            return bool(feeds(deployed))

        wait_for(has_feeds)

    def refresh(self, deployed: DeployedStack) -> None:
        """Run the function that queues refreshes until nothing is due or in flight."""

        def is_read() -> bool:
            deployed.invoke(deployed.outputs.queue_refreshes_function)
            return not any(is_due(feed) or feed.in_flight for feed in feeds(deployed).values())

        wait_for(is_read)


def ensure(deployed: DeployedStack, feed: Feed) -> None:
    """Have the stack's API read a data type of a company again, and wait for that."""
    with FreshnessClient(deployed.outputs.api_url) as client:
        asked = client.ensure_fresh(feed.company_id, [feed.data_type], max_age="1s", within="4m")
    asked.raise_if_not_fresh()


def key_of(dataset: Dataset) -> FeedKey:
    return dataset.company_id, dataset.data_type, dataset.connection_id


def feeds(deployed: DeployedStack) -> dict[FeedKey, Feed]:
    return {feed.key: feed for feed in deployed.tables.feeds.scan()}


def was_read(feed: Feed, since: datetime) -> bool:
    return feed.succeeded_at is not None and feed.succeeded_at >= since


def reads(known: dict[FeedKey, Feed]) -> dict[FeedKey, tuple[object, ...]]:
    """Return what is known of the last read of each feed."""
    return {key: (feed.succeeded_at, feed.last_dataset, feed.end) for key, feed in known.items()}


def test_nothing_is_lost_or_refreshed_twice_or_announced_twice_by_an_upgrade_and_back(
    processes: Processes, codat: RunningSandbox, release: Path, tmp_path: Path
) -> None:
    upgraded, began = Upgraded(processes, codat, tmp_path), clock()
    old = upgraded.deploy(release)
    deploy.put_secrets(old.outputs, codat.api_key, SIGNING_SECRET)
    webhooks = Codat(codat.base_url, codat.api_key, SIGNING_SECRET, is_sandbox=True)
    webhooks.register_webhook(old.outputs.webhook_url)
    events = queue_of_events(NAME, old.outputs.event_bus_name, {"detail-type": ["Company data refreshed"]})
    upgraded.check(old)
    old.invoke(old.outputs.queue_refreshes_function)
    by_old = feeds(old)
    assert any(feed.in_flight for feed in by_old.values())

    new = upgraded.deploy(ROOT)
    upgraded.refresh(new)
    first, *_, last = (feed for _, feed in sorted(feeds(new).items()) if was_read(feed, began))
    ensure(new, first)
    by_both = feeds(new)

    back = upgraded.deploy(release)
    assert reads(feeds(back)) == reads(by_both)
    ensure(back, last)
    upgraded.refresh(back)

    assert by_old.keys() == by_both.keys() == feeds(back).keys()
    read = {key for key, feed in feeds(back).items() if was_read(feed, began)}
    again = Counter((feed.company_id, feed.data_type) for feed in (first, last))
    datasets = [each for each in back.tables.datasets.scan() if key_of(each) in read]
    assert Counter(map(key_of, datasets)) == {key: 1 + again[key[:2]] for key in read}
    assert all(dataset.ended_at for dataset in datasets)
    # A repeat of an event has the same id.
    ours = {dataset.dataset_id for dataset in datasets}
    announced = {(each["detail"]["id"], each["detail"]["datasetId"]) for each in received(events)}
    assert Counter(dataset_id for _, dataset_id in announced if dataset_id in ours) == Counter(ours)
