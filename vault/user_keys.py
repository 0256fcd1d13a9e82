"""The data keys of users: wrapped in a database of their own, unwrapped in memory for a short while only."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from vault.errors import UserKeyDestroyedError, UserKeyMissingError
from vault.sealing import MasterKeys, new_key

_READ = sa.text("SELECT wrapped_key, master_key_id FROM keys.read_user_key(:user_id)")
_ENSURE = sa.text(
    "SELECT wrapped_key, master_key_id FROM keys.ensure_user_key(:user_id, :wrapped_key, :master_key_id, :at)"
)
_DESTROY = sa.text("SELECT keys.destroy_user_key(:user_id, :actor, :reason, :at)")

CACHE_SECONDS = 30.0
CACHE_SIZE = 4096


@dataclass(frozen=True)
class _DataKey:
    """A key that does not show itself when a task or a container that holds it is printed."""

    secret: bytes = field(repr=False)


class UserKeys:
    """Reads, creates and destroys data keys. One instance belongs to one event loop.

    A key destroyed elsewhere may be in use here for up to `cache_seconds` more.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        master_keys: MasterKeys,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        cache_seconds: float = CACHE_SECONDS,
        cache_size: int = CACHE_SIZE,
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._master_keys = master_keys
        self._monotonic = monotonic
        self._cache_seconds = min(cache_seconds, CACHE_SECONDS)
        self._cache_size = cache_size
        self._cached: OrderedDict[str, tuple[float, _DataKey]] = OrderedDict()
        self._loading: dict[str, asyncio.Task[_DataKey]] = {}
        self._destructions = 0

    async def get(self, user_id: str) -> bytes:
        """The data key; those who ask at once share one read. Raises UserKeyMissingError, UserKeyDestroyedError."""
        cached = self._cached.get(user_id)
        if cached is not None and self._monotonic() < cached[0]:
            return cached[1].secret
        loading = self._loading.get(user_id)
        if loading is None:
            loading = asyncio.create_task(self._load(user_id))
            self._loading[user_id] = loading
            loading.add_done_callback(lambda task: self._finish(user_id, task))
        # One caller that gives up must not take the key from the others.
        return (await asyncio.shield(loading)).secret

    async def ensure(self, user_id: str, at: datetime) -> None:
        """Gives the user a key unless there is one; of several at once, in any process, one key wins.

        Raises UserKeyDestroyedError if the user's key was destroyed: it never comes back.
        """
        if user_id in self._cached:
            await self.get(user_id)
            return
        offered = {"wrapped_key": self._master_keys.wrap(user_id, new_key())}
        parameters = offered | {"user_id": user_id, "master_key_id": self._master_keys.current_id, "at": at}
        destructions = self._destructions
        async with self._engine.connect() as connection:
            row = (await connection.execute(_ENSURE, parameters)).one()
        data_key = self._unwrap(user_id, row)
        if destructions == self._destructions:
            self._keep(user_id, data_key)

    async def destroy(self, user_id: str, actor: str, reason: str, at: datetime) -> datetime:
        """Destroys the key for good and answers since when it is; again changes nothing."""
        parameters = {"user_id": user_id, "actor": actor, "reason": reason, "at": at}
        try:
            async with self._engine.connect() as connection:
                destroyed_at: datetime = (await connection.execute(_DESTROY, parameters)).scalar_one()
        finally:
            self._forget(user_id)
        return destroyed_at

    async def _load(self, user_id: str) -> _DataKey:
        async with self._engine.connect() as connection:
            row = (await connection.execute(_READ, {"user_id": user_id})).one_or_none()
        if row is None:
            raise UserKeyMissingError
        return self._unwrap(user_id, row)

    def _unwrap(self, user_id: str, row: sa.Row[bytes | None, str]) -> _DataKey:
        wrapped_key, master_key_id = row
        if wrapped_key is None:
            raise UserKeyDestroyedError
        return _DataKey(self._master_keys.unwrap(user_id, wrapped_key, master_key_id))

    def _finish(self, user_id: str, task: asyncio.Task[_DataKey]) -> None:
        # A key that was destroyed while it was being read is not kept: `_forget` has taken the task away.
        is_current = self._loading.get(user_id) is task
        if is_current:
            del self._loading[user_id]
        if not task.cancelled() and task.exception() is None and is_current:
            self._keep(user_id, task.result())

    def _keep(self, user_id: str, data_key: _DataKey) -> None:
        self._cached[user_id] = (self._monotonic() + self._cache_seconds, data_key)
        self._cached.move_to_end(user_id)
        # The oldest come first and expire first.
        while self._cached and (len(self._cached) > self._cache_size or self._oldest_has_expired()):
            self._cached.popitem(last=False)

    def _oldest_has_expired(self) -> bool:
        expires_at, _ = next(iter(self._cached.values()))
        return expires_at <= self._monotonic()

    def _forget(self, user_id: str) -> None:
        self._destructions += 1
        self._cached.pop(user_id, None)
        self._loading.pop(user_id, None)
