"""Decisions of people: what can be decided, by whom, on which ground, and what each kind says beside that (A8.1a).

The rules are data (`config/decisions.toml`); who may and whether it can take place is judged in the database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from domain.identity import holds_id_number
from domain.retention import RetainedKind


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DecisionKind(StrEnum):
    """What can be decided. Nothing else lets a person change what an instruction does."""

    WAIVER_APPROVE = "waiver.approve"
    WAIVER_REJECT = "waiver.reject"
    INSTRUCTION_WITHDRAW = "instruction.withdraw"  # before anything that moves money was sent (A8.1b)
    INSTRUCTION_CONCLUDE = "instruction.conclude"  # a parked one, on evidence
    USER_SUSPEND = "user.suspend"
    USER_RESUME = "user.resume"
    MERCHANT_SUSPEND = "merchant.suspend"
    MERCHANT_RESUME = "merchant.resume"
    FUNDS_FREEZE = "funds.freeze"
    FUNDS_RELEASE = "funds.release"
    AUTHORITY_ORDER_REGISTER = "authority_order.register"
    PARTNER_DISABLE = "partner.disable"
    PARTNER_ENABLE = "partner.enable"
    CASE_RESOLVE = "case.resolve"
    REVIEW_APPROVE = "review.approve"  # of a payout; two persons above an amount
    REVIEW_REJECT = "review.reject"
    SCREENING_CLEAR = "screening.clear"  # a false hit on a list: cleared once, it stays cleared
    SETTLEMENT_ACCOUNT = "settlement.account"  # the bank account that a merchant is paid to
    INBOUND_ASSIGN = "inbound.assign"  # money in suspense is this user's
    INBOUND_RETURN = "inbound.return"  # money in suspense goes back to where it came from
    CLOSURE_REFUSE = "closure.refuse"  # a request to close or to delete, on a ground that bars it (P4.4d)
    CLOSURE_GRANT = "closure.grant"  # a request to delete: one of the five grounds is given (P4.2a)
    CLOSURE_WAIVE_RECORDS = "closure.waive_records"  # close without the merchant's records (A4.4c)
    DISPUTE_RESOLVE = "dispute.resolve"
    RETENTION_DISCLOSE = "retention.disclose"  # what is retained of a user, to whoever ordered it (P4.5e)
    RETENTION_HOLD = "retention.hold"  # stops the clocks of what is retained
    RETENTION_RELEASE = "retention.release"


class DecisionState(StrEnum):
    """`refused`: it could not take place any more when it was approved. All but the first are final."""

    REQUESTED = "requested"
    COMMITTED = "committed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    REFUSED = "refused"


Function = Literal["bind", "collect", "refund", "payout", "fx"]
_LONG_NUMBER = re.compile(r"\d(?:[ -]?\d){10}")


def _without_personal_data(value: str) -> str:
    if holds_id_number(value) or _LONG_NUMBER.search(value):
        raise PydanticCustomError("personal_data", "holds a long number")
    if not value.isprintable() or value != value.strip():
        raise PydanticCustomError("not_printable", "has control characters or blanks at its ends")
    return value


def _without_id_number(value: str) -> str:
    """For references and file numbers, which may well be long: a valid identity number is none of them."""
    if holds_id_number(value):
        raise PydanticCustomError("personal_data", "holds personal data")
    return value


NoPersonalData = AfterValidator(_without_personal_data)
NoIdNumber = AfterValidator(_without_id_number)
Reason = Annotated[str, Field(min_length=1, max_length=200), NoPersonalData]
Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,128}$"), NoIdNumber]
RestrictionId = Annotated[str, Field(pattern=r"^rst_[0-9A-HJKMNP-TV-Z]{26}$")]
UserId = Annotated[str, Field(pattern=r"^usr_[0-9A-HJKMNP-TV-Z]{26}$")]


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("outside of the calendar") from None


def _not_a_number(value: object) -> object:
    # Pydantic would take one for the seconds, or thousandths, since 1970.
    if isinstance(value, datetime) or (isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]", value)):
        return value
    raise ValueError("not an RFC 3339 instant")


# PostgreSQL takes no offset of 16 hours or more, which a caller may name all the same.
Instant = Annotated[AwareDatetime, BeforeValidator(_not_a_number), AfterValidator(_in_utc)]


class NoDetail(_Value):
    """The kind and its subject say it all."""


class SuspensionDetail(_Value):
    """One function, or all of them; a review is a date on which somebody has to look again."""

    function: Function | None = None
    review_at: Instant | None = None


class LiftingDetail(_Value):
    """One restriction, or all of the kind."""

    restriction_id: RestrictionId | None = None


# Placed on a person: in the relations with every merchant, also in one that is opened later.
Scope = Literal["relation", "all"]
# What becomes of payouts that the freeze has stopped: they go on, or they end as withdrawn.
StoppedPayouts = Literal["resume", "end"]
AmountMinor = Annotated[int, Field(strict=True, gt=0, le=10_000_000_000_000)]
CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class ReleaseDetail(LiftingDetail):
    """One freeze, all of a relation, or with `scope` all that was placed on the person."""

    scope: Scope | None = None
    stopped_payouts: StoppedPayouts | None = None


class _Funds(_Value):
    """What is frozen: all funds or an amount; for payouts or refunds alone; in one relation or in all of the person."""

    scope: Scope | None = None
    amount_minor: AmountMinor | None = None
    currency: CurrencyCode | None = None
    prolongs: RestrictionId | None = None

    @model_validator(mode="after")
    def _amount_is_of_one_account(self) -> Self:
        if (self.amount_minor is None) != (self.currency is None):
            raise PydanticCustomError("amount", "an amount has a currency, and a currency an amount")
        function: str | None = getattr(self, "function", None)
        if self.amount_minor is not None and (self.scope == "all" or function is not None):
            raise PydanticCustomError("amount", "an amount is of one relation, and stops no function")
        if self.prolongs is not None and self.amount_minor is None:
            raise PydanticCustomError("amount", "a freeze that prolongs another names its amount again")
        return self


class FreezeDetail(_Funds):
    """A freeze without a date on which it is reviewed or ends cannot be made (A8.3)."""

    function: Literal["payout", "refund"] | None = None
    review_at: Instant | None = None
    ends_at: Instant | None = None

    @model_validator(mode="after")
    def _has_a_date(self) -> FreezeDetail:
        if self.review_at is None and self.ends_at is None:
            raise PydanticCustomError("missing", "has a date of review, or one on which it ends")
        return self


class AuthorityOrderDetail(_Funds):
    """What an authority has ordered, as its paper says (A3.9e).

    `hold` stops functions; `freeze` stops funds, all or an amount, until `expires_at`, `temporary_freeze` for 48 hours
    (L12).
    """

    issuer: Annotated[str, Field(min_length=1, max_length=80), NoPersonalData]
    number: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$"), NoIdNumber]
    demands: Literal["hold", "query", "release", "freeze", "temporary_freeze"]
    function: Function | None = None
    expires_at: Instant | None = None
    stopped_payouts: StoppedPayouts | None = None

    @model_validator(mode="after")
    def _says_what_it_demands(self) -> AuthorityOrderDetail:
        freezes = self.demands in ("freeze", "temporary_freeze")
        if (self.expires_at is None) != (self.demands == "temporary_freeze"):
            raise PydanticCustomError("expires_at", "names its expiry, unless it ends after 48 hours")
        if self.amount_minor is not None and not freezes:
            raise PydanticCustomError("amount", "a freeze alone is of an amount")
        if freezes and self.function not in (None, "payout", "refund"):
            raise PydanticCustomError("function", "a freeze stops what leaves: payouts or refunds")
        if self.stopped_payouts is not None and self.demands != "release":
            raise PydanticCustomError("stopped_payouts", "is said where a freeze is released")
        return self


class CaseDetail(_Value):
    """How a case ended."""

    resolution: Literal["confirmed", "unfounded", "settled", "duplicate"]
    evidence_ref: Reference | None = None


class ConclusionDetail(_Value):
    """What became of a parked instruction, as the evidence shows. A success names the bank's reference."""

    outcome: Literal["succeeded", "failed"]
    bank_reference: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,64}$")] | None = None
    evidence_ref: Reference

    @model_validator(mode="after")
    def _success_is_the_banks(self) -> ConclusionDetail:
        if (self.outcome == "succeeded") != (self.bank_reference is not None):
            raise PydanticCustomError("bank_reference", "a success, and only a success, has the bank's reference")
        return self


class AssignmentDetail(_Value):
    """Whose money in suspense is."""

    user_id: UserId


class ResolutionDetail(_Value):
    """How a dispute ended: the two agreed, there was nothing in it, or the user was right."""

    resolution: Literal["settled", "unfounded", "confirmed"]
    evidence_ref: Reference | None = None


def _is_a_day(value: object) -> object:
    # As of instants: pydantic would take a number for one.
    if isinstance(value, date) or (isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII)):
        return value
    raise ValueError("not a day")


Day = Annotated[date, BeforeValidator(_is_a_day)]
OrderId = Annotated[str, Field(pattern=r"^ord_[0-9A-HJKMNP-TV-Z]{26}$")]


class DisclosureDetail(_Value):
    """What is opened for which registered order; `from` and `until`: days on which it was booked or ended, both in."""

    order_id: OrderId
    kinds: Annotated[tuple[RetainedKind, ...], Field(min_length=1, max_length=len(RetainedKind))]
    since: Day | None = Field(default=None, alias="from")
    until: Day | None = None

    @model_validator(mode="after")
    def _is_a_span(self) -> DisclosureDetail:
        if self.since is not None and self.until is not None and self.since > self.until:
            raise PydanticCustomError("until", "the last day is before the first")
        if len(set(self.kinds)) < len(self.kinds):
            raise PydanticCustomError("kinds", "names a kind twice")
        return self


class HoldDetail(_Value):
    """The order that asks for the hold, if one does."""

    order_id: OrderId | None = None


K = DecisionKind
DETAILS: Mapping[DecisionKind, type[_Value]] = {
    K.WAIVER_APPROVE: NoDetail,
    K.WAIVER_REJECT: NoDetail,
    K.INSTRUCTION_WITHDRAW: NoDetail,
    K.INSTRUCTION_CONCLUDE: ConclusionDetail,
    K.USER_SUSPEND: SuspensionDetail,
    K.USER_RESUME: LiftingDetail,
    K.MERCHANT_SUSPEND: SuspensionDetail,
    K.MERCHANT_RESUME: LiftingDetail,
    K.FUNDS_FREEZE: FreezeDetail,
    K.FUNDS_RELEASE: ReleaseDetail,
    K.AUTHORITY_ORDER_REGISTER: AuthorityOrderDetail,
    K.PARTNER_DISABLE: NoDetail,
    K.PARTNER_ENABLE: NoDetail,
    K.CASE_RESOLVE: CaseDetail,
    K.REVIEW_APPROVE: NoDetail,
    K.REVIEW_REJECT: NoDetail,
    K.SCREENING_CLEAR: NoDetail,
    K.SETTLEMENT_ACCOUNT: NoDetail,
    K.INBOUND_ASSIGN: AssignmentDetail,
    K.INBOUND_RETURN: NoDetail,
    K.CLOSURE_REFUSE: NoDetail,
    K.CLOSURE_GRANT: NoDetail,
    K.CLOSURE_WAIVE_RECORDS: NoDetail,
    K.DISPUTE_RESOLVE: ResolutionDetail,
    K.RETENTION_DISCLOSE: DisclosureDetail,
    K.RETENTION_HOLD: HoldDetail,
    K.RETENTION_RELEASE: NoDetail,
}
# These are carried out by the instruction's process, which is told; the others when they are committed. What money out
# of suspense begins, a conversion or a return, is started by the sweeper.
TOLD_TO_PROCESSES = frozenset({K.INSTRUCTION_WITHDRAW, K.INSTRUCTION_CONCLUDE})


def read_detail(kind: DecisionKind, given: Mapping[str, Any]) -> dict[str, Any]:
    """The detail of a kind, checked, as it is stored. Raises pydantic's ValidationError."""
    read = DETAILS[kind].model_validate_json(json.dumps(given))
    return read.model_dump(mode="json", exclude_none=True, by_alias=True)


class GroundText(_Value):
    """A ground in words."""

    zh: str = Field(min_length=1, max_length=60)
    en: str = Field(min_length=1, max_length=120)


class KindRule(_Value):
    """Who may ask for a kind of decision and who approves it: never the same person where two are needed."""

    second_person: bool
    # A second person only above this amount in minor units: of a payout's review, for example.
    second_person_above_minor: int | None = Field(default=None, ge=0)
    grounds: tuple[str, ...] = Field(min_length=1)
    # A request that nobody approved lapses.
    open_hours: int = Field(gt=0, le=24 * 30)
    # The farthest review of a freeze, or expiry of an order.
    longest_days: int | None = Field(default=None, gt=0, le=366)


class DecisionRules(_Value):
    """`config/decisions.toml` as a value. Raises ValidationError if a kind is missing or a ground has no words."""

    grounds: Mapping[str, GroundText]
    kinds: Mapping[DecisionKind, KindRule]

    @model_validator(mode="after")
    def _is_complete(self) -> DecisionRules:
        if missing := sorted(set(DecisionKind) - set(self.kinds)):
            raise ValueError(f"decisions.toml says nothing about {', '.join(missing)}")
        named = {ground for rule in self.kinds.values() for ground in rule.grounds}
        if unknown := sorted(named - set(self.grounds)):
            raise ValueError(f"decisions.toml has no words for the grounds {', '.join(unknown)}")
        for kind in (K.FUNDS_FREEZE, K.AUTHORITY_ORDER_REGISTER):
            if self.kinds[kind].longest_days is None:
                raise ValueError(f"decisions.toml: {kind} needs longest_days")
        return self


class RequestDecision(_Value):
    """Ask for a decision; a kind that one person decides is committed at once."""

    now: datetime
    request_id: str
    operator_id: str
    id: str
    kind: DecisionKind
    subject_id: str = Field(min_length=1, max_length=80)
    ground: str = Field(min_length=1, max_length=60)
    reason: Reason
    detail: dict[str, Any] = Field(default_factory=dict)


class AnswerDecision(_Value):
    """The second person's word on a request."""

    now: datetime
    request_id: str
    operator_id: str
    id: str


class CheckedDecision(_Value):
    """What a process may act on: `holds` only for a committed decision about this very instruction."""

    holds: bool
    kind: DecisionKind | None = None
    detail: dict[str, Any] | None = None
    refusal: str | None = None
