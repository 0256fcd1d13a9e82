"""The sender's round: hand out new events, take what is due, call, record. At least once, never lost.

Everything it knows is in the database. If it dies between taking and recording, the lease ends and another round sends
again under the same webhook-id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from domain import webhooks as rules
from storage.webhooks import PURGE_BATCH, AttemptRecord, ClaimedDelivery, DeliveryQueue
from webhooks.calling import Answer, Caller
from webhooks.signing import signed_message

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# Places in this process; those for endpoints that fail or are slow are apart, so that they never fill the others.
MOST_WELL, MOST_ILL = 200, 400
PURGE_EVERY = timedelta(hours=1)
UNHEALTHY_AFTER = timedelta(seconds=30)
_RECORD_PAUSES_SECONDS = (0.2, 1.0, 3.0)


class Sender:
    """One process's sender; any number may run at once. `clock` gives aware instants in UTC."""

    def __init__(
        self,
        queue: DeliveryQueue,
        caller: Caller,
        key: bytes,
        clock: Callable[[], datetime],
        *,
        jitter_percent: Callable[[], int] = lambda: 0,
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._queue = queue
        self._caller = caller
        self._key = key
        self._clock = clock
        self._jitter_percent = jitter_percent
        self._redact = redact
        self._in_flight: dict[asyncio.Task[None], bool] = {}
        self._wake = asyncio.Event()
        self._last_round: datetime | None = None
        self._last_purge: datetime | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Rounds until told to stop; then what is under way is finished. A round that fails is tried again."""
        while not stop.is_set():
            self._wake.clear()
            try:
                await self.round()
            except Exception as error:
                log.warning("a round failed", extra={"reason": type(error).__name__})
                await _wait_for_any(POLL_SECONDS, stop)
            else:
                await _wait_for_any(POLL_SECONDS, stop, self._wake)
        await self.finish()

    async def round(self) -> int:
        """Hands out and begins to send; answers how many attempts it began."""
        now = self._clock()
        await self._queue.fan_out(now)
        ill = sum(self._in_flight.values())
        claimed = await self._queue.claim(now, MOST_WELL - (len(self._in_flight) - ill), MOST_ILL - ill)
        for delivery in claimed:
            task = asyncio.create_task(self._deliver(delivery))
            self._in_flight[task] = delivery.ill
            task.add_done_callback(self._ended)
        await self._purge(now)
        self._last_round = now
        return len(claimed)

    async def finish(self) -> None:
        """Waits for what is under way."""
        while self._in_flight:
            await asyncio.wait(list(self._in_flight))

    async def is_healthy(self) -> bool:
        """Whether rounds get through."""
        return self._last_round is not None and self._clock() - self._last_round < UNHEALTHY_AFTER

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._in_flight[task]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an attempt was not recorded", extra={"reason": type(error).__name__})

    async def _deliver(self, delivery: ClaimedDelivery) -> None:
        started, begun = self._clock(), asyncio.get_running_loop().time()
        names = {"event_id": delivery.event["id"], "endpoint_id": delivery.endpoint_id, "attempt": delivery.attempt}
        try:
            message = signed_message(delivery, self._key, started)
            answer = await self._caller.post(delivery.url, message.headers, message.body)
        except Exception as error:
            # A defect of ours says nothing about the endpoint: the lease ends, and it is tried again.
            log.error("webhook not sent", extra=names | {"reason": type(error).__name__})
            raise
        seconds = asyncio.get_running_loop().time() - begun
        record = self._record_of(delivery, answer, started, seconds)
        said = {"status": answer.status, "reason": answer.error, "outcome": record.outcome.value}
        log.info("webhook sent", extra=names | said | {"duration_ms": record.duration_ms})
        disabled = await self._record(record)
        if disabled is not None:
            log.warning("webhook endpoint disabled", extra=names | {"reason": disabled})

    def _record_of(self, delivery: ClaimedDelivery, answer: Answer, started: datetime, seconds: float) -> AttemptRecord:
        now, outcome = self._clock(), rules.outcome_of(answer.status)
        asked = rules.read_retry_after(answer.status, answer.retry_after)
        pause = None
        if outcome is rules.Outcome.RETRY:
            age = now - delivery.created_at
            pause = rules.retry_pause(delivery.failures + 1, age, self._jitter_percent(), asked)
        return AttemptRecord(
            now=now,
            delivery=delivery.delivery,
            attempt=delivery.attempt,
            started_at=started,
            duration_ms=int(seconds * 1000),
            slow=seconds > rules.SLOW_SECONDS,
            status=answer.status,
            error=answer.error,
            response=self._redact(answer.body)[: rules.MAX_EXCERPT_CHARACTERS] if answer.body else None,
            outcome=outcome,
            next_attempt_at=now + pause if pause is not None else None,
            quiet_until=now + min(asked, rules.MAX_RETRY_AFTER) if asked is not None else None,
            disable_if_failing_since=now - rules.DISABLED_AFTER,
            recovered_if_failing_since=now - rules.RECOVERED_AFTER,
        )

    async def _record(self, record: AttemptRecord) -> str | None:
        for pause in _RECORD_PAUSES_SECONDS:
            try:
                return await self._queue.record(record)
            except Exception as error:
                log.warning("not recorded yet", extra={"reason": type(error).__name__})
                await asyncio.sleep(pause)
        return await self._queue.record(record)

    async def _purge(self, now: datetime) -> None:
        is_due = self._last_purge is None or now - self._last_purge >= PURGE_EVERY
        if is_due and await self._queue.purge(now) < PURGE_BATCH:
            self._last_purge = now


async def _wait_for_any(seconds: float, *events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await wait
