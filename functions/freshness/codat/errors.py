"""The errors that a call to Codat raises.

CodatError
 ├─ AlreadyInProgress      the data type is being synced already; names the running dataset
 ├─ UnsupportedDataType    no platform of the company has this data type
 ├─ NotFound               no such company, connection or dataset
 ├─ AllRefused             every other call will fail the same way
 │   ├─ Unauthorized       the API key is wrong
 │   │   └─ WrongAccount   it belongs to a different account than the policy names; the call was not made
 │   ├─ AccountLimit       the account's trial, plan or company limit is used up
 │   └─ RateLimited        no more calls until `until`: a limit is reached, or Codat is being maintained
 ├─ Temporary              Codat is down, overloaded or unreachable: a later try may succeed
 │   └─ StillProcessing    the first try of the same POST is still being processed
 ├─ Unreadable             a response that is not as Codat describes it
 └─ Refused                any other refusal; trying the same again will not help
     └─ Forbidden          the API key may not do this, here at least
"""

from datetime import datetime


class CodatError(Exception):
    """A call to Codat that failed.

    `at` is when, by Codat's clock if it responded. `status` is the response's status code, `None` without a response.
    `correlation_id` is what Codat's support asks for, empty if there is none.
    """

    def __init__(
        self, call: str, message: str, *, at: datetime, status: int | None = None, correlation_id: str = ""
    ) -> None:
        self.call = call
        self.message = message
        self.at = at
        self.status = status
        self.correlation_id = correlation_id
        answer = f" ({status})" if status else ""
        reference = f" [correlation id {correlation_id}]" if correlation_id else ""
        super().__init__(f"{call}{answer}: {message}{reference}")


class AlreadyInProgress(CodatError):
    """The data type is being synced already, as dataset `dataset_id`, which is empty if Codat did not name it."""

    dataset_id: str = ""


class UnsupportedDataType(CodatError):
    """No platform that the company is connected to has this data type."""


class NotFound(CodatError):
    """Codat knows no such company, connection or dataset."""


class AllRefused(CodatError):
    """Codat accepts no calls of this account now: every other call will fail the same way."""


class Unauthorized(AllRefused):
    """The API key is wrong."""


class WrongAccount(Unauthorized):
    """The API key belongs to a different account than the policy names: the call was not made."""


class AccountLimit(AllRefused):
    """The account's trial, plan or number of companies is used up."""


class RateLimited(AllRefused):
    """A limit of Codat's was reached, or it is being maintained: no call may be made before `until`.

    Without a `status`, the call was not made at all.
    """

    until: datetime


class Temporary(CodatError):
    """Codat could not respond now. A POST may nevertheless have taken effect."""

    @property
    def is_unanswered(self) -> bool:
        """Return whether the outcome of a POST is unknown, so that it must be sent again with the same key.

        It is unknown if there is no response, or one without a correlation id: an error page from in front of Codat has
        none.
        """
        return self.status is None or not self.correlation_id


class StillProcessing(Temporary):
    """Codat is still processing the first try of a POST that was sent again with the same key."""

    is_unanswered = True


class Unreadable(CodatError):
    """The response is not as Codat's API describes it."""


class Refused(CodatError):
    """Codat refused the call for a reason that no other class names."""


class Forbidden(Refused):
    """The API key lacks a permission: for all such calls, or for this company alone."""
