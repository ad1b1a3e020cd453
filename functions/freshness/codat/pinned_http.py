"""HTTP calls to Codat that are made only with a key of the account that the policy names."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from freshness.codat import errors
from freshness.codat.http import HttpClient, Limiter, Parameters
from freshness.codat.models import Profile

PROFILE = "/profile"


@dataclass(frozen=True, slots=True)
class PinnedAccount:
    """An account by its name in Codat's profile, and the keys that were seen to be of it."""

    name: str
    keys: set[str] = field(default_factory=set, repr=False)


class PinnedHttpClient(HttpClient):
    """A client that looks up the account of its key before the first call, unless another client has.

    With a key of another account, every call raises `freshness.codat.errors.WrongAccount` without being made.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        api_key: str,
        *,
        clock: Callable[[], datetime],
        limiter: Limiter | None,
        account: PinnedAccount,
    ) -> None:
        super().__init__(http, api_key, clock=clock, limiter=limiter)
        self._key, self._account = api_key, account
        self._found: str | None = None
        self._lookup = asyncio.Lock()

    async def get(self, path: str, parameters: Parameters | None = None) -> httpx.Response:
        """Send a GET as `HttpClient` does."""
        if path != PROFILE:
            await self._require_account(f"GET {path}")
        return await super().get(path, parameters)

    async def post(self, path: str, *arguments: Any, **options: Any) -> httpx.Response:
        """Send a POST as `HttpClient` does."""
        await self._require_account(f"POST {path}")
        return await super().post(path, *arguments, **options)

    async def _require_account(self, call: str) -> None:
        async with self._lookup:
            if self._key in self._account.keys:
                return
            if self._found is None:
                self._found = self.read(await self.get(PROFILE), Profile).name
        if self._found != self._account.name:
            self.key_is_refused = True
            message = f'the key belongs to "{self._found}", but [codat] of the policy names "{self._account.name}"'
            raise errors.WrongAccount(call, message, at=self._clock())
        self._account.keys.add(self._key)
