"""The daily statement file: what was booked on the institution's reserve account on one Shanghai date."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select

from banks.simulator.books import CURRENCY, business_day_bounds, shown_instant
from banks.simulator.tables import accounts, movements


def statement_rows(connection: Connection, bank_code: str, day: datetime) -> list[Any]:
    """What was booked on the institution's reserves, in whatever currency, on one Shanghai date, oldest first; columns
    as in the file, and `goes_out`.
    """
    start, end = business_day_bounds(day)
    source, target = accounts.alias(), accounts.alias()
    goes_out = source.c.kind == "reserve"
    columns = (
        movements.c.bank_reference,
        movements.c.request_number,
        movements.c.kind,
        movements.c.booked_at,
        movements.c.amount_minor,
        movements.c.currency,
        goes_out.label("goes_out"),
    )
    return list(
        connection.execute(
            select(*columns)
            .join(source, source.c.account_id == movements.c.from_account)
            .join(target, target.c.account_id == movements.c.to_account)
            .where(
                movements.c.bank_code == bank_code,
                or_(goes_out, target.c.kind == "reserve"),
                movements.c.booked_at >= start,
                movements.c.booked_at < end,
            )
            .order_by(movements.c.movement_id)
        )
    )


def statement_csv(rows: list[Any]) -> str:
    """CSV with a header, one line a movement (what went out is negative), and for each currency a closing line of count
    and sum; that of CNY is always there.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("bank_reference", "request_number", "operation", "booked_at", "amount_minor", "currency"))
    totals, counts = Counter({CURRENCY: 0}), Counter({CURRENCY: 0})
    for row in rows:
        signed = -row.amount_minor if row.goes_out else row.amount_minor
        totals[row.currency] += signed
        counts[row.currency] += 1
        writer.writerow(
            (
                row.bank_reference,
                row.request_number,
                row.kind,
                shown_instant(row.booked_at),
                signed,
                row.currency,
            )
        )
    for currency, total in totals.items():
        writer.writerow(("TOTAL", counts[currency], "", "", total, currency))
    return out.getvalue()
