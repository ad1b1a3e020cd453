"""Errors that the sandbox responds with, as Codat does: a status code and a message.

SandboxError
├── NotFoundError                     404
├── NotSupportedByPlatformError       404
├── NoLinkedConnectionError           400
├── DatasetAlreadyInProgressError     400, or 409 if the settings say so
├── ProductError                      400
├── ProductInProgressError            400
├── IdempotencyConflictError          409
├── IdempotencyMismatchError          422
├── NotModelledError                  501
├── BadRequestError                   400
├── ForbiddenError                    403
└── UnauthorizedError                 401
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

from pydantic import ValidationError


class SandboxError(Exception):
    """A request that Codat refuses. `str()` is the `error` of the response body."""

    status = HTTPStatus.BAD_REQUEST


class NotFoundError(SandboxError):
    """No resource of a kind has the given id, or the company or connection that it is of does not have it."""

    status = HTTPStatus.NOT_FOUND

    def __init__(self, kind: str, resource_id: str) -> None:
        super().__init__(f"{kind} {resource_id} not found")


class NotModelledError(SandboxError):
    """Codat has the operation, and the sandbox does not."""

    status = HTTPStatus.NOT_IMPLEMENTED

    def __init__(self, name: str, call: str) -> None:
        super().__init__(f"The sandbox does not model Codat's operation {name} ({call}).")


class NotSupportedByPlatformError(SandboxError):
    """None of the platforms supports the data type."""

    status = HTTPStatus.NOT_FOUND

    def __init__(self, data_type: str, platforms: Sequence[str]) -> None:
        names = ", ".join(dict.fromkeys(platforms))
        super().__init__(f"Datatype [{data_type}] not supported by platform(s) [{names}]")


class NoLinkedConnectionError(SandboxError):
    """No connection that supports the data type is linked."""

    def __init__(self, company_id: str, data_type: str) -> None:
        super().__init__(f"Cannot queue {data_type} sync for {company_id} as no data connection is linked")


class DatasetAlreadyInProgressError(SandboxError):
    """The data type's last sync is still running; `dataset_id` is the id of its dataset."""

    def __init__(self, data_type: str, company_id: str, dataset_id: str) -> None:
        super().__init__(
            f"DatasetAlreadyInProgressException: Cannot queue {data_type} sync for {company_id}"
            f" as previous sync {dataset_id} is still in progress"
        )
        self.dataset_id = dataset_id


class ProductError(SandboxError):
    """The product is a standard one, or does not have the data type."""

    def __init__(self, product: str) -> None:
        super().__init__(
            f"{product} doesn't support data refreshing. For more information, refer to your solution's documentation."
        )


class ProductInProgressError(SandboxError):
    """A sync of the product is running."""

    def __init__(self) -> None:
        super().__init__(
            "Data cannot be refreshed while a read operation is in progress. Allow the read to complete before "
            "attempting to refresh."
        )


class IdempotencyConflictError(SandboxError):
    """The first request with the same idempotency key is still being processed."""

    status = HTTPStatus.CONFLICT

    def __init__(self, key: str) -> None:
        super().__init__(f"A request with the idempotency key {key} is already being processed")


class IdempotencyMismatchError(SandboxError):
    """The idempotency key was used for a different request."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, key: str) -> None:
        super().__init__(f"The idempotency key {key} was used for a request with other content")


class BadRequestError(SandboxError):
    """A parameter or the body of the request is not valid."""


@contextmanager
def refusing() -> Iterator[None]:
    """Refuse the request if its content is not valid.

    Raises:
        BadRequestError: a validation failed.
    """
    try:
        yield
    except ValidationError as error:
        raise BadRequestError(f"The request body is not valid: {error}") from error


class ForbiddenError(SandboxError):
    """A page of a different site sent a form."""

    status = HTTPStatus.FORBIDDEN

    def __init__(self) -> None:
        super().__init__("Only the sandbox's own pages may send this.")


class UnauthorizedError(SandboxError):
    """The API key is missing or wrong."""

    status = HTTPStatus.UNAUTHORIZED

    def __init__(self) -> None:
        super().__init__("Unauthorized. Check that the Authorization header holds a valid API key.")
