"""What a bank deletes of its own when it is told to, request by request, and what it keeps by what right.

Bookings, and whom they name, are kept by law. The holder of an account is kept while an agreement on it is in force:
it is the holder's own, whichever merchant it serves. What an application brought is deleted with the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, delete, or_, select, update

from banks.simulator.protocol import KeptReason, Status
from banks.simulator.tables import (
    accounts,
    agreements,
    applications,
    authorisations,
    fx_deals,
    inbound_remittances,
    instructions,
    messages,
    payment_codes,
    payouts,
    receiving_accounts,
)

Kept = KeptReason | None


def erase(connection: Connection, bank_code: str, request_numbers: Iterable[str], now: int) -> list[KeptReason]:
    """Deletes what may be deleted of these requests; answers why something of the others is kept, one reason each."""
    holders = {number: _drop_applications(connection, bank_code, number) for number in request_numbers}
    found = (_erase_one(connection, bank_code, number, held, now) for number, held in holders.items())
    return [reason for reason in found if reason is not None]


def _erase_one(connection: Connection, bank_code: str, number: str, holders: set[int], now: int) -> Kept:
    reasons = [eraser(connection, bank_code, number) for eraser in _ERASERS]
    reasons += [_erase_holder(connection, account_id, now) for account_id in holders]
    return "law" if "law" in reasons else next(filter(None, reasons), None)


def _of(table: Any, bank_code: str, number: str) -> Any:
    return (table.c.bank_code == bank_code) & (table.c.request_number == number)


def _drop_applications(connection: Connection, bank_code: str, number: str) -> set[int]:
    """Deletes the applications under a number, with the agreement that came of one, unless that is in force; answers
    whose accounts they were for.
    """
    rows = connection.execute(select(applications).where(_of(applications, bank_code, number))).all()
    for row in rows:
        if not _is_in_force(connection, agreements.c.agreement_number == row.agreement_number):
            connection.execute(delete(applications).where(applications.c.application_id == row.application_id))
            connection.execute(delete(messages).where(_of(messages, bank_code, number)))
            _erase_agreement(connection, row.agreement_number)
    return {row.account_id for row in rows}


def _is_in_force(connection: Connection, condition: Any) -> bool:
    query = select(agreements.c.agreement_number).where(condition, agreements.c.ended_at.is_(None))
    return connection.execute(query.limit(1)).first() is not None


def _erase_agreement(connection: Connection, agreement_number: str | None) -> None:
    """An agreement that has ended, and the codes that were texted for payments under it."""
    codes = payment_codes.c.agreement_number == agreement_number
    _erase_codes(connection, codes)
    connection.execute(delete(agreements).where(agreements.c.agreement_number == agreement_number))


def _erase_codes(connection: Connection, condition: Any) -> None:
    rows = connection.execute(select(payment_codes).where(condition)).all()
    for row in rows:
        this = row.payment_code_id
        connection.execute(delete(authorisations).where(authorisations.c.payment_code_id == this))
        connection.execute(delete(messages).where(_of(messages, row.bank_code, row.request_number)))
        connection.execute(delete(payment_codes).where(payment_codes.c.payment_code_id == this))


def _erase_holder(connection: Connection, account_id: int, now: int) -> Kept:
    """The four elements, unless an agreement serves the holder, or is about to. The account stays with its bookings,
    and is nobody's.
    """
    about_to = select(applications.c.application_id).where(
        applications.c.account_id == account_id,
        applications.c.agreement_number.is_(None),
        applications.c.expires_at > now,
    )
    is_about_to = connection.execute(about_to.limit(1)).first() is not None
    if is_about_to or _is_in_force(connection, agreements.c.account_id == account_id):
        return "own_authorisation"
    nobody = {"name": None, "id_number": None, "mobile": None, "card_number": None}
    connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(nobody))
    return None


def _erase_payment_code(connection: Connection, bank_code: str, number: str) -> Kept:
    _erase_codes(connection, _of(payment_codes, bank_code, number))
    return None


def _keep_booking(connection: Connection, bank_code: str, number: str) -> Kept:
    booked = select(instructions.c.instruction_id).where(
        _of(instructions, bank_code, number), instructions.c.status != Status.FAILED
    )
    return "law" if connection.execute(booked.limit(1)).first() is not None else None


def _erase_payout(connection: Connection, bank_code: str, number: str) -> Kept:
    """A payout that was declined; the payee of any other is a part of the booking."""
    this = _of(payouts, bank_code, number)
    connection.execute(delete(payouts).where(this, payouts.c.status == Status.FAILED))
    return "law" if connection.execute(select(payouts.c.payout_id).where(this).limit(1)).first() is not None else None


def _erase_deal(connection: Connection, bank_code: str, number: str) -> Kept:
    """Whose quota a declined deal would have used; that of a dealt one is registered."""
    this = _of(fx_deals, bank_code, number)
    connection.execute(
        update(fx_deals).where(this, fx_deals.c.status == Status.FAILED).values(name=None, id_number=None)
    )
    named = or_(fx_deals.c.name.is_not(None), fx_deals.c.id_number.is_not(None))
    return "law" if connection.execute(select(fx_deals.c.deal_id).where(this, named).limit(1)).first() else None


def _erase_receiving_account(connection: Connection, bank_code: str, number: str) -> Kept:
    """A number that nothing has reached is closed; what has reached the others was booked for their holder."""
    this = _of(receiving_accounts, bank_code, number)
    rows = connection.execute(select(receiving_accounts.c.account_number).where(this)).scalars().all()
    reached = select(inbound_remittances.c.reference).where(
        inbound_remittances.c.bank_code == bank_code, inbound_remittances.c.account_number.in_(rows)
    )
    if connection.execute(reached.limit(1)).first() is not None:
        return "law"
    connection.execute(delete(receiving_accounts).where(this))
    return None


# Each finds what came under the number, if it is one of its own. The memory of numbers is no guide: it is shorter.
_ERASERS: tuple[Callable[[Connection, str, str], Kept], ...] = (
    _erase_payment_code,
    _keep_booking,
    _erase_payout,
    _erase_deal,
    _erase_receiving_account,
)
