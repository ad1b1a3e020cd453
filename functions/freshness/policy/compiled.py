"""The policy as the functions have it: `cdk synth` validates it, and puts it into their bundle as it then is in memory.

They need neither the validators of all its tables, which take a tenth of a cold start to build, nor the package
`holidays`, from which the dates of its calendars were taken.
"""

import pickle
from pathlib import Path

from freshness.policy.policy import Policy

FILE = "policy.pickle"
"""The file's name in the bundle."""


def compiled(policy: Policy) -> bytes:
    """Return the content of the file. The package that reads it must be the one that wrote it, as in a bundle."""
    _ = policy.fingerprint  # stays with the policy from now on: computing it takes the serializers of all tables
    return pickle.dumps(policy)


def read(folder: Path) -> Policy:
    """Return the policy that was compiled into a folder."""
    policy = pickle.loads((folder / FILE).read_bytes())  # noqa: S301 - it comes with the code
    if not isinstance(policy, Policy):
        raise TypeError(f"{FILE} has {type(policy).__name__}, not a policy")
    return policy
