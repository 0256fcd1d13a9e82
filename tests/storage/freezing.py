"""Freezing and releasing in a test database, and the payouts that it reaches."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from domain.decisions import DecisionKind
from domain.identifiers import BankStep, request_number
from domain.instructions import ClaimEffect
from domain.settlement import Settlement
from storage.decisions import decide_directly
from storage.freezes import look_after_funds
from tests.storage.books import NOW, Books

REVIEW = (NOW + timedelta(days=7)).isoformat()
FEE = 200


async def freeze(books: Books, amount: int | None, *, now: datetime = NOW, **detail: Any) -> str:
    """Of an amount of the user's funds, or of all of them; the id of its restriction."""
    said: dict[str, Any] = {"review_at": REVIEW} | detail
    if amount is not None:
        said = {"amount_minor": amount, "currency": "CNY"} | said
    subject = said.pop("subject", books.user_id)
    return await _decide(books, DecisionKind.FUNDS_FREEZE, subject, now, said)


async def order(books: Books, demands: str, *, now: datetime = NOW, **detail: Any) -> str:
    """An authority's; the id of its restriction, if it places one."""
    said: dict[str, Any] = {"issuer": "公安局", "number": books.ids.ulid(), "demands": demands} | detail
    if demands != "temporary_freeze":
        said.setdefault("expires_at", REVIEW)
    if "amount_minor" in said:
        said.setdefault("currency", "CNY")
    subject = said.pop("subject", books.user_id)
    return await _decide(books, DecisionKind.AUTHORITY_ORDER_REGISTER, subject, now, said)


async def release(books: Books, restriction_id: str | None = None, *, now: datetime = NOW, **detail: Any) -> None:
    detail |= {"restriction_id": restriction_id} if restriction_id else {}
    subject = detail.pop("subject", books.user_id)
    await decide_directly(books.owner, DecisionKind.FUNDS_RELEASE, subject, now, detail=detail)


async def _decide(books: Books, kind: DecisionKind, subject: str, now: datetime, detail: dict[str, Any]) -> str:
    made = await decide_directly(books.owner, kind, subject, now, detail=detail)
    return f"rst_{made.removeprefix('dec_')}"


async def look_after(books: Books, at: datetime = NOW) -> int:
    """What the sweeper does; answers how many owners there were to look after."""
    return await look_after_funds(books.app, at)


async def frozen(books: Books, restriction_id: str | None = None) -> int:
    if restriction_id is not None:
        return int(await books.value("SELECT app.frozen_minor(:id)", id=restriction_id))
    return int(
        await books.value(
            "SELECT (app.balance_view(:a, :at)->>'frozen_minor')::bigint", a=f"user:{books.user_id}:CNY", at=NOW
        )
    )


async def available(books: Books) -> int:
    account = f"user:{books.user_id}:CNY"
    return await books.balance(account) - await books.held(account)


async def waiting(books: Books, amount: int, *, minute: int = 0, payee_id: str | None = None) -> str:
    """A payout that waits for its slot, accepted so many minutes before now; amount and fee are held."""
    command = books.payout(payee_id or await books.known_payee(most=100), amount, now=NOW - timedelta(minutes=minute))
    made = await books.instructions.accept_payout(command)
    await books.schedule(made["id"])
    return str(made["id"])


async def row(books: Books, payout_id: str) -> Any:
    async with books.owner.connect() as connection:
        found = await connection.execute(sa.text("SELECT * FROM app.payout WHERE id = :id"), {"id": payout_id})
        return found.mappings().one()


async def claim(books: Books, payout_id: str, *, now: datetime = NOW) -> Any:
    number = request_number(BankStep("PO"), payout_id)
    return await books.instructions.claim_effect(
        ClaimEffect(now=now, kind="payout", id=payout_id, step=BankStep("PO"), request_number=number)
    )


async def settle(books: Books, payout_id: str, state: str, expect: tuple[str, ...], **changes: Any) -> str | None:
    values: dict[str, Any] = {
        "key": f"{payout_id}:{state}", "kind": "payout", "id": payout_id, "expect": expect, "state": state, "at": NOW,
        "action": "payout", "outcome": "done" if state in ("succeeded", "returned") else "failed",
        "event_type": f"payout.{state}",
    }  # fmt: skip
    if state in {"succeeded", "failed"}:
        word = "succeeded" if state == "succeeded" else "declined"
        values |= {"effect_number": request_number(BankStep("PO"), payout_id), "effect_outcome": word}
    return await books.instructions.settle(Settlement.model_validate(values | changes))


async def events(books: Books, payout_id: str) -> list[str]:
    async with books.owner.connect() as connection:
        found = await connection.execute(
            sa.text("SELECT type FROM app.event WHERE object_id = :id ORDER BY sequence"), {"id": payout_id}
        )
        return [str(event).removeprefix("payout.") for event in found.scalars()]
