"""Between our words and the bank's: request bodies out, answers, callbacks and statements in."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from banks.agreement_pay.errors import DECLINE_REASONS, DEFINITE_REFUSALS
from domain.banking import (
    BankAnswer,
    BankNotice,
    BankOutcome,
    DebitRequest,
    DeclineReason,
    PaymentCodeRequest,
    PaymentCodeVerification,
    PayoutRequest,
    RefundRequest,
    SignApplication,
    SignConfirmation,
    StatementLine,
    UnsignRequest,
)
from domain.disclosure import PartnerOperation, PartnerRole, check_disclosure
from domain.personal_data import PersonalField

_RAW_CODE = re.compile(r"[A-Z0-9_]{1,40}")


class Resource(StrEnum):
    """The bank's name of an operation, in its paths and answers."""

    SIGN_APPLICATIONS = "sign-applications"
    SIGN_CONFIRMATIONS = "sign-confirmations"
    UNSIGNS = "unsigns"
    PAYMENT_CODES = "payment-codes"
    PAYMENT_CODE_VERIFICATIONS = "payment-code-verifications"
    DEBITS = "debits"
    REFUNDS = "refunds"
    PAYOUTS = "payouts"
    FX_DEALS = "fx-deals"
    RECEIVING_ACCOUNTS = "receiving-accounts"
    INBOUND_RETURNS = "inbound-returns"
    OFFICIAL_QUOTAS = "official-quotas"
    ERASURE_NOTICES = "erasure-notices"


@dataclass(frozen=True)
class Instruction:
    """One request as it goes out, and what a success must bring back to be believed."""

    resource: Resource
    request_number: str
    body: dict[str, Any]
    expected: frozenset[str] = frozenset()
    amount_minor: int | None = None
    currency: str | None = None

    def __repr__(self) -> str:
        return f"Instruction({self.resource.value}, {self.request_number})"


def sign_application(request: SignApplication) -> Instruction:
    """Exactly the four elements and the number (P2.1.3-1a)."""
    personal = {
        PersonalField.NAME: request.elements.name,
        PersonalField.ID_NUMBER: request.elements.id_number,
        PersonalField.CARD_NUMBER: request.elements.card_number,
        PersonalField.MOBILE: request.elements.mobile,
    }
    check_disclosure(PartnerRole.DOMESTIC_BANK, PartnerOperation.SIGN_APPLICATION, personal)
    body = {
        "request_number": request.request_number,
        **{field.value: value for field, value in personal.items()},
    }
    return Instruction(Resource.SIGN_APPLICATIONS, request.request_number, body, frozenset({"code_expires_at"}))


def sign_confirmation(request: SignConfirmation) -> Instruction:
    """The code of an application; a success brings the agreement number."""
    body = {
        "request_number": request.request_number,
        "application_request_number": request.application_request_number,
        "code": request.code,
    }
    return Instruction(Resource.SIGN_CONFIRMATIONS, request.request_number, body, frozenset({"agreement_number"}))


def unsign(request: UnsignRequest) -> Instruction:
    """The end of an agreement."""
    body = {"request_number": request.request_number, "agreement_number": request.agreement_number}
    return Instruction(Resource.UNSIGNS, request.request_number, body)


def payment_code(request: PaymentCodeRequest) -> Instruction:
    """A code bound to debit number, amount and payee (A3.7b)."""
    body = request.model_dump(mode="json")
    return Instruction(Resource.PAYMENT_CODES, request.request_number, body, frozenset({"code_expires_at"}))


def payment_code_verification(request: PaymentCodeVerification) -> Instruction:
    """The payer's code; a success brings the one-use authorisation."""
    body = {
        "request_number": request.request_number,
        "code_request_number": request.code_request_number,
        "code": request.code,
    }
    number = request.request_number
    return Instruction(Resource.PAYMENT_CODE_VERIFICATIONS, number, body, frozenset({"authorisation"}))


def debit(request: DebitRequest) -> Instruction:
    """With the authorisation, or with an explicit word that verification is waived (A3.11)."""
    body = request.model_dump(mode="json", exclude_none=True)
    body["verification"] = "waived" if request.authorisation is None else "authorisation"
    return Instruction(
        Resource.DEBITS,
        request.request_number,
        body,
        frozenset({"bank_reference", "booked_at", "amount_minor", "currency"}),
        request.amount_minor,
        request.currency,
    )


def refund(request: RefundRequest) -> Instruction:
    """All or part of a debit goes back."""
    return Instruction(
        Resource.REFUNDS,
        request.request_number,
        request.model_dump(mode="json"),
        frozenset({"bank_reference", "booked_at", "amount_minor", "currency"}),
        request.amount_minor,
        request.currency,
    )


def payout(request: PayoutRequest) -> Instruction:
    """Exactly the payee's name and account, and the payment data that lead to its bank (P2.1.3-1a)."""
    personal = {PersonalField.NAME: request.payee_name, PersonalField.ACCOUNT_NUMBER: request.account_number}
    check_disclosure(PartnerRole.DOMESTIC_BANK, PartnerOperation.PAYOUT, personal)
    payment_data = request.model_dump(mode="json", exclude={"payee_name", "account_number"})
    return Instruction(
        Resource.PAYOUTS,
        request.request_number,
        {**payment_data, **{field.value: value for field, value in personal.items()}},
        frozenset({"bank_reference", "booked_at", "amount_minor", "currency"}),
        request.amount_minor,
        request.currency,
    )


class Reply(BaseModel):
    """The bank's answer; new fields of the bank's are ignored, wrong types are not."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    status: str
    code: str
    request_number: str | None = None
    operation: str | None = None
    bank_reference: str | None = Field(default=None, max_length=64)
    booked_at: Annotated[AwareDatetime | None, Field(strict=False)] = None
    amount_minor: int | None = None
    currency: str | None = None
    return_reference: str | None = Field(default=None, max_length=64)
    returned_at: Annotated[AwareDatetime | None, Field(strict=False)] = None
    returned_minor: int | None = None
    agreement_number: str | None = Field(default=None, min_length=1, max_length=64)
    authorisation: str | None = Field(default=None, min_length=1, max_length=64)
    code_expires_at: Annotated[AwareDatetime | None, Field(strict=False)] = None
    attempts_left: int | None = None
    invalid_fields: list[str] | None = None


def unknown(raw_code: str) -> BankAnswer:
    """Neither success nor failure: ask again by request number. `raw_code` says why, in a stable word of
    ours.
    """
    return BankAnswer(outcome=BankOutcome.UNKNOWN, raw_code=raw_code)


def read_answer(http_status: int, body: bytes, instruction: Instruction) -> BankAnswer:
    """A signed answer to an instruction. What does not fit the instruction is UNKNOWN."""
    reply = _parse(body)
    if reply is None:
        return unknown("ANSWER_UNREADABLE")
    if http_status != 200:
        return read_refusal(http_status, reply)
    if (reply.request_number, reply.operation) != (instruction.request_number, instruction.resource.value):
        return unknown("ANSWER_MISMATCH")
    answer = _read_outcome(reply)
    if answer.outcome in _BOOKED and not _fits(reply, instruction):
        return unknown("ANSWER_MISMATCH")
    return answer


# Money has moved: believed only with everything that proves it.
_BOOKED = (BankOutcome.SUCCEEDED, BankOutcome.RETURNED)


def _fits(reply: Reply, instruction: Instruction) -> bool:
    if any(getattr(reply, name) is None for name in instruction.expected):
        return False
    if instruction.amount_minor is None:
        return True
    return (reply.amount_minor, reply.currency) == (instruction.amount_minor, instruction.currency)


_EXPECTED_BY_RESOURCE = {
    Resource.SIGN_APPLICATIONS.value: ("code_expires_at",),
    Resource.SIGN_CONFIRMATIONS.value: ("agreement_number",),
    Resource.UNSIGNS.value: (),
    Resource.PAYMENT_CODES.value: ("code_expires_at",),
    Resource.PAYMENT_CODE_VERIFICATIONS.value: ("authorisation",),
    Resource.DEBITS.value: ("bank_reference", "booked_at", "amount_minor"),
    Resource.REFUNDS.value: ("bank_reference", "booked_at", "amount_minor"),
    Resource.PAYOUTS.value: ("bank_reference", "booked_at", "amount_minor", "currency"),
}


def read_query_answer(http_status: int, body: bytes, request_number: str) -> BankAnswer:
    """A signed answer to a query. Only the bank's own 404 for this very number is NOT_FOUND."""
    reply = _parse(body)
    if reply is None:
        return unknown("ANSWER_UNREADABLE")
    if reply.request_number != request_number:
        return unknown("ANSWER_MISMATCH" if http_status in (200, 404) else shown_code(reply.code))
    if http_status == 404 and reply.code == "REQUEST_NOT_FOUND":
        return BankAnswer(outcome=BankOutcome.NOT_FOUND, raw_code=reply.code)
    if http_status != 200:
        return unknown(shown_code(reply.code))
    answer = _read_outcome(reply)
    expected = _EXPECTED_BY_RESOURCE.get(reply.operation or "")
    complete = expected is not None and all(getattr(reply, name) is not None for name in expected)
    if expected is None or (answer.outcome in _BOOKED and not complete):
        return unknown("ANSWER_MISMATCH")
    return answer


def _parse(body: bytes) -> Reply | None:
    try:
        return Reply.model_validate_json(body)
    except ValidationError:
        return None


def shown_code(code: str) -> str:
    """A bank's code, or a word of ours for one that is none: it never holds free text."""
    return code if _RAW_CODE.fullmatch(code) else "CODE_UNREADABLE"


def read_refusal(http_status: int, reply: Reply) -> BankAnswer:
    """An answer other than 200. Only what says for certain that nothing was taken in is a no."""
    code = shown_code(reply.code)
    if reply.status != "REFUSED" or (http_status, code) not in DEFINITE_REFUSALS:
        return unknown(code)
    reason = DECLINE_REASONS.get(code, DeclineReason.OTHER)
    if code == "REQUEST_INVALID" and reply.invalid_fields == ["code"]:
        # A code with a digit too few is a wrong code, and not the end of what it was for.
        reason = DeclineReason.CODE_WRONG
    return BankAnswer(outcome=BankOutcome.DECLINED, reason=reason, raw_code=code)


def _read_outcome(reply: Reply) -> BankAnswer:
    code = shown_code(reply.code)
    if reply.status == "PROCESSING":
        return BankAnswer(outcome=BankOutcome.PROCESSING, raw_code=code)
    if reply.operation == Resource.PAYOUTS.value and _is_new_word(reply.status, code):
        # It may mean anything: taken for a no it would free money that may have left.
        return unknown(code)
    if reply.status == "FAILED":
        reason = DECLINE_REASONS.get(code, DeclineReason.OTHER)
        left = reply.attempts_left
        return BankAnswer(outcome=BankOutcome.DECLINED, reason=reason, raw_code=code, attempts_left=left)
    if reply.status == "RETURNED":
        return _read_return(reply, code)
    if reply.status != "SUCCESS":
        return unknown(code)
    return BankAnswer(
        outcome=BankOutcome.SUCCEEDED,
        raw_code=code,
        bank_reference=reply.bank_reference,
        booked_at=reply.booked_at,
        amount_minor=reply.amount_minor,
        agreement_number=reply.agreement_number,
        authorisation=reply.authorisation,
        code_expires_at=reply.code_expires_at,
    )


def _is_new_word(status: str, code: str) -> bool:
    return (status == "FAILED" and code not in DECLINE_REASONS) or (status == "SUCCESS" and code != "OK")


def _read_return(reply: Reply, code: str) -> BankAnswer:
    """A payout that has come back. Less than was paid, or no proof of it, is nothing that can be booked unseen."""
    is_proven = reply.return_reference is not None and reply.returned_at is not None
    if reply.operation != Resource.PAYOUTS.value or not is_proven or reply.returned_minor != reply.amount_minor:
        return unknown(code)
    return BankAnswer(
        outcome=BankOutcome.RETURNED,
        reason=DECLINE_REASONS.get(code, DeclineReason.OTHER),
        raw_code=code,
        bank_reference=reply.bank_reference,
        booked_at=reply.booked_at,
        amount_minor=reply.amount_minor,
        return_reference=reply.return_reference,
        returned_at=reply.returned_at,
    )


class _Notice(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    notice_id: str = Field(pattern=r"^[A-Za-z0-9]{8,64}$")
    bank_code: str
    request_number: str = Field(pattern=r"^[A-Za-z0-9]{8,40}$")
    status: str | None = None
    operation: str | None = None


_INBOUND = "inbound-remittances"
_REFERENCE = re.compile(r"[A-Z0-9]{8,40}")
_ANNOUNCED = {
    "SUCCESS": BankOutcome.SUCCEEDED,
    "FAILED": BankOutcome.DECLINED,
    "PROCESSING": BankOutcome.PROCESSING,
    "RETURNED": BankOutcome.RETURNED,
}


def read_notice(body: bytes, bank_code: str) -> BankNotice | None:
    """The callback's content, or None if it cannot be read or is of another bank."""
    try:
        notice = _Notice.model_validate_json(body)
    except ValidationError:
        return None
    if notice.bank_code != bank_code:
        return None
    is_inbound = notice.operation == _INBOUND
    if is_inbound and not _REFERENCE.fullmatch(notice.request_number):
        return None
    is_excess = (notice.operation, notice.status) == (Resource.FX_DEALS.value, "EXCESS")
    return BankNotice(
        notice_id=notice.notice_id,
        request_number=notice.request_number,
        announces=BankOutcome.SUCCEEDED if is_excess else _ANNOUNCED.get(notice.status or ""),
        inbound_reference=notice.request_number if is_inbound else None,
        is_excess=is_excess,
    )


_STATEMENT_HEADER = ["bank_reference", "request_number", "operation", "booked_at", "amount_minor", "currency"]


def read_statement(body: bytes) -> list[StatementLine]:
    """All lines of a statement file. Raises `ValueError` unless the counts and sums of its currencies are those of its
    closing lines.
    """
    rows = list(csv.reader(io.StringIO(body.decode("utf-8")), strict=True))
    if len(rows) < 2 or rows[0] != _STATEMENT_HEADER or any(len(row) != len(_STATEMENT_HEADER) for row in rows):
        raise ValueError("statement without header or closing line")
    begins_to_close = next((index for index, row in enumerate(rows) if row[0] == "TOTAL"), len(rows))
    lines = [_statement_line(row) for row in rows[1:begins_to_close]]
    closing = rows[begins_to_close:]
    currencies = [row[5] for row in closing]
    if not closing or len(set(currencies)) < len(currencies) or {x.currency for x in lines} - set(currencies):
        raise ValueError("statement without a closing line for each of its currencies")
    if any(row != _closing_line(lines, row[5]) for row in closing):
        raise ValueError("statement's closing lines do not agree with its lines")
    return lines


def _closing_line(lines: list[StatementLine], currency: str) -> list[str]:
    amounts = [line.amount_minor for line in lines if line.currency == currency]
    return ["TOTAL", str(len(amounts)), "", "", str(sum(amounts)), currency]


def _statement_line(row: list[str]) -> StatementLine:
    reference, request_number, _, booked_at, amount_minor, currency = row
    booked = datetime.fromisoformat(booked_at)
    if booked.tzinfo is None:
        raise ValueError("statement line without time zone")
    return StatementLine(
        bank_reference=reference,
        request_number=request_number,
        booked_at=booked,
        amount_minor=int(amount_minor),
        currency=currency,
    )
