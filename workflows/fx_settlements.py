"""What a conversion comes to, as entries: the books compute its transfers and its quota from its row."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.interfaces import Deal, EffectResult
    from domain.fx import FxEntry
    from domain.states import FxState, WaitReason
    from workflows.messages import FxOrder

SENT = (FxState.SENDING, FxState.UNKNOWN)
WAITING = (FxState.WAITING,)
# What a send claim is refused for, and what the conversion then waits for: it goes on, or ends, when that is decided.
STOPS = {
    "funds_frozen": WaitReason.FREEZE,
    "function_suspended": WaitReason.FREEZE,
    "user_not_active": WaitReason.FREEZE,
    "authority_hold": WaitReason.AUTHORITY_ORDER,
    "bank_contradicts_itself": WaitReason.OPERATOR,
    # Of a reversal: the desk's bank has less CNY of ours than it takes back.
    "fx_bank_without_funds": WaitReason.OPERATOR,
}


def withdrawn(order: FxOrder, now: datetime) -> FxEntry:
    """The institution has withdrawn it before it was sent: what was held is free again (A8.1b)."""
    return _entry(
        order,
        "withdrawn",
        now,
        FxState.RELEASED,
        "abandoned",
        expect=WAITING,
        reason="withdrawn",
        event_type="fx.released",
    )


def refused_unsent(order: FxOrder, now: datetime, reason: str) -> FxEntry:
    """The send claim was refused for good, so nothing was sent; what is held stays held (A5.2a)."""
    return _entry(
        order, "refused", now, FxState.REFUSED, "refused", expect=WAITING, reason=reason, event_type="fx.refused"
    )


def stopped(order: FxOrder, now: datetime, obstacle: str, *, told: bool) -> FxEntry:
    """What stands in its way is shown; that it was stopped is told once, whatever it is stopped by later."""
    return _entry(
        order, f"stopped:{_second(now)}:{obstacle}", now, None, "refused", expect=WAITING, reason=obstacle,
        wait_reason=STOPS[obstacle], event_type=None if told else "fx.stopped",
    )  # fmt: skip


def resumed(order: FxOrder, now: datetime) -> FxEntry:
    """Nothing stands in its way any more."""
    return _entry(
        order, f"resumed:{_second(now)}", now, None, "done", expect=WAITING, wait_reason=WaitReason.FX_QUEUE,
        event_type="fx.resumed",
    )  # fmt: skip


def waits_for_quote(order: FxOrder, now: datetime) -> FxEntry:
    """Its windows are open, and the desk gives no rate that can be dealt at (A5.1b)."""
    return _entry(
        order, f"quote:{_second(now)}", now, None, "refused", expect=WAITING, reason="no_fresh_quote",
        wait_reason=WaitReason.FX_QUOTE,
    )  # fmt: skip


def shown_as_unknown(order: FxOrder, number: str, now: datetime, reason: WaitReason, due: datetime) -> FxEntry:
    """The desk has not said what became of it."""
    return _entry(
        order, f"unknown:{number}", now, FxState.UNKNOWN, "unknown", expect=(FxState.SENDING,), wait_reason=reason,
        wait_deadline=due, event_type="fx.unknown",
    )  # fmt: skip


def at_the_desk(order: FxOrder, number: str, now: datetime, due: datetime | None) -> FxEntry:
    """The desk is at it, which it says for the first time: it has had the number, whatever it says of it later."""
    return _entry(
        order, f"processing:{number}", now, None, "unknown", expect=SENT,
        wait_reason=WaitReason.BANK_PROCESSING, wait_deadline=due,
    )  # fmt: skip


def waits_for_operator(order: FxOrder, number: str, now: datetime, expect: FxState) -> FxEntry:
    """Asking the desk alone does not bring it on."""
    return _entry(
        order, f"parked:{expect}:{number}", now, None, "unknown", expect=(expect,), wait_reason=WaitReason.OPERATOR,
        event_type="fx.waits_for_operator",
    )  # fmt: skip


def turned_away(order: FxOrder, number: str, now: datetime, result: EffectResult, not_before: datetime) -> FxEntry:
    """The desk was closed, its quote was over, or it never got it: nothing was dealt, and another number goes out."""
    return _entry(
        order, f"turned_away:{number}", now, FxState.WAITING, "refused", expect=SENT, wait_reason=WaitReason.FX_QUEUE,
        earliest_at=not_before, **_bank_words(result, number, "declined"),
    )  # fmt: skip


def refused(order: FxOrder, number: str, now: datetime, result: EffectResult, *, learned: bool) -> FxEntry:
    """The desk's definite no; `learned`: that the person's quota is exceeded (A5.2a-b)."""
    return _entry(
        order, "refused", now, FxState.REFUSED, "refused", expect=SENT, event_type="fx.refused",
        learned_exceeded=learned, **_bank_words(result, number, "declined"),
    )  # fmt: skip


def dealt(
    order: FxOrder, number: str, now: datetime, result: EffectResult, deal: Deal, *, deliver_by: datetime
) -> FxEntry:
    """The desk has dealt; if it has delivered as well, that is its settlement (A5.1b)."""
    words = _bank_words(result, number, "succeeded") | {"reason": None}
    if deal.delivered_at is not None:
        return _entry(
            order,
            "settled",
            now,
            FxState.SETTLED,
            "done",
            expect=SENT,
            event_type="fx.settled",
            **words,
            **_terms(deal),
        )
    return _entry(
        order, "converted", now, FxState.CONVERTED, "done", expect=SENT, event_type="fx.converted",
        wait_reason=WaitReason.FX_DELIVERY, wait_deadline=deliver_by, **words, **_terms(deal),
    )  # fmt: skip


def delivered(order: FxOrder, now: datetime, deal: Deal) -> FxEntry:
    """Both currencies have moved at the bank: its position is back at nought."""
    return _entry(
        order, "settled", now, FxState.SETTLED, "done", expect=(FxState.CONVERTED,), event_type="fx.settled",
        delivered_at=deal.delivered_at, delivery_reference=deal.delivery_reference,
    )  # fmt: skip


def _terms(deal: Deal) -> dict[str, object]:
    return {
        "rate_e8": deal.rate_e8, "cny_minor": deal.cny_minor, "delivered_at": deal.delivered_at,
        "delivery_reference": deal.delivery_reference,
    }  # fmt: skip


def _entry(order: FxOrder, key: str, now: datetime, state: FxState | None, outcome: str, **fields: object) -> FxEntry:
    return FxEntry.model_validate(
        {
            "key": f"{order.fx_id}:{key}", "kind": "fx", "id": order.fx_id, "state": state, "at": now,
            "action": "settle_fx", "outcome": outcome, **fields,
        }
    )  # fmt: skip


def _bank_words(result: EffectResult, number: str, outcome: str) -> dict[str, object]:
    """What the desk said, as the entry keeps it."""
    return {
        "reason": result.reason, "raw_code": result.raw_code, "bank_reference": result.bank_reference,
        "booked_at": result.booked_at, "effect_number": number, "effect_outcome": outcome,
    }  # fmt: skip


def _second(now: datetime) -> int:
    """Tells one stop from the next; after a reset it may be told twice, which harms nobody."""
    return int(now.timestamp())
