"""Identifiers shown to merchants: a prefix that says what it names and a ULID, so that they sort by time.

Everything that reaches a bank is numbered from them (`request_number`), never from an attempt or a run:
those change after a reset, and a changed number pays twice.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum


class IdPrefix(StrEnum):
    """What an identifier names."""

    MERCHANT = "mch"
    API_KEY = "key"
    USER = "usr"
    BINDING = "bnd"
    PAYMENT = "pay"
    REFUND = "rfd"
    OPERATION = "op"
    EVENT = "evt"
    CASE = "case"
    TOKEN = "tok"  # noqa: S105 - a prefix
    ATTEMPT = "att"
    REQUEST = "req"
    WAIVER = "wvr"
    APPROVAL = "apr"
    WEBHOOK_ENDPOINT = "whe"
    WEBHOOK_SECRET = "whs"  # noqa: S105 - a prefix
    WEBHOOK_TEST = "wht"
    SIGNING_KEY = "sgk"
    OPERATOR = "opr"
    SESSION = "ses"
    DECISION = "dec"
    RESTRICTION = "rst"
    PAYEE = "pye"
    PAYOUT = "po"
    REVIEW = "rev"
    RISK_DECISION = "rsk"
    SCREENING_MATCH = "scm"
    SETTLEMENT = "stl"
    RECEIVING_ACCOUNT = "rca"
    INBOUND = "inb"
    INBOUND_RETURN = "inr"
    FX_MANDATE = "fxm"
    FX = "fx"
    RETAINED_RECORD = "ret"
    RETENTION_KEY = "rtk"
    RETENTION_HOLD = "rth"
    ERASURE = "ers"
    CLOSURE = "cls"
    DISPUTE = "dsp"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ULID_PATTERN = r"[0-9A-HJKMNP-TV-Z]{26}"


class BankStep(StrEnum):
    """The steps that a bank numbers on its own; one letter pair each, so that a request number stays 28 long."""

    SIGN = "SG"
    UNSIGN = "US"
    PAYMENT_CODE = "PC"
    VERIFY_CODE = "VC"
    DEBIT = "DB"
    REFUND = "RF"
    LATE_REFUND = "LR"
    PAYOUT = "PO"
    FX_CONVERSION = "FX"
    FX_REVERSAL = "FR"
    INBOUND_RETURN = "IR"
    RECEIVING_ACCOUNT = "RA"
    ERASURE_NOTICE = "EN"


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def derived_ulid(at: datetime, *parts: str) -> str:
    """A ULID of an instant, the same whenever it is made of the same parts: a second attempt makes no second."""
    milliseconds = (at - _EPOCH) // timedelta(milliseconds=1)
    digest = int.from_bytes(hashlib.sha256("\x00".join(parts).encode()).digest()[:10])
    return _crockford(milliseconds, 10) + _crockford(digest, 16)


def _crockford(number: int, length: int) -> str:
    return "".join(_CROCKFORD[number >> 5 * place & 31] for place in reversed(range(length)))


def identifier(prefix: IdPrefix, ulid: str) -> str:
    """`pay` and a ULID become `pay_01J…`."""
    return f"{prefix.value}_{ulid}"


def is_identifier(value: str, prefix: IdPrefix) -> bool:
    """Whether a value has the shape of an identifier of that prefix."""
    return re.fullmatch(f"{prefix.value}_{ULID_PATTERN}", value) is not None


def request_number(step: BankStep, instruction_id: str, attempt: int = 0) -> str:
    """The number under which a bank knows one step of one instruction: 28 to 30 characters, `[A-Z0-9]`.

    `attempt` counts what is tried anew on purpose: a resent code, a second guess, a step after the bank's final no to
    the one before. A retry of what may have arrived keeps its number.
    """
    ulid = instruction_id.rsplit("_", 1)[-1]
    suffix = f"{attempt:02d}" if attempt else ""
    return f"{step.value}{ulid}{suffix}"
