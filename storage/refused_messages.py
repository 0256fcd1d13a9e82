"""What somebody sent to a process past us and the worker refused, on record (A4.1a)."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.identifiers import ULID_PATTERN

# A worker reads a history again whenever it has forgotten the process, and an outsider may send thousands: one record
# says it. What is remembered of it is forgotten with the worker.
_REMEMBERED = 10_000
_SUBJECT = re.compile(rf"[a-z-]+/([a-z]{{2,4}}_{ULID_PATTERN})")
_RECORD = sa.text("SELECT app.record_operation(:at, 'temporal', 'read_payload', 'refused', :reason, :subject, NULL)")

log = logging.getLogger(__name__)


class RefusedMessages:
    """Records the first refusal of each kind for each process; returns at once and never raises."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock
        self._known: set[tuple[str, str]] = set()
        self._recording: set[asyncio.Task[None]] = set()

    def note(self, workflow_id: str, reason: str) -> None:
        """To be called inside the event loop."""
        if (workflow_id, reason) in self._known or len(self._known) >= _REMEMBERED:
            return
        self._known.add((workflow_id, reason))
        task = asyncio.create_task(self._record(workflow_id, reason), name="record a refused message")
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def close(self) -> None:
        """Waits for what is being recorded."""
        await asyncio.gather(*self._recording)

    async def _record(self, workflow_id: str, reason: str) -> None:
        # The id of a workflow that an outsider started may hold anything.
        ours = _SUBJECT.fullmatch(workflow_id)
        values = {"at": self._clock(), "reason": reason, "subject": ours.group(1) if ours else None}
        try:
            async with self._engine.begin() as connection:
                await connection.execute(_RECORD, values)
        except Exception as error:
            self._known.discard((workflow_id, reason))
            log.warning("a refused message was not recorded", extra={"reason": type(error).__name__})
