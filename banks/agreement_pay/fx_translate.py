"""Between our words and the bank's about foreign currency: request bodies out; answers, quotes and remittances in.

As strict as `translate.py`: a success without everything that proves it, or about anything but what was asked for, is
UNKNOWN, and so is a word that nobody here knows beside a deal or a return, which move money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from banks.agreement_pay.errors import DECLINE_REASONS
from banks.agreement_pay.translate import Reply, Resource, read_refusal, shown_code
from domain.banking import BankCapabilities, BankOutcome, DeclineReason
from domain.disclosure import DisclosureRefusedError, PartnerOperation, PartnerRole, check_disclosure
from domain.fx_banking import (
    ConversionRequest,
    DealKind,
    FxAnswer,
    FxQuote,
    InboundRemittance,
    InboundReturnRequest,
    OfficialQuota,
    QuoteSide,
    QuoteUnavailableError,
    ReceivingAccountRequest,
    RemittanceUnavailableError,
    RemittanceUnreadableError,
)
from domain.identifiers import BankStep
from domain.money import MAX_AMOUNT_MINOR, MINOR_DIGITS
from domain.personal_data import PersonalField
from domain.rates import RateE8, convert, format_rate, parse_rate

_CNY = "CNY"


@dataclass(frozen=True)
class FxInstruction:
    """One request as it goes out, and what a success must repeat of it to be believed."""

    resource: Resource
    request_number: str
    body: dict[str, Any]
    repeated: Mapping[str, object]

    def __repr__(self) -> str:
        return f"FxInstruction({self.resource.value}, {self.request_number})"


def deal(request: ConversionRequest) -> FxInstruction:
    """A deal at a quote. Of an individual exactly name and ID number go with it (A4.3), of an enterprise nothing."""
    given = {PersonalField.NAME: request.name, PersonalField.ID_NUMBER: request.id_number}
    personal = {field: value for field, value in given.items() if value is not None}
    if request.residency != "enterprise":
        check_disclosure(PartnerRole.DOMESTIC_BANK, PartnerOperation.FX_CONVERSION, personal)
    elif personal:
        operation = PartnerOperation.FX_CONVERSION
        raise DisclosureRefusedError(PartnerRole.DOMESTIC_BANK, operation, frozenset(personal))
    repeated: dict[str, Any] = request.model_dump(
        include={"kind", "quote_id", "foreign_minor", "foreign_currency", "foreign_at", "reverses"}, exclude_none=True
    )
    about = request.model_dump(include={"request_number", "purpose_code", "is_trade", "residency"})
    body = {**about, **repeated, "rate": format_rate(request.rate_e8)}
    body |= {field.value: value for field, value in personal.items()}
    repeated["rate"] = request.rate_e8
    return FxInstruction(Resource.FX_DEALS, request.request_number, body, repeated)


def receiving_account(request: ReceivingAccountRequest) -> FxInstruction:
    """An account number for one user, of whom nothing goes but the name (P6b)."""
    personal = {PersonalField.NAME: request.holder_name}
    check_disclosure(PartnerRole.OVERSEAS_BANK, PartnerOperation.RECEIVING_ACCOUNT, personal)
    body = {"request_number": request.request_number, "currency": request.currency, "name": request.holder_name}
    repeated = {"currency": request.currency}
    return FxInstruction(Resource.RECEIVING_ACCOUNTS, request.request_number, body, repeated)


def inbound_return(request: InboundReturnRequest) -> FxInstruction:
    """All or part of a remittance goes back; the bank knows to whom."""
    body = request.model_dump(mode="json")
    repeated = request.model_dump(exclude={"request_number"})
    return FxInstruction(Resource.INBOUND_RETURNS, request.request_number, body, repeated)


def official_quota(name: str, id_number: str, year: int) -> FxInstruction:
    """The question what is left of a person's quota. It has no effect, so each time it gets a number of its own."""
    personal = {PersonalField.NAME: name, PersonalField.ID_NUMBER: id_number}
    check_disclosure(PartnerRole.DOMESTIC_BANK, PartnerOperation.OFFICIAL_QUOTA, personal)
    number = f"OQ{uuid4().hex.upper()}"
    body = {"request_number": number, "year": year, **{field.value: value for field, value in personal.items()}}
    return FxInstruction(Resource.OFFICIAL_QUOTAS, number, body, {"year": year})


def _written(value: object) -> object:
    """A rate on the wire is a decimal in a string; a number there is none, it may have been rounded."""
    if not isinstance(value, str):
        raise ValueError("a rate is written in a string")
    return parse_rate(value)


_Rate = Annotated[RateE8, BeforeValidator(_written)]
_Instant = Annotated[AwareDatetime, Field(strict=False)]


class _FxReply(Reply):
    """The bank's answer to an instruction about foreign currency, or to a query for one."""

    kind: DealKind | None = None
    quote_id: str | None = None
    rate: _Rate | None = None
    foreign_minor: int | None = Field(default=None, gt=0, le=MAX_AMOUNT_MINOR)
    foreign_currency: str | None = None
    foreign_at: str | None = None
    reverses: str | None = None
    cny_minor: int | None = None
    delivered_at: _Instant | None = None
    delivery_reference: str | None = Field(default=None, min_length=1, max_length=64)
    excess_minor: int | None = Field(default=None, ge=0)
    inbound_reference: str | None = None
    account_number: str | None = Field(default=None, min_length=1, max_length=34)
    year: int | None = None
    remaining_usd_minor: int | None = Field(default=None, ge=0)
    is_exceeded: bool | None = None


def unknown(raw_code: str) -> FxAnswer:
    """Neither success nor failure: ask again by request number. `raw_code` says why, in a stable word."""
    return FxAnswer(outcome=BankOutcome.UNKNOWN, raw_code=raw_code)


def read_fx_answer(http_status: int, body: bytes, instruction: FxInstruction) -> FxAnswer:
    """A signed answer to an instruction. What does not fit the instruction is UNKNOWN."""
    reply = _parse(body)
    if reply is None:
        return unknown("ANSWER_UNREADABLE")
    if http_status != 200:
        refusal = read_refusal(http_status, reply)
        return FxAnswer(outcome=refusal.outcome, reason=refusal.reason, raw_code=refusal.raw_code)
    if not _is_about(reply, instruction):
        return unknown("ANSWER_MISMATCH")
    answer = _read_outcome(reply)
    if answer.outcome is BankOutcome.SUCCEEDED and not _repeats(reply, instruction):
        return unknown("ANSWER_MISMATCH")
    return answer


def read_fx_query_answer(http_status: int, body: bytes, request_number: str) -> FxAnswer:
    """A signed answer to a query. Only the bank's own 404 for this very number is NOT_FOUND."""
    reply = _parse(body)
    if reply is None:
        return unknown("ANSWER_UNREADABLE")
    if reply.request_number != request_number:
        return unknown("ANSWER_MISMATCH" if http_status in (200, 404) else shown_code(reply.code))
    if (http_status, reply.code) == (404, "REQUEST_NOT_FOUND"):
        return FxAnswer(outcome=BankOutcome.NOT_FOUND, raw_code=reply.code)
    if http_status != 200:
        return unknown(shown_code(reply.code))
    return _read_outcome(reply) if _fits(reply, request_number) else unknown("ANSWER_MISMATCH")


def _fits(reply: _FxReply, request_number: str) -> bool:
    """Whether it is about the kind of step that is numbered so."""
    operation, kind = _NUMBERED.get(request_number[:2], (None, None))
    return operation in (None, reply.operation) and (reply.kind is None or kind in (None, reply.kind))


def _parse(body: bytes) -> _FxReply | None:
    try:
        return _FxReply.model_validate_json(body)
    except ValidationError:
        return None


def _is_about(reply: _FxReply, instruction: FxInstruction) -> bool:
    return (reply.request_number, reply.operation) == (instruction.request_number, instruction.resource.value)


def _repeats(reply: _FxReply, instruction: FxInstruction) -> bool:
    return all(getattr(reply, name) == value for name, value in instruction.repeated.items())


def _read_outcome(reply: _FxReply) -> FxAnswer:
    code, read = shown_code(reply.code), _SUCCESSES.get(reply.operation or "")
    if read is None:
        return unknown("ANSWER_MISMATCH")
    if reply.status == "PROCESSING":
        return FxAnswer(outcome=BankOutcome.PROCESSING, raw_code=code)
    if reply.status == "FAILED":
        if code not in DECLINE_REASONS and reply.operation != Resource.RECEIVING_ACCOUNTS.value:
            # It may mean anything: taken for a no it would free money that may have left.
            return unknown(code)
        reason = DECLINE_REASONS.get(code, DeclineReason.OTHER)
        return FxAnswer(outcome=BankOutcome.DECLINED, reason=reason, raw_code=code)
    if (reply.status, code) != ("SUCCESS", "OK"):
        return unknown(code)
    return read(reply) or unknown("ANSWER_MISMATCH")


def _dealt(reply: _FxReply) -> FxAnswer | None:
    """A deal with all that proves it, and whose amounts are what its rate makes of each other (A5.1b)."""
    if reply.bank_reference is None or reply.booked_at is None or reply.kind is None:
        return None
    if reply.rate is None or reply.foreign_minor is None or reply.foreign_currency is None:
        return None
    if reply.foreign_currency not in MINOR_DIGITS or reply.foreign_currency == _CNY:
        return None
    if reply.cny_minor != convert(reply.foreign_minor, reply.foreign_currency, reply.rate, "half_up").minor:
        return None
    excess_minor = reply.excess_minor or 0
    if not _is_delivery(reply) or excess_minor > (reply.foreign_minor if reply.kind == "conversion" else 0):
        return None
    return FxAnswer(
        outcome=BankOutcome.SUCCEEDED,
        raw_code="OK",
        bank_reference=reply.bank_reference,
        booked_at=reply.booked_at,
        kind=reply.kind,
        rate_e8=reply.rate,
        foreign_minor=reply.foreign_minor,
        foreign_currency=reply.foreign_currency,
        cny_minor=reply.cny_minor,
        delivered_at=reply.delivered_at,
        delivery_reference=reply.delivery_reference,
        excess_minor=excess_minor,
    )


def _is_delivery(reply: _FxReply) -> bool:
    """Whether it says nothing of a delivery, or all of it, and of one that was not before its deal."""
    if reply.delivered_at is None or reply.delivery_reference is None or reply.booked_at is None:
        return reply.delivered_at is None and reply.delivery_reference is None
    return reply.delivered_at >= reply.booked_at


def _sent_back(reply: _FxReply) -> FxAnswer | None:
    proof = (reply.bank_reference, reply.booked_at, reply.amount_minor, reply.currency, reply.inbound_reference)
    if None in proof or (reply.amount_minor or 0) <= 0:
        return None
    return FxAnswer(
        outcome=BankOutcome.SUCCEEDED,
        raw_code="OK",
        bank_reference=reply.bank_reference,
        booked_at=reply.booked_at,
        amount_minor=reply.amount_minor,
        foreign_currency=reply.currency,
    )


def _opened(reply: _FxReply) -> FxAnswer | None:
    if reply.account_number is None or reply.currency is None:
        return None
    return FxAnswer(outcome=BankOutcome.SUCCEEDED, raw_code="OK", account_number=reply.account_number)


_SUCCESSES = {
    Resource.FX_DEALS.value: _dealt,
    Resource.INBOUND_RETURNS.value: _sent_back,
    Resource.RECEIVING_ACCOUNTS.value: _opened,
}


_NUMBERED: Mapping[str, tuple[str, DealKind | None]] = {
    BankStep.FX_CONVERSION: (Resource.FX_DEALS.value, "conversion"),
    BankStep.FX_REVERSAL: (Resource.FX_DEALS.value, "reversal"),
    BankStep.INBOUND_RETURN: (Resource.INBOUND_RETURNS.value, None),
    BankStep.RECEIVING_ACCOUNT: (Resource.RECEIVING_ACCOUNTS.value, None),
}


class _Told(BaseModel):
    """What a bank says without being instructed; new fields of the bank's are ignored, wrong types are not."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    status: str
    code: str


class _ToldQuote(_Told):
    currency: str | None = None
    side: str | None = None
    quote_id: str | None = None
    rate: _Rate | None = None
    publisher: str | None = None
    published_at: _Instant | None = None
    valid_until: _Instant | None = None


@dataclass(frozen=True)
class AskedQuote:
    """Of which bank a quote was asked, which, and when."""

    capabilities: BankCapabilities
    currency: str
    side: QuoteSide
    at: datetime


def read_quote(http_status: int, body: bytes, asked: AskedQuote) -> FxQuote:
    """A signed quote for this currency and side that was not published in the future. Raises QuoteUnavailableError."""
    try:
        told = _ToldQuote.model_validate_json(body)
    except ValidationError:
        raise QuoteUnavailableError("ANSWER_UNREADABLE") from None
    if http_status != 200 or told.status == "FAILED":
        closed = (http_status, told.code) == (200, "DESK_CLOSED")
        raise QuoteUnavailableError("DESK_CLOSED" if closed else "NO_QUOTE")
    # Its clock may be as far off as it allows ours to be.
    latest = asked.at + timedelta(seconds=asked.capabilities.request_validity_seconds)
    published, until = told.published_at, told.valid_until
    if (told.status, told.code, told.currency, told.side) != ("SUCCESS", "OK", asked.currency, asked.side.value):
        raise QuoteUnavailableError("ANSWER_MISMATCH")
    if published is None or until is None or published > min(latest, until):
        raise QuoteUnavailableError("ANSWER_MISMATCH")
    given = told.model_dump(exclude={"status", "code", "rate", "side"})
    try:
        return FxQuote(**given, rate_e8=told.rate, side=asked.side, bank_code=asked.capabilities.bank_code)
    except ValidationError:
        raise QuoteUnavailableError("ANSWER_MISMATCH") from None


class _ToldRemittance(_Told):
    reference: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    value_date: Annotated[date | None, Field(strict=False)] = None
    booked_at: _Instant | None = None
    purpose_code: str | None = None
    remitter_country: str | None = None
    account_number: str | None = None
    receiver_name: str | None = None
    remitter_name: str | None = None


def read_remittance(http_status: int, body: bytes, reference: str) -> InboundRemittance:
    """What the bank has booked under this very reference, whole. Raises RemittanceUnavailableError.

    Where the bank says that it is there, and not what it is in words that can be booked, that is unreadable.
    """
    try:
        told = _ToldRemittance.model_validate_json(body)
    except ValidationError as error:
        raise _not_whole(http_status, "ANSWER_UNREADABLE", error) from None
    if told.reference != reference:
        raise _not_whole(http_status, "ANSWER_MISMATCH")
    if (http_status, told.status, told.code) == (404, "REFUSED", "REMITTANCE_NOT_FOUND"):
        raise RemittanceUnavailableError("REMITTANCE_NOT_FOUND", is_unknown=True)
    if (http_status, told.status, told.code) != (200, "SUCCESS", "OK"):
        raise RemittanceUnavailableError(shown_code(told.code))
    try:
        remittance = InboundRemittance(**told.model_dump(exclude={"status", "code"}))
    except ValidationError as error:
        raise _not_whole(http_status, "ANSWER_MISMATCH", error) from None
    if remittance.currency not in MINOR_DIGITS or remittance.currency == _CNY:
        raise RemittanceUnreadableError("ANSWER_MISMATCH", ["currency"])
    return remittance


def _not_whole(http_status: int, reason: str, error: ValidationError | None = None) -> RemittanceUnavailableError:
    """Of what the bank answers as if all were well a person is told; of the rest it did not answer."""
    if http_status != 200:
        return RemittanceUnavailableError(reason)
    wrong = ["reference"] if error is None else [str(each["loc"][0]) for each in error.errors() if each["loc"]]
    return RemittanceUnreadableError(reason, wrong)


def read_official_quota(http_status: int, body: bytes, instruction: FxInstruction) -> OfficialQuota | None:
    """What is left of the quota of the year asked for; None for anything else."""
    reply = _parse(body)
    if reply is None or http_status != 200 or not _is_about(reply, instruction) or not _repeats(reply, instruction):
        return None
    if (reply.status, reply.code) != ("SUCCESS", "OK") or reply.year is None:
        return None
    if reply.remaining_usd_minor is None or reply.is_exceeded is None:
        return None
    return OfficialQuota(year=reply.year, remaining_usd_minor=reply.remaining_usd_minor, is_exceeded=reply.is_exceeded)
