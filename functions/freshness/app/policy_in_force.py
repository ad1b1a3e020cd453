"""The policy in force: the one that was deployed, or one that was pushed since."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import chain

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from freshness.aws.dynamodb.control_items.policy_versions import PolicyUnreadable, PolicyVersion, PolicyVersions
from freshness.aws.dynamodb.table import ContentionError, VersionConflict
from freshness.policy import compiled
from freshness.policy.policy import Policy

REREAD = 50.0
"""Seconds after which a process reads again which version is in force: just under the minute between two ticks."""
NOT_LOADED = "The policy that was pushed cannot be loaded"
"""The log message that an alarm watches."""
TAKEN = "Another policy was taken"
"""The log message that shows people which policy each function has."""
DEPLOYED_ONLY = "deployed only"
"""The value of the setting `policy_source` that allows no policy but the deployed one."""
BY_DEPLOYMENT = "cdk deploy"

logger = Logger(service="codat-freshness")


@dataclass(eq=False)
class PolicyInForce:
    """The policy in force in one process.

    `read_deployed` returns the compiled policy of the process's own deployment. `seconds` is a clock that is never set
    back.
    """

    versions: PolicyVersions
    read_deployed: Callable[[], str]
    deployed_only: bool = False
    seconds: Callable[[], float] = time.monotonic
    _read_at: float = field(default=-math.inf, init=False)
    _in_force: PolicyVersion | None = field(default=None, init=False)
    _policy: Policy | None = field(default=None, init=False)

    def policy(self) -> Policy:
        """Return the policy in force, as read about once a minute.

        If it cannot be read or loaded, log that, and return the last policy that could be loaded.
        """
        if self._policy is None or self._read_at + REREAD <= self.seconds():
            try:
                self._in_force = self.versions.in_force()
                before, self._policy = self._policy or self._deployed, self._loaded()
                if self._policy is not before:
                    logger.info(TAKEN, extra={"fingerprint": self._policy.fingerprint})
            except (BotoCoreError, ClientError, ContentionError):
                if self._policy is None:
                    raise
                logger.warning("It could not be read which policy is in force", exc_info=True)
            self._read_at = self.seconds()
        return self._policy

    def record_deployed(self, now: datetime) -> None:
        """Record that the deployed policy is in force, unless a version that belongs to this deployment is recorded.

        Only one function calls this: while a deployment replaces the functions, they have different policies.
        """
        self.policy()
        if self._is_recorded:
            return
        version = PolicyVersion(
            fingerprint=self._deployed.fingerprint,
            deployed=self._deployed.fingerprint,
            at=now,
            by=BY_DEPLOYMENT,
            how="deployed",
        )
        with suppress(VersionConflict):
            self._in_force = self.versions.put(version, self.read_deployed(), self._in_force)

    @cached_property
    def _deployed(self) -> Policy:
        return compiled.parse(self.read_deployed())

    @property
    def _is_recorded(self) -> bool:
        """Return whether the recorded version belongs to this deployment.

        It was deployed, or was pushed since, where pushed policies are allowed.
        """
        known = self._in_force
        if known is None or known.deployed != self._deployed.fingerprint:
            return False
        return known.is_deployed or not self.deployed_only

    def _loaded(self) -> Policy:
        if self._in_force is None or not self._is_recorded:
            return self._deployed
        known = [each for each in (self._policy, self._deployed) if each]
        for version in chain([self._in_force], self.versions.before(self._in_force)):
            for policy in known:
                if policy.fingerprint == version.fingerprint:
                    return policy
            try:
                return load_version(self.versions, version)
            except PolicyUnreadable as error:
                logger.error(NOT_LOADED, extra={"version": version.version, "error": str(error)})
        return self._policy or self._deployed


def load_version(versions: PolicyVersions, version: PolicyVersion) -> Policy:
    """Return the policy of a version.

    Raises:
        PolicyUnreadable: it cannot be loaded.
    """
    content = versions.content(version)
    try:
        return compiled.parse(content)
    except ValueError as error:
        raise PolicyUnreadable(f"version {version.version}: {error}") from error
