"""The connection of a local run to Codat: the sandbox or the real API."""

import asyncio
import base64
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import httpx

from freshness.codat import client
from freshness.codat.errors import CodatError
from freshness.codat.responses import reported_quota
from freshness.codat.webhooks.registration import register
from local.errors import LocalRunError
from local.settings import Settings


@dataclass(frozen=True, slots=True)
class Codat:
    """The address of Codat's API, and the secrets shared with it."""

    base_url: str
    api_key: str = field(repr=False)
    signing_secret: str = field(repr=False)
    is_sandbox: bool

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the real Codat if `settings` has an API key, or else the sandbox with a random key for this run."""
        signing_secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        if settings.codat_api_key is None:
            base_url = f"http://127.0.0.1:{settings.sandbox_port}"
            return cls(base_url, secrets.token_urlsafe(24), signing_secret, is_sandbox=True)
        base_url = str(settings.codat_base_url).rstrip("/")
        return cls(base_url, settings.codat_api_key.get_secret_value(), signing_secret, is_sandbox=False)

    def register_webhook(self, url: str, products: Collection[str] = ()) -> None:
        """Register a URL for Codat's webhooks, those of the policy's custom products among them.

        Raises:
            LocalRunError: the registration failed.
        """
        try:
            asyncio.run(self._register_webhook(url, products))
        except CodatError as error:
            raise LocalRunError(f"The webhook could not be registered: {error}. Run this again.") from error

    async def _register_webhook(self, url: str, products: Collection[str]) -> None:
        async with httpx.AsyncClient(base_url=self.base_url) as http:
            await register(client.Codat(http, self.api_key, clock=lambda: datetime.now(UTC)), url, products)

    def remaining_calls(self) -> int | None:
        """Return how many calls are left of today's quota; `None` if Codat does not report it. This makes one call.

        Raises:
            LocalRunError: Codat cannot be reached, or refuses the key.
        """
        quota = reported_quota(self._get("/profile/syncSettings").headers)
        return None if quota is None else quota[1]

    def _get(self, path: str) -> httpx.Response:
        authorization = "Basic " + base64.b64encode(self.api_key.encode()).decode()
        try:
            response = httpx.get(f"{self.base_url}{path}", headers={"Authorization": authorization})
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            if error.response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                raise LocalRunError(f"{self.base_url} refuses the API key: check CODAT_API_KEY.") from error
            raise LocalRunError(
                f"{self.base_url} responded with status {error.response.status_code}: try again later."
            ) from error
        except httpx.HTTPError as error:
            raise LocalRunError(f"{self.base_url} cannot be reached ({error}): check CODAT_BASE_URL.") from error
        return response
