"""Tells whether Codat is down by which companies calls fail for."""

from freshness.codat.errors import CodatError, RateLimited, StillProcessing, Temporary

SEVERAL = 5
"""Calls must newly fail for this many companies to show that Codat is down, and not single platforms or data."""


class Reachability:
    """The evidence of one client's calls on whether Codat is down. `was_down` is whether it was down before them.

    Calls about one company may fail however often they are made: its data may cause a 500, or a call that never ends.
    Codat counts as down once calls failed about `SEVERAL` companies for which they did not fail before, and no call has
    succeeded since the first of these was sent. A call about no company counts as one about its path.
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
        """Return whether the calls showed that Codat is down."""
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
        """Do not count failures of calls about a company as a sign that Codat is down: they failed before."""
        self._doubtful.add(company)

    def begin(self) -> int:
        """Return the number of calls that have succeeded. `end` takes it when the call that is sent now ends."""
        return self._successes

    def end(self, company: str, begun: int, error: CodatError | None) -> None:
        """Note how a call about a company ended."""
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
