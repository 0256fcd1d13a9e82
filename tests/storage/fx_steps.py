"""What becomes of a conversion or a return once it was claimed, as its process would book the bank's word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from domain.errors import DomainError, EffectRefusedError, SettlementRefusedError
from domain.fx import ClaimedFxEffect, ClaimFxEffect, FxEntry
from domain.fx_planning import FxWindow
from domain.identifiers import BankStep, request_number
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.fx_books import FxBooks, open_fx_books

SENT = ("sending", "unknown")
REFUSALS = (DomainError, EffectRefusedError, SettlementRefusedError)
Resource = dict[str, Any]


@asynccontextmanager
async def sound_fx_books(database: Database) -> AsyncIterator[FxBooks]:
    """The books, which have to be sound in the end."""
    from ledger.verify import verify

    async with open_fx_books(database) as opened:
        yield opened
        assert (await verify(opened.books.owner)).findings == ()


def number_of(fx: Resource, attempt: int = 0) -> str:
    step = BankStep.FX_CONVERSION if fx["kind"] == "conversion" else BankStep.FX_REVERSAL
    return request_number(step, fx["id"], attempt)


def entry(fx: Resource, key: str, state: str | None, /, **changes: Any) -> FxEntry:
    """A settlement of a conversion; `attempt` numbers the word of the desk, where it has one (`effect_outcome`)."""
    attempt = changes.pop("attempt", 0)
    if "effect_outcome" in changes:
        changes.setdefault("effect_number", number_of(fx, attempt))
    values = {
        "key": f"{fx['id']}:{key}", "kind": "fx", "id": fx["id"], "expect": SENT, "state": state, "at": NOW,
        "action": "settle_fx", "outcome": "done",
    }  # fmt: skip
    return FxEntry.model_validate(values | changes)


def unknown(fx: Resource, attempt: int = 0, **changes: Any) -> FxEntry:
    """The desk has not said what became of it."""
    values: dict[str, Any] = {"expect": ("sending",), "outcome": "unknown", "wait_reason": "bank_answer"}
    return entry(fx, f"unknown:{attempt}", "unknown", **values | {"event_type": "fx.unknown"} | changes)


def turned_away(fx: Resource, attempt: int = 0, **changes: Any) -> FxEntry:
    """The desk's definite word that it was closed: it goes out later."""
    values = {
        "outcome": "refused", "effect_outcome": "declined", "attempt": attempt, "reason": "desk_closed",
        "wait_reason": "fx_queue",
    }  # fmt: skip
    return entry(fx, f"turned_away:{attempt}", "waiting", **values | changes)


def refused(fx: Resource, attempt: int = 0, *, learned: bool = False, **changes: Any) -> FxEntry:
    """The desk's definite no."""
    reason = "fx_quota_exceeded" if learned else "declined"
    values = {
        "outcome": "refused", "effect_outcome": "declined", "attempt": attempt, "reason": reason,
        "learned_exceeded": learned, "event_type": "fx.refused",
    }  # fmt: skip
    return entry(fx, "refused", "refused", **values | changes)


def withdrawn(fx: Resource, **changes: Any) -> FxEntry:
    """The institution has withdrawn it before it was sent."""
    values = {"expect": ("waiting",), "outcome": "abandoned", "reason": "withdrawn", "event_type": "fx.released"}
    return entry(fx, "withdrawn", "released", **values | changes)


def delivered(fx: Resource, **changes: Any) -> FxEntry:
    """What was dealt before has moved at the bank."""
    values = {
        "expect": ("converted",), "delivered_at": NOW, "delivery_reference": "DLV1", "event_type": "fx.settled"
    } | changes  # fmt: skip
    return entry(fx, "settled", "settled", **values)


def converted(fx_books: FxBooks, fx: Resource, now: datetime = NOW, rate: str = "7.1234", **changes: Any) -> FxEntry:
    """Dealt, and to be delivered later."""
    values = {
        "key": f"{fx['id']}:converted", "state": "converted", "delivered_at": None, "delivery_reference": None,
        "event_type": "fx.converted",
    }  # fmt: skip
    return fx_books.dealt(fx, now, rate, **values | changes)


async def planned(fx_books: FxBooks, fx_id: str, now: datetime = NOW, **changes: Any) -> Resource:
    """The conversion with a slot, as it is after that."""
    await fx_books.plan(fx_id, now, **changes)
    return await fx_books.view(fx_id)


async def sent(fx_books: FxBooks, amount_minor: int = 100_000, **changes: Any) -> Resource:
    """A conversion of money that has just come, which its desk has got."""
    fx = await planned(fx_books, (await fx_books.funded(amount_minor, **changes))["id"])
    await fx_books.claim(fx)
    return await fx_books.view(fx["id"])


async def to_be_returned(fx_books: FxBooks) -> tuple[Resource, str]:
    """A conversion under a mandate that was refused and is to be returned to the remitter; and the return's id."""
    await fx_books.acceptance.accept_mandate(fx_books.mandate())
    received = await fx_books.receive(100_000)
    assert received.fx_id is not None
    one = await planned(fx_books, received.fx_id)
    if one["state"] == "waiting":
        await fx_books.claim(one)
        await fx_books.book.settle(refused(one))
    disposed = await fx_books.dispose(one["id"], "return")
    return disposed, disposed["return_id"]


async def claim_return(fx_books: FxBooks, return_id: str, **changes: Any) -> ClaimedFxEffect:
    values = {
        "now": NOW, "kind": "inbound_return", "id": return_id, "step": "IR",
        "request_number": request_number(BankStep.INBOUND_RETURN, return_id),
    }  # fmt: skip
    return await fx_books.book.claim(ClaimFxEffect.model_validate(values | changes))


def return_ended(return_id: str, state: str, **changes: Any) -> FxEntry:
    """The bank's word on a return: it has sent the money back, or will not."""
    values = {
        "key": f"{return_id}:{state}", "kind": "inbound_return", "id": return_id, "expect": SENT, "state": state,
        "at": NOW, "action": "return_inbound", "outcome": "done" if state == "succeeded" else "failed",
        "effect_number": request_number(BankStep.INBOUND_RETURN, return_id),
        "effect_outcome": "succeeded" if state == "succeeded" else "declined",
    }  # fmt: skip
    return FxEntry.model_validate(values | changes)


def windows(*times: tuple[datetime, datetime]) -> tuple[FxWindow, ...]:
    """Windows that open and close then."""
    return tuple(FxWindow(opens_at, closes_at, "fx_desk_window") for opens_at, closes_at in times)


async def new_version(fx_books: FxBooks) -> int:
    """What plans rest on has changed: a calendar, hours, a closure."""
    await fx_books.books.run(
        "INSERT INTO app.calendar_version SELECT n, 'hours', 'test', 'tested', md5(n::text) || md5(n::text), now()"
        " FROM (SELECT app.lock_plan_version(true) + 1) v (n)"
    )
    return int(await fx_books.books.value("SELECT app.current_plan_version()"))
