"""The desks' own registration of what individuals settle in a calendar year, in USD (L9)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from banks.signatures import instant_from_milliseconds
from banks.simulator.agreements import forced_decline
from banks.simulator.books import SHANGHAI
from banks.simulator.faults import FaultKind
from banks.simulator.fx_offers import ANSWERS_QUOTA
from banks.simulator.fx_protocol import OfficialQuotaBody
from banks.simulator.protocol import Answer, BankCode
from banks.simulator.requests import Call
from banks.simulator.settings import Behaviour
from banks.simulator.tables import fx_quotas
from domain.rates import SCALE, convert


def year_of(now: int) -> int:
    """The calendar year in Shanghai of an instant in Unix milliseconds."""
    return instant_from_milliseconds(now).astimezone(SHANGHAI).year


def in_usd(behaviour: Behaviour, foreign_minor: int, currency: str) -> int:
    """What an amount counts as, in cents of USD, rounded up."""
    rates = {"USD": SCALE, "HKD": behaviour.fx_usd_per_hkd, "JPY": behaviour.fx_usd_per_jpy}
    return convert(foreign_minor, currency, rates[currency], "up").minor


def quota_of(connection: Connection, id_number: str, year: int) -> tuple[int, str]:
    """What a person has used of a year, and how the desks treat an excess: strict, or late."""
    here = (fx_quotas.c.id_number == id_number, fx_quotas.c.year == year)
    row = connection.execute(select(fx_quotas.c.used_usd_minor, fx_quotas.c.mode).where(*here)).one_or_none()
    return (0, "strict") if row is None else (row.used_usd_minor, row.mode)


def set_quota(connection: Connection, id_number: str, year: int, used_usd_minor: int, mode: str) -> None:
    """Replaces what the desks know of a person's year."""
    known = {"used_usd_minor": used_usd_minor, "mode": mode}
    row = insert(fx_quotas).values(id_number=id_number, year=year, **known)
    connection.execute(row.on_conflict_do_update(index_elements=["id_number", "year"], set_=known))


def is_counted(row: dict[str, Any]) -> bool:
    """Whether a deal counts: an individual's that is no trade (A5.2d)."""
    return row["id_number"] is not None and not row["is_trade"]


def is_over_quota(connection: Connection, behaviour: Behaviour, row: dict[str, Any], now: int) -> bool:
    """Whether a conversion would exceed the quota, and the desk notices before it deals."""
    if not is_counted(row):
        return False
    used, mode = quota_of(connection, row["id_number"], year_of(now))
    wanted = in_usd(behaviour, row["foreign_minor"], row["foreign_currency"])
    return mode == "strict" and used + wanted > behaviour.fx_quota_usd_minor


def count_deal(connection: Connection, behaviour: Behaviour, row: dict[str, Any], year: int) -> None:
    """Counts a conversion, or takes a reversal off the year that its conversion was counted in."""
    if not is_counted(row):
        return
    used, mode = quota_of(connection, row["id_number"], year)
    usd_minor = in_usd(behaviour, row["foreign_minor"], row["foreign_currency"])
    used += usd_minor if row["kind"] == "conversion" else -usd_minor
    set_quota(connection, row["id_number"], year, max(0, used), mode)


def official_quota(call: Call, body: OfficialQuotaBody) -> Answer:
    """What is left of a person's year; a bank that does not offer the question says so."""
    if call.fault is not None and call.fault.kind is FaultKind.ANSWER_FORGED:
        return call.declined(BankCode.SYSTEM_DECLINED)
    wrong = forced_decline(call) or (None if call.bank_code in ANSWERS_QUOTA else BankCode.NOT_OFFERED)
    if wrong is not None:
        return call.declined(wrong)
    used, _ = quota_of(call.connection, body.id_number, body.year)
    left = call.behaviour.fx_quota_usd_minor - used
    return call.succeeded(year=body.year, remaining_usd_minor=max(0, left), is_exceeded=left < 0)
