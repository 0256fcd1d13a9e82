"""The steps of a payout as its process takes them: the send claim, and what the bank's word comes to."""

from __future__ import annotations

from typing import Any

from domain.instructions import ClaimEffect
from domain.settlement import Settlement
from tests.storage.books import NOW, Books


def number_of(payout_id: str, attempt: int = 0) -> str:
    return f"PO{payout_id[3:]}{f'{attempt:02d}' if attempt else ''}"


def claim(payout_id: str, attempt: int = 0, **changes: Any) -> ClaimEffect:
    values = {
        "now": NOW, "kind": "payout", "id": payout_id, "step": "PO", "request_number": number_of(payout_id, attempt),
        "attempt": attempt,
    }  # fmt: skip
    return ClaimEffect.model_validate(values | changes)


_OUTCOMES = {
    "succeeded": "done",
    "returned": "done",
    "scheduled": "refused",
    "unknown": "unknown",
    "closed": "abandoned",
}
_EXPECT = {
    "returned": ("succeeded",), "unknown": ("sending",), "closed": ("awaiting_confirmation",),
    "failed": ("awaiting_confirmation", "checking", "cooling_off", "under_review", "scheduled", "sending", "unknown"),
}  # fmt: skip


def settlement(payout_id: str, state: str, attempt: int = 0, **changes: Any) -> Settlement:
    """To a state; what the bank said of the attempt is part of its answers."""
    key = f"{payout_id}:{state}:{attempt}" if state in {"unknown", "scheduled"} else f"{payout_id}:{state}"
    values: dict[str, Any] = {
        "key": key, "kind": "payout", "id": payout_id, "expect": _EXPECT.get(state, ("sending", "unknown")),
        "state": state, "at": NOW, "action": "payout", "outcome": _OUTCOMES.get(state, "failed"),
        "event_type": f"payout.{state}" if state != "scheduled" else None,
    }  # fmt: skip
    if state in {"succeeded", "scheduled", "failed"}:
        word = "succeeded" if state == "succeeded" else "declined"
        values |= {"effect_number": number_of(payout_id, attempt), "effect_outcome": word}
    if state == "succeeded":
        values |= {"bank_reference": "REF1", "booked_at": NOW}
    if state == "returned":
        values |= {"return_reference": "RET1", "returned_at": NOW, "reason": "account_closed"}
    return Settlement.model_validate(values | changes)


async def scheduled(books: Books, amount_minor: int = 10_000, **changes: Any) -> str:
    """The id of a payout to a new payee, whose slot has come."""
    payee_id = await books.known_payee(most=1000)
    payout = await books.instructions.accept_payout(books.payout(payee_id, amount_minor, **changes))
    await books.schedule(payout["id"])
    return str(payout["id"])


async def sent(books: Books, amount_minor: int = 10_000, **changes: Any) -> str:
    payout_id = await scheduled(books, amount_minor, **changes)
    await books.instructions.claim_effect(claim(payout_id))
    return payout_id
