"""Whether Codat is down, as seen from which companies calls fail about."""

from freshness.codat.errors import CodatError, RateLimited, StillProcessing, Temporary

SEVERAL = 5
"""Companies about which calls fail, after others succeeded, that show that Codat is down, and not their platforms."""


class Reachability:
    """What the calls of one client show. `was_down` is whether Codat was down when calls were last made.

    One company's data may cause a 500, or a call that never ends, however often it is called about. So Codat counts as
    down after calls failed about several companies that calls did not fail about before, and none succeeded since the
    first of these calls was sent. Companies are named by their paths, `/companies/{companyId}`.
    """

    def __init__(self, *, was_down: bool = False) -> None:
        self._was_down = was_down
        self._successes = 0
        self._failures: dict[str, Temporary | None] = {}
        """Why the last call about a company failed; `None` if Codat responded as it should."""
        self._doubtful: set[str] = set()
        self._newly_failed: set[str] = set()

    @property
    def is_down(self) -> bool:
        """Return whether Codat was seen to be down."""
        return len(self._newly_failed) >= SEVERAL

    @property
    def may_be_down(self) -> bool:
        """Return whether Codat is down, or was, and no call has succeeded since."""
        return self.is_down or (self._was_down and not self._successes)

    @property
    def is_back(self) -> bool:
        """Return whether a call succeeded, and Codat is not down."""
        return self._successes > 0 and not self.is_down

    def is_failing(self, company: str) -> bool:
        """Return whether the last call about a company failed."""
        return self._failures.get(company) is not None

    def responds(self, company: str) -> bool | None:
        """Return whether the last call about a company got a response; `None` if none was made."""
        if company not in self._failures:
            return None
        failure = self._failures[company]
        return failure is None or failure.status is not None

    def doubt(self, company: str) -> None:
        """Let a failure of calls about a company show nothing of Codat: they failed before."""
        self._doubtful.add(company)

    def begin(self) -> int:
        """Return what `end` takes, when a call is sent."""
        return self._successes

    def end(self, company: str, begun: int, error: CodatError | None) -> None:
        """Note how a call about a company ended; what is about none has a path of its own."""
        if isinstance(error, RateLimited):
            return
        if not isinstance(error, Temporary) or isinstance(error, StillProcessing):
            self._successes += 1
            self._failures[company] = None
            self._newly_failed.clear()
            return
        if begun == self._successes and not self.is_failing(company) and company not in self._doubtful:
            self._newly_failed.add(company)
        self._failures[company] = error
