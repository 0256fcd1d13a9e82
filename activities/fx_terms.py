"""What a desk says it has dealt, against what was sent to it: believed if it is about just that (A5.1b)."""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import activity

from domain.banking import BankOutcome
from domain.fx import ClaimedFxEffect, SentFx
from domain.fx_banking import FxAnswer
from domain.identifiers import BankStep
from domain.rates import convert

# A bank's clock, and the time that a request is on its way: by more no deal of ours is dated.
_MOST_OFF = timedelta(hours=1)


def is_deal(request_number: str) -> bool:
    """Whether it is the number of a conversion or of its reversal."""
    return request_number.startswith((BankStep.FX_CONVERSION, BankStep.FX_REVERSAL))


def attempted_at(asked: datetime) -> datetime:
    """The instant of this attempt, in the time of the process that asked: retries may go on for days."""
    if not activity.in_activity():
        return asked
    info = activity.info()
    return asked + max(info.current_attempt_scheduled_time - info.scheduled_time, timedelta(0))


def terms_of(claimed: ClaimedFxEffect) -> SentFx:
    """What the send claim has just answered, as what is sent by it."""
    return SentFx.model_validate(claimed.model_dump() | {"desk": claimed.bank_code})


def difference(answer: FxAnswer, sent: SentFx, now: datetime) -> str | None:
    """In what a desk's yes is not about what was sent, as a stable word; None for any other answer."""
    if answer.outcome is not BankOutcome.SUCCEEDED:
        return None
    cny = convert(sent.amount_minor, sent.currency, sent.rate_e8, "half_up").minor
    if (answer.foreign_minor, answer.foreign_currency, answer.cny_minor) != (sent.amount_minor, sent.currency, cny):
        return "BANK_AMOUNT_DIFFERS"
    if answer.rate_e8 != sent.rate_e8 or answer.kind not in (None, sent.kind):
        return "BANK_TERMS_DIFFER"
    booked = answer.booked_at
    if booked is None or not sent.claimed_at - _MOST_OFF <= booked <= now + _MOST_OFF:
        return "BANK_TERMS_DIFFER"
    return None
