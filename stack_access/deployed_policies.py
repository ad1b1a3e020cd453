"""The policy in force in a deployed stack, which may differ from the policy file of this machine."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from freshness.app.policy_in_force import load_version
from freshness.aws.dynamodb.control_items.policy_versions import PolicyUnreadable, PolicyVersion, PolicyVersions
from freshness.aws.dynamodb.table import VersionConflict
from freshness.policy import compiled
from freshness.policy.errors import PolicyError
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from stack_access.errors import StackError


@dataclass(slots=True)
class DeployedPolicies:
    """The policies of a stack. `file` is the policy file of this machine."""

    versions: PolicyVersions
    file: Path
    _loaded: Policy | None = None

    def in_force(self) -> Policy:
        """Return the policy in force, or that of the file if no tick has recorded one yet.

        In place of a version that cannot be loaded, the one before is returned, as functions do.

        Raises:
            freshness.policy.errors.PolicyError: no tick has recorded a policy yet, and the file is not a valid one.
            StackError: no version can be loaded, or no tick has recorded one yet and there is no file.
        """
        latest = self.versions.in_force()
        if latest is None and not self.file.exists():
            raise StackError(
                f"No tick has recorded the deployed policy yet, and {self.file.name} is missing. Try again in a minute."
            )
        if latest is None:
            return load(self.file)
        if self._loaded and self._loaded.fingerprint == latest.fingerprint:
            return self._loaded
        problem = ""
        for version in chain([latest], self.versions.before(latest)):
            try:
                self._loaded = load_version(self.versions, version)
            except PolicyUnreadable as error:
                problem = problem or str(error)
            else:
                return self._loaded
        raise StackError(f'The policy in force cannot be read ({problem}). "cdk deploy" stores it again.')

    def latest(self) -> PolicyVersion:
        """Return the version in force.

        Raises:
            StackError: no tick has recorded the deployed policy yet.
        """
        latest = self.versions.in_force(consistent=True)
        if latest is None:
            raise StackError("No tick has recorded the deployed policy yet. Try again in a minute.")
        return latest

    def deployed(self, latest: PolicyVersion) -> Policy | None:
        """Return the policy that was deployed last, `None` if it cannot be loaded."""
        for version in chain([latest], self.versions.before(latest)):
            if version.is_deployed and version.deployed == latest.deployed:
                with suppress(PolicyUnreadable):
                    return load_version(self.versions, version)
        return None

    def version(self, number: int) -> PolicyVersion:
        """Return a version by its number.

        Raises:
            StackError: there is none.
        """
        found = next((each for each in self.versions.history(self.latest()) if each.version == number), None)
        if found is None:
            raise StackError(f'There is no version {number}: "./freshness policy history" lists them.')
        return found

    def content(self, version: PolicyVersion) -> str:
        """Return the compiled policy of a version.

        Raises:
            StackError: it cannot be loaded.
        """
        try:
            load_version(self.versions, version)
            return self.versions.content(version)
        except PolicyUnreadable as error:
            raise StackError(f"Version {version.version} cannot be loaded: {error}.") from error

    def put(self, content: str, seen: PolicyVersion, *, by: str, how: str) -> PolicyVersion:
        """Put a compiled policy in force in place of the version that was seen. Return the new version.

        Raises:
            StackError: another version was put in force since.
        """
        version = PolicyVersion(
            fingerprint=compiled.parse(content).fingerprint,
            deployed=seen.deployed,
            at=datetime.now(UTC),
            by=by,
            how=how,
        )
        try:
            return self.versions.put(version, content, seen)
        except VersionConflict:
            now = self.latest()
            raise StackError(
                f"Nothing was changed: {now.by} put version {now.version} in force meanwhile ({now.how}). Look at it "
                'with "./freshness policy diff", and try again.'
            ) from None

    def difference(self) -> str:
        """Return a sentence if the file of this machine is not the policy in force; empty if it is, or is missing."""
        if not self.file.exists():
            return ""
        try:
            is_same = load(self.file).fingerprint == self.in_force().fingerprint
        except PolicyError:
            return f'{self.file.name} has a mistake and is not in force: "./freshness policy check" shows it.'
        return "" if is_same else f'{self.file.name} is not the policy in force: "./freshness policy diff" shows how.'
