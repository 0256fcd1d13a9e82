"""Which card a request is about, so that fault cards can misbehave at every operation."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from banks.simulator.agreements import agreement_with_account
from banks.simulator.protocol import Body, PayoutBody, SignApplicationBody
from banks.simulator.tables import accounts, applications, instructions, payment_codes


def card_behind_request(connection: Connection, bank_code: str, body: Body) -> str | None:
    """The card a request is about, or the account it pays, for faults by its number; None if it is about neither."""
    if isinstance(body, SignApplicationBody):
        return body.card_number
    if isinstance(body, PayoutBody):
        return body.account_number
    named = body.model_dump()
    if "agreement_number" in named:
        row = agreement_with_account(connection, bank_code, named["agreement_number"])
        return row.card_number if row is not None else None
    if "application_request_number" in named:
        return _card_behind(connection, applications, bank_code, named["application_request_number"])
    if "debit_request_number" in named:
        return _card_behind(connection, instructions, bank_code, named["debit_request_number"])
    return _card_behind_code(connection, bank_code, named.get("code_request_number", ""))


def _card_behind_code(connection: Connection, bank_code: str, request_number: str) -> str | None:
    agreement_number = connection.execute(
        select(payment_codes.c.agreement_number).where(
            payment_codes.c.bank_code == bank_code,
            payment_codes.c.request_number == request_number,
        )
    ).scalar()
    row = agreement_with_account(connection, bank_code, agreement_number or "")
    return row.card_number if row is not None else None


def _card_behind(connection: Connection, table: Any, bank_code: str, request_number: str) -> str | None:
    return connection.execute(
        select(accounts.c.card_number)
        .join(table, table.c.account_id == accounts.c.account_id)
        .where(table.c.bank_code == bank_code, table.c.request_number == request_number)
        .limit(1)
    ).scalar()
