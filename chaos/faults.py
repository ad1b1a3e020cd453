"""What can fail, how often, and with which errors."""

from dataclasses import dataclass
from random import Random

from botocore.exceptions import ClientError, ReadTimeoutError

from simulate.loop import Crash, Fuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The probability of each fault, for each call."""

    name: str
    stale: float = 0.0
    """A read that is not consistent, or an index, is up to `STALENESS` seconds old."""
    partial: float = 0.0
    """A query returns pages of one item, and BatchGetItem leaves keys out."""
    throttled: float = 0.0
    repeated: float = 0.0
    """botocore repeats a write whose response was lost: its condition then fails because of the write itself."""
    lost: float = 0.0
    """A write takes effect, and its response is lost for good."""
    bus: float = 0.0
    """EventBridge fails, half of the times after it accepted the events."""
    request_lost: float = 0.0
    """Codat does not receive a request."""
    response_lost: float = 0.0
    """Codat carries a request out, and its response is lost."""
    error: float = 0.0
    """Codat responds 500 without carrying a request out."""


NONE = Faults(name="no faults")
STALE = Faults(name="stale reads", stale=0.4, partial=0.2)
AWS = Faults(name="AWS", throttled=0.02, repeated=0.05, lost=0.02, bus=0.05, partial=0.1)
CODAT = Faults(name="Codat", request_lost=0.05, response_lost=0.08, error=0.05)
ALL = Faults(
    name="all faults",
    stale=0.3,
    partial=0.1,
    throttled=0.01,
    repeated=0.03,
    lost=0.01,
    bus=0.03,
    request_lost=0.03,
    response_lost=0.05,
    error=0.03,
)
PROFILES = (NONE, STALE, AWS, CODAT, ALL)


class KillSwitch(Fuse):
    """Kills a function before or after one of its calls.

    Each call counts twice: before it is made, and after it took effect. With `KillSwitch(0)` the function is killed
    before its first call, with `KillSwitch(3)` after its second.
    """

    def burnt(self) -> None:
        """Count that a call took effect.

        Raises:
            Crash: the function is killed before it receives the response.
        """
        self.burn()


class Dice:
    """Decides at random which faults happen in one run. `enabled` is false once the faults are over."""

    def __init__(self, faults: Faults, random: Random) -> None:
        self.faults = faults
        self.random = random
        self.enabled = True

    def throws(self, probability: float) -> bool:
        """Return whether a fault with this probability happens now."""
        return self.enabled and probability > 0 and self.random.random() < probability


def client_error(code: str, operation: str) -> ClientError:
    """Return the error of a call that AWS refused."""
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)


def timeout() -> ReadTimeoutError:
    """Return the error of a call whose response was lost."""
    return ReadTimeoutError(endpoint_url="http://aws")


__all__ = ["ALL", "AWS", "CODAT", "NONE", "PROFILES", "STALE", "Crash", "Dice", "Faults", "KillSwitch"]
