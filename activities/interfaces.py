"""What activities take and answer: identifiers, amounts, instants, outcomes.

No personal information, no free text, no codes. New fields are optional, so that running processes go on.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from domain.banking import BankOutcome
from domain.decisions import DecisionKind

SubjectKind = Literal["payment", "refund", "binding", "payout", "fx", "inbound_return", "receiving_account"]


class Message(BaseModel):
    """Base of all of them; unknown fields are ignored so that an older worker can read a newer message."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class EffectRequest(Message):
    """Do one step at a bank for one instruction. `resend` only after the bank said it never got the first."""

    kind: SubjectKind
    subject_id: str
    bank_code: str
    request_number: str
    now: datetime
    # Whose personal data leaves, where the step discloses any.
    user_id: str | None = None
    attempt: int = 0
    resend: bool = False
    # Where a payout goes: beyond the mainland its payee's data crosses the border (P6b).
    region: str | None = None
    # What a conversion is of: the desk is asked for its rate.
    currency: str | None = None


class Deal(Message):
    """What an FX desk has dealt: exactly, and delivered once `delivered_at` is there (A5.1b).

    `excess_minor`: how much of it, in foreign currency and in total, the desk has found to be above the quota since.
    """

    rate_e8: int
    foreign_minor: int
    cny_minor: int
    delivered_at: datetime | None = None
    delivery_reference: str | None = None
    excess_minor: int = 0


class EffectResult(Message):
    """What is known of a step at a bank. `blocked`: the send claim was refused and nothing was sent.

    `request_number`: what it is about; a result that was kept and brought again for another step is no answer.
    """

    outcome: BankOutcome
    request_number: str | None = None
    reason: str | None = None
    raw_code: str | None = None
    bank_reference: str | None = None
    booked_at: datetime | None = None
    # Of a payout that its payee's bank has sent back.
    return_reference: str | None = None
    returned_at: datetime | None = None
    code_expires_at: datetime | None = None
    claimed_at: datetime | None = None
    # For this long after it was signed a request can still be booked; what is not found later never will be.
    request_validity_seconds: int | None = None
    # For this long after it was sent the bank's "not found" means that it never got it.
    remembered_seconds: int | None = None
    blocked: str | None = None
    blocked_state: str | None = None
    # People decided it, and no bank said it.
    decision_id: str | None = None
    # Of a conversion, or its reversal.
    deal: Deal | None = None


class EffectQuery(Message):
    """Ask a bank what became of a request number. `amount_minor`: what a success must be about, where money moves."""

    bank_code: str
    request_number: str
    amount_minor: int | None = None
    # When it was first wanted to be known.
    now: datetime | None = None
    # Whose answer is kept at once, where it holds personal data: a receiving account.
    subject_id: str | None = None


class AttemptQuestion(Message):
    """Learn the verdict on a code attempt from the database or, failing that, from the bank."""

    kind: Literal["payment", "binding"]
    subject_id: str
    now: datetime


class AttemptVerdicts(Message):
    """What is known now: is an attempt still without verdict, in which state is the instruction, and was the issuer's
    no to a code a final one.
    """

    state: str
    open_attempts: int
    declined: bool = False


class SettleResult(Message):
    """`state` that now holds; `refused` is the code where the settlement did not fit."""

    state: str | None = None
    refused: str | None = None


class PayoutQuestion(Message):
    """Where does a payout stand now, and does anything stand in the way of sending it?"""

    payout_id: str
    now: datetime


class PayoutStanding(Message):
    """`state` that holds; `obstacle`: what a send claim would be refused for now, of the kinds that pass."""

    state: str
    reason: str | None = None
    obstacle: str | None = None
    cool_until: datetime | None = None
    review_id: str | None = None


class DecisionQuestion(Message):
    """A process was told of a decision; does it hold for this instruction?"""

    subject_id: str
    decision_id: str
    now: datetime


class DecisionVerdict(Message):
    """`outcome` and `bank_reference` are those of a conclusion; `request_number` is the step that it is about."""

    holds: bool
    kind: DecisionKind | None = None
    outcome: Literal["succeeded", "failed"] | None = None
    bank_reference: str | None = None
    request_number: str | None = None
    refusal: str | None = None


class ReviewClock(Message):
    """When a review is to be decided, and when it ends undecided."""

    review_id: str
    due_at: datetime
    expires_at: datetime


class AssessmentRequest(Message):
    """Apply the rules and the lists to a payout. `again`: because a list has changed since it was last done."""

    payout_id: str
    now: datetime
    again: bool = False


class Assessment(Message):
    """What was decided, and committed. `unavailable`: the lists could not be asked, nothing was decided.

    `ended`: the payout is somewhere else by now, in `state`.
    """

    outcome: Literal["pass", "delay", "review", "refuse", "unavailable", "ended"]
    state: str
    cool_until: datetime | None = None
    review: ReviewClock | None = None
    reason: str | None = None


class ReviewQuestion(Message):
    """Where does a review stand now? Escalates it if it is due and ends it if its time is over."""

    payout_id: str
    review_id: str
    now: datetime


class ReviewStanding(Message):
    """`open` and `evidence` wait until `due_at`, then until `expires_at`; the others are final.

    `closed`: the payout ended otherwise.
    """

    state: Literal["open", "evidence", "approved", "rejected", "expired", "closed"]
    due_at: datetime
    expires_at: datetime
    escalated: bool = False


class PlanRequest(Message):
    """Find a payout its release slot: the first moment from `now` on at which its bank takes it, in its turn.

    `why`: `first`, or what has made another plan necessary, as a stable word.
    """

    payout_id: str
    now: datetime
    why: str = "first"


class Plan(Message):
    """The slot that was allocated, and committed; `state` is the payout's. No slot if it has ended meanwhile."""

    state: str
    slot_at: datetime | None = None
    predicted_arrival_at: datetime | None = None
    provisional: bool = False
    # How long after sending the bank's answer may take before a person is asked.
    answer_within_seconds: int | None = None


class ReplanPage(Message):
    """Plan the next payouts that wait by a plan older than `version`, after the one that was planned last."""

    version: int
    now: datetime
    after_at: datetime | None = None
    after_id: str | None = None
    most: int = 100
    per_second: int = 200


class ReplannedPage(Message):
    """`failed`: could not be planned by what is known. `told`: wakened, because they go earlier than they sleep."""

    is_last: bool
    after_at: datetime | None = None
    after_id: str | None = None
    planned: int = 0
    told: int = 0
    failed: int = 0


class SettlementDayRequest(Message):
    """Which payments are settled on a business date?"""

    business_date: date


class SettlementDay(Message):
    """`through`: the last day whose payments are; None where nothing new is, on a day that is no working day."""

    through: date | None = None


class ReportPage(Message):
    """Add up the settlements of the next merchants, after the one in one currency that came last."""

    business_date: date
    through: date
    now: datetime
    after_merchant_id: str | None = None
    after_currency: str | None = None
    most: int = 100


class ReportedPage(Message):
    """`failed`: those whose settlement could not be written, each recorded."""

    is_last: bool
    after_merchant_id: str | None = None
    after_currency: str | None = None
    reported: int = 0
    failed: int = 0


class PayPage(Message):
    """Pay out the next settlements that are to be paid, after the one that came last."""

    now: datetime
    after_id: str | None = None
    most: int = 100


class PaidPage(Message):
    """`waiting`: for what stands on the settlement. `failed`: as above."""

    is_last: bool
    after_id: str | None = None
    paid: int = 0
    waiting: int = 0
    failed: int = 0


class BankRecordQuestion(Message):
    """What is in a bank's own books under a request number? `days`: Shanghai dates whose statements are searched."""

    bank_code: str
    request_number: str
    days: tuple[date, ...]


class BankRecordLine(Message):
    """One booked movement on the institution's reserve; `amount_minor` > 0 came in, < 0 went out."""

    bank_reference: str
    booked_at: datetime
    amount_minor: int
    currency: str


class BankRecord(Message):
    """The bank's answer to the number and its statements' lines. `unread`: days whose statement could not be had."""

    request_number: str
    outcome: BankOutcome
    raw_code: str | None = None
    bank_reference: str | None = None
    booked_at: datetime | None = None
    amount_minor: int | None = None
    lines: tuple[BankRecordLine, ...] = ()
    unread: tuple[date, ...] = ()


class FxPlanRequest(Message):
    """Find a conversion its release slot: the first moment at which every window is open, in its turn (A5.1a)."""

    fx_id: str
    now: datetime
    why: str = "first"


class FxPlanned(Message):
    """The slot that was allocated, and committed. No slot: it waits for `obstacle`, or is in another state by now.

    `amount_minor`: what is converted of it; what is beyond the quota was split off.
    """

    state: str
    reason: str | None = None
    obstacle: str | None = None
    slot_at: datetime | None = None
    waits_for: str | None = None
    desk: str | None = None
    amount_minor: int | None = None
    attempt: int = 0
    provisional: bool = False
    # How long after sending the desk's answer, and after the deal its delivery, may take before a person is asked.
    answer_within_seconds: int | None = None
    deliver_within_seconds: int | None = None


class FxQuestion(Message):
    """Where does a conversion stand now, and does anything stand in the way of sending it?"""

    fx_id: str
    now: datetime


class InboundQuestion(Message):
    """A bank has announced a remittance: ask what it is, and book it."""

    bank_code: str
    reference: str
    now: datetime


class InboundReceived(Message):
    """`inbound_id` None: the bank knows no such remittance. `fx_id`: the conversion that has begun with it.

    `state` is `differs` where the bank has said something else of the same reference before: that is a case for people.
    """

    inbound_id: str | None = None
    state: str | None = None
    fx_id: str | None = None


class ExcessQuestion(Message):
    """A desk says that a part of what it dealt was above the quota: how much, in total?"""

    fx_id: str
    now: datetime


class ExcessLearned(Message):
    """`excess_minor` 0: the desk says of none. `reversal_id`: what takes it back, if anything of it is new."""

    excess_minor: int
    reversal_id: str | None = None
