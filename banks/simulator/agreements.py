"""Signing and ending payment agreements: four elements, a texted code, an agreement number."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Connection, insert, select, update

from banks.simulator.books import account_by_card, open_account, shown_instant
from banks.simulator.cards import BANK_NAMES, card_product
from banks.simulator.faults import FaultKind
from banks.simulator.protocol import Answer, BankCode, SignApplicationBody, SignConfirmationBody, UnsignBody
from banks.simulator.requests import Call
from banks.simulator.tables import accounts, agreements, applications, messages


def forced_decline(call: Call) -> BankCode | None:
    """The decline that a fault orders for this request, if any."""
    return call.fault.code if call.fault is not None and call.fault.kind is FaultKind.DECLINE else None


def new_code() -> str:
    """Six random digits."""
    return f"{secrets.randbelow(1_000_000):06d}"


def apply_to_sign(call: Call, body: SignApplicationBody) -> Answer:
    """Compares the elements with the account (or opens one for a new test card) and texts a code to its
    mobile.
    """
    forced = forced_decline(call)
    if forced is not None:
        return call.declined(forced)
    product = card_product(call.bank_code, body.card_number)
    if product is None:
        return call.declined(BankCode.CARD_NOT_FOUND)
    account = account_by_card(call.connection, call.bank_code, body.card_number)
    mismatch = _mismatch(account, body) if account is not None else None
    if mismatch is not None:
        return call.declined(mismatch)
    account_id = account.account_id if account is not None else _open(call, product.card_type, body)
    expires_at = call.now + int(call.behaviour.code_validity_seconds * 1000)
    code = new_code()
    call.connection.execute(
        insert(applications).values(
            bank_code=call.bank_code,
            request_number=call.request_number,
            account_id=account_id,
            code=code,
            expires_at=expires_at,
            attempts_left=call.behaviour.code_attempts,
        )
    )
    text = f"验证码{code}，用于签约快捷支付。Code for quick pay sign-up."
    text_code(call, body.mobile, purpose="sign", code=code, expires_at=expires_at, text=text)
    return call.succeeded(code_expires_at=shown_instant(expires_at))


def _open(call: Call, card_type: str, body: SignApplicationBody) -> int:
    balance = call.behaviour.opening_balance_minor
    return open_account(
        call.connection, call.bank_code, card_type=card_type, body=body, balance_minor=balance, now=call.now
    )


def _mismatch(account: Any, body: SignApplicationBody) -> BankCode | None:
    checks = (
        (account.name, body.name, BankCode.NAME_NOT_MATCHED),
        (account.id_number, body.id_number, BankCode.ID_NOT_MATCHED),
        (account.mobile, body.mobile, BankCode.MOBILE_NOT_MATCHED),
    )
    return next((code for ours, given, code in checks if ours != given), None)


def text_code(call: Call, mobile: str, *, purpose: str, code: str, expires_at: int, text: str) -> None:
    """Sends a text message: it appears on the payer's phone (`GET /control/messages`)."""
    call.connection.execute(
        insert(messages).values(
            bank_code=call.bank_code,
            mobile=mobile,
            purpose=purpose,
            request_number=call.request_number,
            code=code,
            text=f"【{BANK_NAMES[call.bank_code][0]}】{text}",
            sent_at=call.now,
            expires_at=expires_at,
        )
    )


def check_code(call: Call, row: Any, given: str, used: bool) -> tuple[BankCode | None, int]:
    """What is wrong with a code, if anything, and how many attempts are left after this one."""
    forced = forced_decline(call)
    if used:
        return BankCode.CODE_USED, row.attempts_left
    if row.attempts_left < 1:
        return BankCode.CODE_TOO_MANY_ATTEMPTS, 0
    if forced is BankCode.CODE_EXPIRED or call.now >= row.expires_at:
        return BankCode.CODE_EXPIRED, row.attempts_left
    if forced is not None and forced is not BankCode.CODE_WRONG:
        return forced, row.attempts_left
    if forced is BankCode.CODE_WRONG or not secrets.compare_digest(row.code, given):
        return BankCode.CODE_WRONG, row.attempts_left - 1
    return None, row.attempts_left


def confirm_sign(call: Call, body: SignConfirmationBody) -> Answer:
    """A right code turns an application into an agreement, once; a wrong one costs an attempt."""
    row = call.connection.execute(
        select(applications)
        .where(
            applications.c.bank_code == call.bank_code,
            applications.c.request_number == body.application_request_number,
        )
        .order_by(applications.c.application_id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return call.declined(BankCode.APPLICATION_NOT_FOUND)
    wrong, left = check_code(call, row, body.code, used=row.agreement_number is not None)
    this_application = applications.c.application_id == row.application_id
    if wrong is not None:
        call.connection.execute(update(applications).where(this_application).values(attempts_left=left))
        return call.declined(wrong, attempts_left=left)
    number = f"{call.bank_code}AG{secrets.token_hex(8).upper()}"
    call.connection.execute(
        insert(agreements).values(
            agreement_number=number, bank_code=call.bank_code, account_id=row.account_id, signed_at=call.now
        )
    )
    call.connection.execute(update(applications).where(this_application).values(agreement_number=number))
    return call.succeeded(agreement_number=number)


def unsign(call: Call, body: UnsignBody) -> Answer:
    """Ends an agreement; one that has ended already is a success too."""
    forced = forced_decline(call)
    if forced is not None:
        return call.declined(forced)
    row = agreement_with_account(call.connection, call.bank_code, body.agreement_number)
    if row is None:
        return call.declined(BankCode.AGREEMENT_NOT_FOUND)
    if row.ended_at is None:
        call.connection.execute(
            update(agreements).where(agreements.c.agreement_number == body.agreement_number).values(ended_at=call.now)
        )
    return call.succeeded()


def agreement_with_account(connection: Connection, bank_code: str, agreement_number: str) -> Any:
    """The agreement with its account's id, card and mobile, or None."""
    return connection.execute(
        select(agreements, accounts.c.card_number, accounts.c.mobile)
        .join(accounts, accounts.c.account_id == agreements.c.account_id)
        .where(agreements.c.bank_code == bank_code, agreements.c.agreement_number == agreement_number)
    ).one_or_none()
