"""What Codat refuses, each with the status code and the sentence of its answer.

SandboxError
├── NotFoundError                     404
│   ├── CompanyNotFoundError
│   ├── ConnectionNotFoundError
│   ├── DatasetNotFoundError
│   └── WebhookNotFoundError
├── NotSupportedByPlatformError       404
├── NoLinkedConnectionError           400
├── DatasetAlreadyInProgressError     as the settings say
├── BadRequestError                   400
└── UnauthorizedError                 401
"""

from collections.abc import Sequence
from http import HTTPStatus


class SandboxError(Exception):
    """Something that Codat refuses; `str()` is the `error` of its answer."""

    status = HTTPStatus.BAD_REQUEST


class NotFoundError(SandboxError):
    """There is nothing of that id."""

    status = HTTPStatus.NOT_FOUND


class CompanyNotFoundError(NotFoundError):
    """There is no company of that id, or it was deleted."""

    def __init__(self, company_id: str) -> None:
        super().__init__(f"Company {company_id} not found")


class ConnectionNotFoundError(NotFoundError):
    """The company has no connection of that id."""

    def __init__(self, connection_id: str) -> None:
        super().__init__(f"Data connection {connection_id} not found")


class DatasetNotFoundError(NotFoundError):
    """The company has no dataset of that id."""

    def __init__(self, dataset_id: str) -> None:
        super().__init__(f"Dataset {dataset_id} not found")


class WebhookNotFoundError(NotFoundError):
    """There is no webhook consumer of that id."""

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"Webhook consumer {webhook_id} not found")


class NotSupportedByPlatformError(SandboxError):
    """None of the platforms has the data type."""

    status = HTTPStatus.NOT_FOUND

    def __init__(self, data_type: str, platforms: Sequence[str]) -> None:
        names = ", ".join(dict.fromkeys(platforms))
        super().__init__(f"Datatype [{data_type}] not supported by platform(s) [{names}]")


class NoLinkedConnectionError(SandboxError):
    """The company's platforms have the data type, but none of them is linked."""

    def __init__(self, company_id: str, data_type: str) -> None:
        super().__init__(f"Cannot queue {data_type} sync for {company_id} as no data connection is linked")


class DatasetAlreadyInProgressError(SandboxError):
    """The data type's last sync has not ended; `dataset_id` is its dataset."""

    def __init__(self, data_type: str, company_id: str, dataset_id: str) -> None:
        super().__init__(
            f"DatasetAlreadyInProgressException: Cannot queue {data_type} sync for {company_id}"
            f" as previous sync {dataset_id} is still in progress"
        )
        self.dataset_id = dataset_id


class BadRequestError(SandboxError):
    """The request has a parameter or a body that Codat does not take."""


class UnauthorizedError(SandboxError):
    """The API key is missing or wrong."""

    status = HTTPStatus.UNAUTHORIZED

    def __init__(self) -> None:
        super().__init__("Unauthorized. Check that the Authorization header holds a valid API key.")
