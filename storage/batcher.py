"""Coalesces concurrent calls of one batched SQL function into few statements.

A hot account is locked for as long as a commit takes to reach the disk, so the number of commits bounds the number of
postings. One writer sends one statement at a time; whatever arrives meanwhile forms the next batch; nobody waits for a
batch to fill. A caller is answered after the commit and never before.

A batched function has the form `schema.name(items jsonb) RETURNS TABLE (item int, result jsonb)`. Every item is
idempotent by a key of its own, which is what allows to send a batch again when nobody knows whether it was committed.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

MAX_ITEM_CHARACTERS = 256 * 1024
# Longer than the server's own limit of a statement, so that it speaks first.
ATTEMPT_TIMEOUT_SECONDS = 40.0
_RETRY_PAUSES_SECONDS = (0.02, 0.1, 0.3, 1.0)
# Lost or refused connections, a server that starts, stops, fails over or is short of something, and lost races for
# locks: nothing is wrong with the items.
_PASSING_SQLSTATE = re.compile(r"08|53|57P|40001|40P01|55P03|25006|58")


class StorageUnavailableError(Exception):
    """The database could not be reached for too long: whether the item was written is unknown. Submit it again."""


class BatchItemError(Exception):
    """The function raised for this item alone; nothing of it was written. `sqlstate` is PostgreSQL's code."""

    def __init__(self, function: str, sqlstate: str) -> None:
        super().__init__(f"{function} raised {sqlstate} for an item")
        self.function = function
        self.sqlstate = sqlstate


class BatcherClosedError(Exception):
    """Submitted after `close`."""


@dataclass(slots=True, eq=False)
class _Waiting:
    body: str
    answer: asyncio.Future[dict[str, Any]]


class Batcher:
    """The one writer of a batched function in this process. Use one for each function; close it at the end."""

    def __init__(
        self,
        engine: AsyncEngine,
        function: str,
        *,
        max_batch: int = 256,
        max_waiting: int = 10_000,
        give_up_after_seconds: float = 30.0,
    ) -> None:
        if not re.fullmatch(r"[a-z_]+\.[a-z_]+", function):
            raise ValueError(f"not the name of a function: {function}")
        self._engine = engine
        self._function = function
        self._statement = sa.text(f"SELECT item, result FROM {function}(CAST(:items AS jsonb))")  # noqa: S608
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._give_up_after_seconds = give_up_after_seconds
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._connection: AsyncConnection | None = None
        self._closed = False

    async def __aenter__(self) -> Batcher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def submit(self, item: dict[str, Any]) -> dict[str, Any]:
        """Hands in one item and returns its `result` once it is committed; the field `item` is set here.

        A caller that is cancelled stops waiting, not the item. Raises BatchItemError (nothing was written),
        StorageUnavailableError (unknown: submit the same again), ValueError (not JSON, or too large).
        """
        body = json.dumps(item, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        if len(body) > MAX_ITEM_CHARACTERS:
            raise ValueError(f"an item has at most {MAX_ITEM_CHARACTERS} characters")
        if self._closed:
            raise BatcherClosedError(self._function)
        if len(self._waiting) >= self._max_waiting:
            raise StorageUnavailableError(f"{self._max_waiting} items already wait for {self._function}")
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(body, answer))
        self._arrived.set()
        if self._writer is None:
            # In no request's context: the writer outlives the one that began it, and would log under its id for ever.
            self._writer = asyncio.create_task(
                self._write_until_closed(), name=f"batcher {self._function}", context=contextvars.Context()
            )
        return await answer

    async def close(self) -> None:
        """Writes what waits, then lets the connection go. Later submissions are refused."""
        self._closed = True
        self._arrived.set()
        if self._writer is not None:
            await self._writer
        await self._disconnect(broken=False)

    async def _write_until_closed(self) -> None:
        while self._waiting or not self._closed:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            size = min(self._max_batch, len(self._waiting))
            await self._write([self._waiting.popleft() for _ in range(size)])

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        """Answers every caller of the batch. What the function cannot take at all is found by halving the batch."""
        try:
            results = await self._call_until_known([waiting.body for waiting in batch])
        except _RejectedError as rejected:
            if len(batch) == 1:
                _fail(batch, BatchItemError(self._function, rejected.sqlstate))
                return
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
        except Exception as error:
            _fail(batch, error)
        else:
            self._answer(batch, results)

    def _answer(self, batch: Sequence[_Waiting], results: dict[int, dict[str, Any]]) -> None:
        for number, waiting in enumerate(batch):
            if waiting.answer.done():
                continue
            if number in results:
                waiting.answer.set_result(results[number])
            else:
                waiting.answer.set_exception(BatchItemError(self._function, "no result"))

    async def _call_until_known(self, bodies: Sequence[str]) -> dict[int, dict[str, Any]]:
        """Sends the same items until an answer arrives; they are idempotent. Bounded, then StorageUnavailableError."""
        items = f"[{','.join(_numbered(number, body) for number, body in enumerate(bodies))}]"
        deadline = asyncio.get_running_loop().time() + self._give_up_after_seconds
        attempt = 0
        while True:
            try:
                return await self._call(items)
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                _raise_if_rejected(error)
                await self._disconnect(broken=True)
                pause = _RETRY_PAUSES_SECONDS[min(attempt, len(_RETRY_PAUSES_SECONDS) - 1)]
                if asyncio.get_running_loop().time() + pause > deadline:
                    raise StorageUnavailableError(f"{self._function} gave no answer in time") from None
                await asyncio.sleep(pause)
                attempt += 1

    async def _call(self, items: str) -> dict[int, dict[str, Any]]:
        """One statement, which commits by itself, on a connection that is kept."""
        async with asyncio.timeout(ATTEMPT_TIMEOUT_SECONDS):
            if self._connection is None:
                connection = await self._engine.connect()
                self._connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            rows = await self._connection.execute(self._statement, {"items": items})
            return {row.item: row.result for row in rows}

    async def _disconnect(self, *, broken: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if broken:
                await connection.invalidate()
            await connection.close()
        except (SQLAlchemyError, OSError, TimeoutError):
            return  # It is gone, which is what was wanted.


class _RejectedError(Exception):
    """The server refused the statement as such and rolled it back."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


def _raise_if_rejected(error: Exception) -> None:
    sqlstate = getattr(getattr(error, "orig", None), "sqlstate", None)
    if not isinstance(error, DBAPIError) or error.connection_invalidated or sqlstate is None:
        return
    if not _PASSING_SQLSTATE.match(sqlstate):
        raise _RejectedError(sqlstate) from None


def _numbered(number: int, body: str) -> str:
    """The last of two equal names counts in jsonb, so the number stands at the end."""
    separator = "" if body == "{}" else ","
    return f'{body[:-1]}{separator}"item":{number}}}'


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
