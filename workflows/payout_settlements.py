"""What a payout comes to, as settlements: the books compute its transfers from its row."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.interfaces import EffectResult
    from domain.settlement import Settlement
    from domain.states import PAYOUT_UNSENT_STATES, PayoutState, WaitReason
    from workflows.messages import PayoutOrder

UNSENT = tuple(sorted(PAYOUT_UNSENT_STATES))
SENT = (PayoutState.SENDING, PayoutState.UNKNOWN)
# What a send claim is refused for, and what the payout then waits for: it goes on, or ends, when that is decided.
STOPS = {
    "funds_frozen": WaitReason.FREEZE,
    "function_suspended": WaitReason.FREEZE,
    "user_not_active": WaitReason.FREEZE,
    "authority_hold": WaitReason.AUTHORITY_ORDER,
    "partner_not_available": WaitReason.PARTNER,
    "bank_contradicts_itself": WaitReason.OPERATOR,
}


def awaits_confirmation(order: PayoutOrder, now: datetime, deadline: datetime) -> Settlement:
    """Its process runs; nothing else of it shows that before it is confirmed."""
    return _settlement(
        order, "awaiting_confirmation", now, None, "done", expect=(PayoutState.AWAITING_CONFIRMATION,),
        wait_reason=WaitReason.CONFIRMATION, wait_deadline=deadline,
    )  # fmt: skip


def closed(order: PayoutOrder, now: datetime) -> Settlement:
    """Nobody confirmed it in time."""
    return _settlement(
        order, "closed", now, PayoutState.CLOSED, "abandoned", expect=(PayoutState.AWAITING_CONFIRMATION,),
        reason="confirmation_expired", release_limits=True, event_type="payout.closed",
    )  # fmt: skip


def withdrawn(order: PayoutOrder, now: datetime) -> Settlement:
    """The institution has withdrawn it before it was sent (A8.1b)."""
    return failed_unsent(order, now, "withdrawn")


def failed_unsent(order: PayoutOrder, now: datetime, reason: str) -> Settlement:
    """The send claim was refused for good, so nothing was sent."""
    return _settlement(
        order, "failed", now, PayoutState.FAILED, "failed", expect=UNSENT, reason=reason, release_limits=True,
        event_type="payout.failed",
    )  # fmt: skip


def stopped(order: PayoutOrder, now: datetime, obstacle: str, *, told: bool) -> Settlement:
    """What stands in its way is shown; that it was stopped is told once, whatever it is stopped by later."""
    return _settlement(
        order, f"stopped:{_second(now)}:{obstacle}", now, None, "refused", expect=(PayoutState.SCHEDULED,),
        wait_reason=STOPS[obstacle], event_type=None if told else "payout.stopped",
    )  # fmt: skip


def resumed(order: PayoutOrder, now: datetime) -> Settlement:
    """Nothing stands in its way any more."""
    return _settlement(
        order, f"resumed:{_second(now)}", now, None, "done", expect=(PayoutState.SCHEDULED,),
        wait_reason=WaitReason.BANK_WINDOW, event_type="payout.resumed",
    )  # fmt: skip


def shown_as_unknown(order: PayoutOrder, number: str, now: datetime, reason: WaitReason, due: datetime) -> Settlement:
    """The bank has not said what became of it."""
    return _settlement(
        order, f"unknown:{number}", now, PayoutState.UNKNOWN, "unknown", expect=(PayoutState.SENDING,),
        wait_reason=reason, wait_deadline=due, event_type="payout.unknown",
    )  # fmt: skip


def waits_for_operator(order: PayoutOrder, number: str, now: datetime) -> Settlement:
    """Neither success nor failure, and asking the bank alone does not bring it on."""
    return _settlement(
        order, f"parked:{number}", now, None, "unknown", expect=(PayoutState.UNKNOWN,),
        wait_reason=WaitReason.OPERATOR, event_type="payout.waits_for_operator",
    )  # fmt: skip


def turned_away(
    order: PayoutOrder, number: str, now: datetime, result: EffectResult, not_before: datetime
) -> Settlement:
    """The bank was closed: its no is definite for this number. Nothing was booked, and it goes out later by another."""
    return _settlement(
        order, f"bank_closed:{number}", now, PayoutState.SCHEDULED, "refused", expect=SENT,
        wait_reason=WaitReason.BANK_WINDOW, wait_until=not_before, **_bank_words(result, number, "declined"),
    )  # fmt: skip


def failed(order: PayoutOrder, number: str, now: datetime, result: EffectResult) -> Settlement:
    """The bank's definite no."""
    return _settlement(
        order, "failed", now, PayoutState.FAILED, "failed", expect=SENT, release_limits=True,
        event_type="payout.failed", **_bank_words(result, number, "declined"),
    )  # fmt: skip


def succeeded(order: PayoutOrder, number: str, now: datetime, result: EffectResult) -> Settlement:
    """The bank has paid it."""
    words = _bank_words(result, number, "succeeded") | {"reason": None}
    return _settlement(
        order, "succeeded", now, PayoutState.SUCCEEDED, "done", expect=SENT, event_type="payout.succeeded", **words
    )


def returned(order: PayoutOrder, now: datetime, result: EffectResult) -> Settlement:
    """The payee's bank has sent the money back: it is on the balance again, by a transfer of its own."""
    return _settlement(
        order, "returned", now, PayoutState.RETURNED, "done", expect=(PayoutState.SUCCEEDED,),
        reason=result.reason, raw_code=result.raw_code, return_reference=result.return_reference,
        returned_at=result.returned_at, event_type="payout.returned",
    )  # fmt: skip


def return_denied(order: PayoutOrder, now: datetime) -> Settlement:
    """The bank announced a return and, asked for an hour, says of none: nothing moves, and it becomes a case."""
    return _settlement(
        order, f"return_denied:{_second(now)}", now, None, "unknown", expect=(PayoutState.SUCCEEDED,),
        reason="bank_says_of_no_return",
    )  # fmt: skip


def _settlement(
    order: PayoutOrder, key: str, now: datetime, state: PayoutState | None, outcome: str, **fields: object
) -> Settlement:
    return Settlement.model_validate(
        {
            "key": f"{order.payout_id}:{key}", "kind": "payout", "id": order.payout_id, "state": state, "at": now,
            "action": "payout", "outcome": outcome, **fields,
        }
    )  # fmt: skip


def _bank_words(result: EffectResult, number: str, outcome: str) -> dict[str, object]:
    """What the bank said, as the settlement keeps it."""
    return {
        "reason": result.reason, "raw_code": result.raw_code, "bank_reference": result.bank_reference,
        "booked_at": result.booked_at, "effect_number": number, "effect_outcome": outcome,
    }  # fmt: skip


def _second(now: datetime) -> int:
    """Tells one stop from the next; after a reset it may be told twice, which harms nobody."""
    return int(now.timestamp())
