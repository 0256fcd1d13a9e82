"""Foreign currency: what merchants may ask for, what processes claim and settle, what plans are made from (A5, L9).

Commands are handed to `storage/`; amounts are minor units, rates CNY for one unit times 10^8.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from domain.banking import BankOutcome
from domain.fx_banking import DealKind, FxQuote, PurposeCode, Residency
from domain.fx_planning import FxPlan
from domain.instructions import RequestContext
from domain.money import AmountMinor, Currency
from domain.rates import RateE8
from domain.reviews import Evidence

OverQuota = Literal["split", "hold"]
FxSubject = Literal["fx", "inbound_return", "receiving_account"]
Disposal = Literal["release", "return"]
MOST_EVIDENCE = 10
# Why a receiving account ends although its bank gave a number: the number is another user's there.
NUMBER_IN_USE = "number_in_use"
EvidenceOfTrade = Annotated[tuple[Evidence, ...], Field(max_length=MOST_EVIDENCE)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class QuotaDecision(StrEnum):
    """What was decided about a person's yearly quota (A0.6, A5.2a-d, L9)."""

    WITHIN = "within"
    EXEMPT_TRADE = "exempt_trade"  # trade, with evidence
    DOCUMENTS = "documents"  # a foreign individual's, with documents
    NOT_SUBJECT = "not_subject"  # an enterprise's, or a reversal
    EXCEEDED = "exceeded"
    KNOWN_EXCEEDED = "known_exceeded"  # a partner has said so; until the year is over


# What a merchant asks for


class AcceptReceivingAccount(_Value):
    """Open a number under which remittances reach a user; the holder's name is a sealed item of the vault.

    `cross_border`: the name goes beyond the border, which takes a contract and the user's consent to exactly that (P6).
    """

    request: RequestContext
    now: datetime
    id: str
    user_id: str
    bank_code: str
    currency: Currency
    holder_index: str
    sealed: tuple[dict[str, Any], ...]
    element_tokens: dict[str, str]
    blocked_regions: tuple[str, ...]
    cross_border: bool
    data_export_version: str | None = None


class AcceptFxMandate(_Value):
    """What arrives for a user in a currency is converted as soon as it may be, until the mandate ends (A3.2b)."""

    request: RequestContext
    now: datetime
    id: str
    user_id: str
    currency: Currency
    purpose_code: PurposeCode
    is_trade: bool
    evidence: EvidenceOfTrade = ()
    residency: Residency
    over_quota: OverQuota
    mandate_reference: str
    agreement_version: str
    valid_until: datetime | None = None
    blocked_regions: tuple[str, ...]


class EndFxMandate(_Value):
    """What was accepted under it is converted all the same (A3.3a)."""

    request: RequestContext
    now: datetime
    id: str


class AcceptFx(_Value):
    """Convert foreign currency of a user's balance. `banks`: where it may lie, by preference.

    `over_quota`: beyond the quota, convert what is left of it and hold the rest, or hold it all (A5.2a).
    """

    request: RequestContext
    now: datetime
    id: str
    user_id: str
    order_number: str
    amount_minor: AmountMinor
    currency: Currency
    banks: tuple[str, ...] = Field(min_length=1)
    purpose_code: PurposeCode
    is_trade: bool
    evidence: EvidenceOfTrade = ()
    residency: Residency
    over_quota: OverQuota
    confirmation_hash: str
    agreement_version: str
    blocked_regions: tuple[str, ...]


class DisposeOfFx(_Value):
    """What becomes of what could not be converted: free on the balance, or back to where it came from (A5.2a)."""

    request: RequestContext
    now: datetime
    id: str
    action: Disposal
    return_id: str


# What a process claims and settles


class ClaimFxEffect(_Value):
    """The send claim before an effect at a bank (house rule 3); a deal is claimed with the quote it is dealt at."""

    now: datetime
    kind: FxSubject
    id: str
    step: str
    request_number: str
    attempt: int = 0
    resend: bool = False
    remembered_since: datetime | None = None
    disclosures: tuple[dict[str, Any], ...] | None = None
    quote: FxQuote | None = None


class ClaimedFxEffect(_Read):
    """What the sender needs. `already`: it was claimed before, so ask the bank before sending again."""

    already: bool
    bank_code: str
    claimed_at: datetime
    state: str
    user_id: str | None = None
    kind: DealKind | None = None
    amount_minor: int | None = None
    currency: str | None = None
    held_at: str | None = None
    purpose_code: str | None = None
    is_trade: bool | None = None
    residency: Residency | None = None
    quote_id: str | None = None
    rate_e8: int | None = None
    reverses: str | None = None
    inbound_reference: str | None = None
    sealed: tuple[dict[str, Any], ...] = ()


class SentFx(_Read):
    """What was sent to a desk under a number, by the books: an answer is about just that, or it is not believed."""

    desk: str
    kind: DealKind
    amount_minor: int
    currency: str
    quote_id: str
    rate_e8: int
    claimed_at: datetime


class FxEntry(_Value):
    """A state change of a conversion, a return or a receiving account with all that belongs to it, known by `key`.

    The books compute its transfers. `state` None keeps the state and changes only what is waited for. `cny_minor`,
    `rate_e8`: of a deal. `learned_exceeded`: a partner says that the quota is exceeded (A5.2b). A receiving account
    that is to be `open` under a number of another user is declined instead, because of `NUMBER_IN_USE`.
    """

    key: str
    kind: FxSubject
    id: str
    expect: tuple[str, ...]
    state: str | None
    at: datetime
    action: str
    outcome: Literal["done", "failed", "unknown", "refused", "abandoned", "corrected"]
    actor: str = "process"
    reason: str | None = None
    raw_code: str | None = None
    bank_reference: str | None = None
    booked_at: datetime | None = None
    wait_reason: str | None = None
    wait_until: datetime | None = None
    wait_deadline: datetime | None = None
    effect_number: str | None = None
    effect_outcome: Literal["succeeded", "declined"] | None = None
    event_type: str | None = None
    earliest_at: datetime | None = None
    rate_e8: RateE8 | None = None
    cny_minor: int | None = None
    delivered_at: datetime | None = None
    delivery_reference: str | None = None
    learned_exceeded: bool = False
    # Of a receiving account that was opened: its number, sealed.
    account_index: str | None = None
    account_last4: str | None = None
    account_token: str | None = None
    sealed: tuple[dict[str, Any], ...] | None = None


class FxStanding(_Read):
    """Where a conversion stands; `obstacle` is what a send claim would be refused for now, and passes."""

    state: str
    reason: str | None = None
    obstacle: str | None = None


class OpenReversal(_Value):
    """A bank has found so much of a conversion, in total, to be above the quota (A5.2c)."""

    now: datetime
    fx_id: str
    excess_minor: int = Field(gt=0)
    reversal_id: str


class ReceiveInbound(_Value):
    """What a bank said of a remittance when it was asked; the names and the number are sealed items of the vault.

    `sealed_under`: whose key, the user's or, while nobody knows whose it is, the remittance's own id. `fx_id`: of the
    conversion that a mandate begins.
    """

    now: datetime
    id: str
    fx_id: str
    bank_code: str
    reference: str
    amount_minor: AmountMinor
    currency: Currency
    value_date: date
    booked_at: datetime
    purpose_code: PurposeCode
    remitter_country: str
    account_index: str
    receiver_index: str
    sealed: tuple[dict[str, Any], ...]
    sealed_under: str
    element_tokens: dict[str, str]


class DoubtfulInbound(_Value):
    """What a bank has announced and cannot say in a way that can be booked; or has said nothing usable of, for so long.

    `case_id`: of the case that this may open. `reason` is a stable word and `fields` are names, without their content.
    """

    now: datetime
    case_id: str
    bank_code: str
    reference: str
    reason: str
    fields: tuple[str, ...] = ()
    # None: it has answered. Otherwise a person is told once the announcement is as old as this.
    patience_seconds: int | None = None


class ReceivedInbound(_Read):
    """`fx_id`: the conversion that has begun with it. `error`: reference_reused, try_again."""

    inbound_id: str | None = None
    state: str | None = None
    fx_id: str | None = None
    error: str | None = None


# What a plan is made from


class FxToPlan(_Read):
    """`desks`: those that are switched on and deal in the currency; `desk`: the present one, a reversal's only one."""

    fx_id: str
    kind: DealKind
    state: str
    currency: str
    accepted_at: datetime
    amount_minor: int | None = None
    desk: str | None = None
    value_date: date | None = None
    earliest_at: datetime | None = None
    desks: tuple[str, ...] = ()


class WaitingFx(_Read):
    """One that waits by a plan that is over."""

    fx_id: str
    accepted_at: datetime
    wait_reason: str | None = None


class FxSlotRequest(BaseModel):
    """A plan for a conversion by the calendars of `version`; `desk` None where none is switched on.

    `obstacle`: there is none, because its offices are never open together in the time that is looked at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    fx_id: str
    now: datetime
    why: str
    version: int
    desk: str | None = None
    office: str | None = None
    rate: int = 1
    plan: FxPlan | None = None
    obstacle: Literal["no_window"] | None = None


class AllocatedFxSlot(_Read):
    """What was committed. No slot: it waits for `obstacle`, or is in another state by now.

    `amount_minor`: what is converted of it; the rest beyond the quota is a conversion of its own, and refused.
    """

    state: str
    reason: str | None = None
    obstacle: str | None = None
    slot_at: datetime | None = None
    waits_for: str | None = None
    desk: str | None = None
    amount_minor: int | None = None
    attempt: int = 0
    earlier: bool = False
    provisional: bool = False


class FxPlanRefusedError(Exception):
    """`stale_plan`: compute it again; `no_slot`: all windows are full, look further; `fx_not_found`."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


KNOWN_OUTCOMES = frozenset({BankOutcome.SUCCEEDED, BankOutcome.DECLINED})
