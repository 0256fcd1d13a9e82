"""Between our words and the bank's: the notice that tells it to delete (P4.2b), and what it replies."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from banks.agreement_pay.errors import DECLINE_REASONS, DEFINITE_REFUSALS
from banks.agreement_pay.translate import Resource, shown_code
from domain.banking import (
    MOST_NUMBERS_OF_A_NOTICE,
    DeclineReason,
    ErasureNotice,
    ErasureOutcome,
    ErasureReply,
    KeptReason,
)
from domain.disclosure import PartnerOperation, PartnerRole, check_disclosure


class _Reply(BaseModel):
    """The bank's answer; new fields of the bank's are ignored, wrong types are not."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    status: str
    code: str
    request_number: str | None = None
    operation: str | None = None
    erasure: str | None = None
    kept_reason: Annotated[KeptReason | None, Field(strict=False)] = None
    kept_count: int | None = Field(default=None, ge=1, le=MOST_NUMBERS_OF_A_NOTICE)


def body_of(notice: ErasureNotice) -> dict[str, Any]:
    """The numbers alone, in one order whoever collected them: sent again, it is the same content."""
    check_disclosure(PartnerRole.DOMESTIC_BANK, PartnerOperation.ERASURE_NOTICE, ())
    return {
        "request_number": notice.request_number,
        "disclosed_under": sorted(notice.disclosed_under),
        "scope": notice.scope.value,
    }


def unknown(raw_code: str) -> ErasureReply:
    """Neither taken in nor refused: ask again by request number. `raw_code` says why, in a stable word of ours."""
    return ErasureReply(outcome=ErasureOutcome.UNKNOWN, raw_code=raw_code)


def read_reply(http_status: int, body: bytes, notice: ErasureNotice) -> ErasureReply:
    """A signed answer to a notice. What does not fit it is UNKNOWN."""
    reply = _parse(body)
    if reply is None:
        return unknown("ANSWER_UNREADABLE")
    if http_status != 200:
        return _read_refusal(http_status, reply)
    if reply.request_number != notice.request_number:
        return unknown("ANSWER_MISMATCH")
    read = _read_outcome(reply)
    if (read.kept_count or 0) > len(notice.disclosed_under):
        return unknown("ANSWER_MISMATCH")
    return read


def read_query_reply(http_status: int, body: bytes, request_number: str) -> ErasureReply:
    """A signed answer to a query. Only the bank's own 404 for this very number is NOT_FOUND."""
    reply = _parse(body)
    if reply is None:
        return unknown("ANSWER_UNREADABLE")
    if reply.request_number != request_number:
        return unknown("ANSWER_MISMATCH" if http_status in (200, 404) else shown_code(reply.code))
    if http_status == 404 and (reply.status, reply.code) == ("REFUSED", "REQUEST_NOT_FOUND"):
        return ErasureReply(outcome=ErasureOutcome.NOT_FOUND, raw_code=reply.code)
    if http_status != 200:
        return unknown(shown_code(reply.code))
    return _read_outcome(reply)


def _parse(body: bytes) -> _Reply | None:
    try:
        return _Reply.model_validate_json(body)
    except ValidationError:
        return None


def _read_refusal(http_status: int, reply: _Reply) -> ErasureReply:
    code = shown_code(reply.code)
    if reply.status != "REFUSED" or (http_status, code) not in DEFINITE_REFUSALS:
        return unknown(code)
    return _declined(code)


def _declined(code: str) -> ErasureReply:
    reason = DECLINE_REASONS.get(code, DeclineReason.OTHER)
    return ErasureReply(outcome=ErasureOutcome.DECLINED, reason=reason, raw_code=code)


def _read_outcome(reply: _Reply) -> ErasureReply:
    """What is said of a notice. A reply that contradicts itself, or that is about another thing, is no reply."""
    code = shown_code(reply.code)
    if reply.operation != Resource.ERASURE_NOTICES.value:
        return unknown("ANSWER_MISMATCH")
    if reply.status == "PROCESSING":
        return ErasureReply(outcome=ErasureOutcome.RECEIVED, raw_code=code)
    if reply.status == "FAILED" and code in DECLINE_REASONS:
        return _declined(code)
    if (reply.status, code) != ("SUCCESS", "OK"):
        return unknown(code)
    return _read_final(reply)


def _read_final(reply: _Reply) -> ErasureReply:
    kept = {"kept_reason": reply.kept_reason, "kept_count": reply.kept_count}
    if reply.erasure == "erased" and set(kept.values()) == {None}:
        return ErasureReply(outcome=ErasureOutcome.ERASED, raw_code=reply.code)
    if reply.erasure == "kept" and None not in kept.values():
        return ErasureReply.model_validate({"outcome": ErasureOutcome.KEPT, "raw_code": reply.code, **kept})
    return unknown("ANSWER_MISMATCH")
