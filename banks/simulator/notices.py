"""Callbacks: queued in the same commit as what they tell, signed at each sending, retried at growing
intervals.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, func, insert, select, update

from banks.signatures import milliseconds, sign_callback
from banks.simulator.faults import Fault, FaultKind
from banks.simulator.protocol import Answer, BankCode, Notice, Operation, Status
from banks.simulator.settings import Behaviour
from banks.simulator.tables import notices
from domain.money import Money

_AT_ONCE = 32
_LONGEST_WAIT_SECONDS = 300.0


@dataclass(frozen=True)
class NoticeQueue:
    """Where callbacks of one transaction are queued; `now` in Unix milliseconds."""

    connection: Connection
    behaviour: Behaviour
    bank_code: str
    now: int

    @property
    def soon(self) -> int:
        """When a callback ordinarily goes out: a little after the answer."""
        return self.now + int(self.behaviour.notice_delay_seconds * 1000)

    def put(self, notice: Notice, next_at: int, *, forged: bool = False) -> None:
        """Queues one delivery."""
        body = notice.model_dump_json(exclude_none=True)
        row = insert(notices).values(bank_code=self.bank_code, body=body, next_at=next_at, forged=int(forged))
        self.connection.execute(row)


class ReturnCallbacks(StrEnum):
    """How the bank tells that a payout came back."""

    ORDINARY = "ordinary"
    DUPLICATE = "duplicate"
    BEFORE_PAYMENT = "before_payment"  # and the callback of the payment itself after it
    NONE = "none"
    FORGED = "forged"  # somebody else's word: nothing came back


def enqueue_final_notices(queue: NoticeQueue, answer: Answer, money: Money, fault: Fault | None) -> None:
    """Queues the callback of a final debit, refund, payout, deal or return, or several of it if the fault says so."""
    notice = _notice(queue.bank_code, answer, money, answer.status, answer.code)
    kind = fault.kind if fault is not None else None
    if kind is FaultKind.CALLBACKS_OUT_OF_ORDER:
        older = _notice(queue.bank_code, answer, money, Status.PROCESSING, BankCode.IN_PROCESS)
        queue.put(notice, queue.now)
        queue.put(older, queue.soon + 1)
        return
    for repeat in range(3 if kind is FaultKind.DUPLICATE_CALLBACKS else 1):
        queue.put(notice, queue.soon + repeat)


def enqueue_return_notices(queue: NoticeQueue, answer: Answer, money: Money, callbacks: ReturnCallbacks) -> None:
    """Queues what tells that a payout came back (`answer` says so), or what somebody makes up about it."""
    notice = _notice(queue.bank_code, answer, money, Status.RETURNED, answer.code)
    if callbacks is ReturnCallbacks.FORGED:
        queue.put(notice, queue.soon, forged=True)
        return
    times = {ReturnCallbacks.NONE: 0, ReturnCallbacks.DUPLICATE: 3}.get(callbacks, 1)
    for repeat in range(times):
        queue.put(notice, queue.soon + repeat)
    if callbacks is ReturnCallbacks.BEFORE_PAYMENT:
        queue.put(_notice(queue.bank_code, answer, money, Status.SUCCESS, BankCode.OK), queue.soon + 1)


def enqueue_excess_notice(queue: NoticeQueue, answer: Answer, money: Money) -> None:
    """Queues what tells that so much of a deal has been found to be above the quota."""
    notice = _notice(queue.bank_code, answer, money, Status.EXCESS, BankCode.FX_QUOTA_EXCEEDED)
    queue.put(notice, queue.soon)


def enqueue_remittance_notices(
    queue: NoticeQueue, reference: str, money: Money, *, times: int = 1, forged: bool = False
) -> None:
    """Queues what tells, so many times, that a remittance has arrived, or what somebody makes up about one."""
    told = Answer(request_number=reference, operation=Operation.INBOUND, status=Status.SUCCESS, code=BankCode.OK)
    notice = _notice(queue.bank_code, told, money, Status.SUCCESS, BankCode.OK)
    for repeat in range(times):
        queue.put(notice, queue.soon + repeat, forged=forged)


def enqueue_forged_notice(queue: NoticeQueue, answer: Answer, money: Money) -> None:
    """Queues a callback that somebody without the bank's key makes up: it claims success."""
    notice = _notice(queue.bank_code, answer, money, Status.SUCCESS, BankCode.OK)
    queue.put(notice, queue.soon, forged=True)


def _notice(bank_code: str, answer: Answer, money: Money, status: Status, code: BankCode) -> Notice:
    final = status is answer.status
    return Notice(
        notice_id=f"NT{secrets.token_hex(12)}",
        bank_code=bank_code,
        request_number=answer.request_number or "",
        operation=answer.operation or Operation.DEBIT,
        status=status,
        code=code,
        bank_reference=answer.bank_reference if final else None,
        amount_minor=money.amount_minor,
        currency=money.currency,
        booked_at=answer.booked_at if final else None,
        return_reference=answer.return_reference if final else None,
        returned_at=answer.returned_at if final else None,
    )


@dataclass
class NoticeSender:
    """Takes due callbacks from the queue and posts them; a restart goes on where it stopped."""

    connection: Connection
    behaviour: Behaviour
    key: Ed25519PrivateKey
    notify_url: str
    clock: Callable[[], datetime]
    client: httpx.AsyncClient

    async def run(self, wake: asyncio.Event) -> None:
        """Sends until cancelled; `wake` is set when something was queued."""
        while True:
            wake.clear()
            wait_seconds = await self.send_due()
            try:
                async with asyncio.timeout(wait_seconds):
                    await wake.wait()
            except TimeoutError:
                continue

    async def send_due(self) -> float:
        """Sends what is due, at most 32 at once, those about one request in order; answers the seconds to the next."""
        now = milliseconds(self.clock())
        due = select(notices).where(notices.c.next_at <= now).order_by(notices.c.next_at).limit(_AT_ONCE)
        with self.connection.begin():
            rows = self.connection.execute(due).all()
        accepted = await asyncio.gather(*(self._send_in_order(some) for some in _by_request(rows)))
        with self.connection.begin():
            for row, taken in (each for some in accepted for each in some):
                self._mark(row, taken)
            next_at = self.connection.execute(select(func.min(notices.c.next_at))).scalar_one()
        if next_at is None:
            return _LONGEST_WAIT_SECONDS
        return max(0.0, (int(next_at) - milliseconds(self.clock())) / 1000)

    async def _send_in_order(self, rows: list[Any]) -> list[tuple[Any, bool]]:
        return [(row, await self._send(row)) for row in rows]

    async def _send(self, row: Any) -> bool:
        if not self.notify_url:
            return True
        url = f"{self.notify_url.rstrip('/')}/bank-callbacks/{row.bank_code}"
        body = row.body.encode()
        key = Ed25519PrivateKey.generate() if row.forged else self.key
        headers = sign_callback(key, "POST", urlsplit(url).path, body, self.clock())
        headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(5):
                answer = await self.client.post(url, content=body, headers=headers)
        except (httpx.HTTPError, TimeoutError):
            return bool(row.forged)
        # A forger does not insist.
        return answer.is_success or bool(row.forged)

    def _mark(self, row: Any, taken: bool) -> None:
        attempts = row.attempts + 1
        values: dict[str, object] = {"attempts": attempts, "next_at": None, "ended": "delivered"}
        if not taken and attempts >= self.behaviour.notice_attempts:
            values["ended"] = "gave_up"
        elif not taken:
            pause = min(self.behaviour.notice_retry_seconds * 2 ** (attempts - 1), _LONGEST_WAIT_SECONDS)
            values |= {"next_at": milliseconds(self.clock()) + int(pause * 1000), "ended": None}
        self.connection.execute(update(notices).where(notices.c.delivery_id == row.delivery_id).values(**values))


def _by_request(rows: Iterable[Any]) -> list[list[Any]]:
    """Those about one request together: they go out one after the other, as they were queued."""
    found: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        found.setdefault((row.bank_code, json.loads(row.body)["request_number"]), []).append(row)
    return list(found.values())
