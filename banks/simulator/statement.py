"""The daily statement file: what was booked on the institution's reserve account on one Shanghai date."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from banks.simulator.books import business_day_bounds, shown_instant
from banks.simulator.protocol import Operation
from banks.simulator.tables import movements


def statement_rows(connection: Connection, bank_code: str, day: datetime) -> list[Any]:
    """Debits and refunds booked on one Shanghai date, oldest first; columns as in the statement file."""
    start, end = business_day_bounds(day)
    columns = (
        movements.c.bank_reference,
        movements.c.request_number,
        movements.c.kind,
        movements.c.booked_at,
        movements.c.amount_minor,
        movements.c.currency,
    )
    return list(
        connection.execute(
            select(*columns)
            .where(
                movements.c.bank_code == bank_code,
                movements.c.kind != "opening",
                movements.c.booked_at >= start,
                movements.c.booked_at < end,
            )
            .order_by(movements.c.movement_id)
        )
    )


def statement_csv(rows: list[Any]) -> str:
    """CSV with a header, one line a movement (refunds negative), and a closing line of count and sum."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("bank_reference", "request_number", "operation", "booked_at", "amount_minor", "currency"))
    total = 0
    for row in rows:
        signed = row.amount_minor if row.kind == Operation.DEBIT.value else -row.amount_minor
        total += signed
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
    writer.writerow(("TOTAL", len(rows), "", "", total, "CNY"))
    return out.getvalue()
