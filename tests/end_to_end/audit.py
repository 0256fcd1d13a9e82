"""Compares everything that has to agree: our instructions, our ledger, the banks' books, our records.

Each check answers sentences about what is wrong; none is good. Instructions that are still on their way may differ from
the bank's books, but only they may.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger.verify import verify

LIVE = {
    "payment": ("awaiting_code", "ready", "sending", "unknown", "late_refunding"),
    "refund": ("ready", "sending", "unknown"),
    "binding": ("accepted", "applying", "awaiting_code", "unbinding"),
}
_DEBITED = ("succeeded", "late_refunding", "late_refunded")
_NO_ROWS_ALLOWED = {
    "an object's events have a gap": """
        SELECT object_id FROM app.event GROUP BY object_id
        HAVING min(sequence) <> 1 OR max(sequence) <> count(*)""",
    "the last event of a payment is missing": """
        SELECT p.id FROM app.payment p
        WHERE p.event_sequence <> (SELECT max(e.sequence) FROM app.event e WHERE e.object_id = p.id)""",
    "an accepted payment has no record of its acceptance": """
        SELECT p.id FROM app.payment p WHERE NOT EXISTS (SELECT 1 FROM app.operation o
            WHERE o.subject_id = p.id AND o.action = 'accept_payment' AND o.outcome = 'done')""",
    "an accepted refund has no record of its acceptance": """
        SELECT r.id FROM app.refund r WHERE NOT EXISTS (SELECT 1 FROM app.operation o
            WHERE o.subject_id = r.id AND o.action = 'accept_refund' AND o.outcome = 'done')""",
    "an accepted application has no record of its acceptance": """
        SELECT b.id FROM app.binding b WHERE NOT EXISTS (SELECT 1 FROM app.operation o
            WHERE o.subject_id = b.id AND o.action = 'accept_binding' AND o.outcome = 'done')""",
    "an ended payment has no record of its end": """
        SELECT p.id FROM app.payment p WHERE p.state IN ('succeeded', 'failed', 'closed', 'late_refunded')
            AND NOT EXISTS (SELECT 1 FROM app.operation o WHERE o.subject_id = p.id AND o.key IS NOT NULL)""",
    "a debit has an outcome that its payment contradicts": """
        SELECT p.id FROM app.payment p JOIN app.effect e ON e.subject_id = p.id AND e.step = 'DB'
        WHERE (p.state IN ('succeeded', 'late_refunding', 'late_refunded') AND e.outcome IS DISTINCT FROM 'succeeded'
               AND p.corrected_at IS NULL) OR (p.state = 'failed' AND e.outcome = 'succeeded')""",
    "a refund has an outcome that its bank step contradicts": """
        SELECT r.id FROM app.refund r LEFT JOIN app.effect e ON e.subject_id = r.id AND e.step = 'RF'
        WHERE r.state = 'succeeded' AND e.outcome IS DISTINCT FROM 'succeeded'""",
    "a payment's sums of refunds are not those of its refunds": """
        SELECT p.id FROM app.payment p LEFT JOIN app.refund r ON r.payment_id = p.id GROUP BY p.id
        HAVING p.refunded_minor <> coalesce(sum(r.amount_minor) FILTER (WHERE r.state = 'succeeded'), 0)
            OR p.refunding_minor <> coalesce(sum(r.amount_minor)
                FILTER (WHERE r.state IN ('ready', 'sending', 'unknown')), 0)""",
    "a limit counts other payments than those that take from it": """
        SELECT coalesce(u.subject, t.subject) FROM app.limit_usage u
        FULL JOIN (SELECT l.subject, l.window_kind, l.window_start, sum(p.amount_minor) AS total FROM app.payment p
                   CROSS JOIN LATERAL jsonb_to_recordset(p.limit_reservations)
                       AS l(subject text, window_kind text, window_start date)
                   WHERE NOT p.limits_released GROUP BY 1, 2, 3) t
            ON (t.subject, t.window_kind, t.window_start) = (u.subject, u.window_kind, u.window_start)
        WHERE coalesce(u.used_minor, 0) <> coalesce(t.total, 0)""",
    "a person's code was claimed and never judged": """
        SELECT a.subject_id FROM app.code_attempt a JOIN app.payment p ON p.id = a.subject_id
        WHERE a.verdict IS NULL AND p.state IN ('succeeded', 'failed', 'closed')""",
}


async def live(engine: AsyncEngine, *kinds: str) -> dict[str, str]:
    """Instructions that have not ended, and where they are: `{id: state}`."""
    found: dict[str, str] = {}
    async with engine.connect() as connection:
        for kind in kinds or LIVE:
            statement = sa.text(f"SELECT id, state FROM app.{kind} WHERE state = ANY(:states)")  # noqa: S608
            rows = await connection.execute(statement, {"states": list(LIVE[kind])})
            found |= {row.id: row.state for row in rows}
    return found


async def books_of_the_banks(simulator: str) -> dict[str, Any]:
    """What `GET /control/books` says."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        answer = await client.get(f"{simulator}/control/books")
    books: dict[str, Any] = answer.raise_for_status().json()
    return books


async def findings(engine: AsyncEngine, simulator: str) -> list[str]:
    """Everything that is wrong now."""
    theirs = await books_of_the_banks(simulator)
    found = [] if theirs["balanced"] else [f"the bank's own books do not balance: {theirs['unbalanced_account_ids']}"]
    report = await verify(engine)
    found += [f"ledger: {finding.code} {finding.where} {finding.detail}" for finding in report.findings]
    found += [f"trial balance: {cur} {sum_}" for cur, sum_ in report.trial_balance_difference.items() if sum_]
    async with engine.connect() as connection:
        for sentence, statement in _NO_ROWS_ALLOWED.items():
            wrong = (await connection.execute(sa.text(statement))).scalars().all()
            found += [f"{sentence}: {wrong[:5]} ({len(wrong)})"] if wrong else []
        ours = await _our_instructions(connection)
        reserves = await _reserves(connection)
    for bank_code, bank in theirs["banks"].items():
        found += _compare(bank_code, bank, ours, reserves.get(bank_code, 0))
    return found


async def settled_findings(engine: AsyncEngine, simulator: str, within_seconds: float = 15) -> list[str]:
    """What stays wrong when what is under way has had its time."""
    deadline = time.monotonic() + within_seconds
    while True:
        found = await findings(engine, simulator)
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.5)


async def _our_instructions(connection: Any) -> dict[str, tuple[str, str, str, int]]:
    """By request number: bank, `in` or `out`, `settled`, `live` or `none` in our books, amount in fen."""
    rows = await connection.execute(
        sa.text("""
        SELECT 'DB' || split_part(id, '_', 2) AS number, bank_code, 'in' AS way, amount_minor,
               CASE WHEN state = ANY(:debited) THEN 'settled' WHEN state IN ('sending', 'unknown') THEN 'live'
                    ELSE 'none' END AS standing FROM app.payment
        UNION ALL SELECT 'LR' || split_part(id, '_', 2), bank_code, 'out', amount_minor,
               CASE state WHEN 'late_refunded' THEN 'settled' WHEN 'late_refunding' THEN 'live' ELSE 'none' END
               FROM app.payment
        UNION ALL SELECT 'RF' || split_part(id, '_', 2), bank_code, 'out', amount_minor,
               CASE state WHEN 'succeeded' THEN 'settled' WHEN 'failed' THEN 'none' ELSE 'live' END FROM app.refund"""),
        {"debited": list(_DEBITED)},
    )
    return {row.number: (row.bank_code, row.way, row.standing, row.amount_minor) for row in rows}


async def _reserves(connection: Any) -> dict[str, int]:
    rows = await connection.execute(
        sa.text("""SELECT split_part(a.code, ':', 2) AS bank, b.posted FROM ledger.account a
                   JOIN ledger.balance b ON b.account_id = a.id WHERE a.kind = 'reserve'""")
    )
    return {row.bank: row.posted for row in rows}


def _compare(
    bank_code: str, bank: dict[str, Any], ours: dict[str, tuple[str, str, str, int]], reserve: int
) -> list[str]:
    booked = Counter(bank["debits_per_request_number"]) + Counter(bank["refunds_per_request_number"])
    found = [f"{bank_code} booked {number} {times} times" for number, times in booked.items() if times != 1]
    on_its_way = 0
    for number in booked:
        owner, way, standing, amount = ours.get(number, ("", "", "unknown to us", 0))
        if owner != bank_code or standing in ("none", "unknown to us"):
            found.append(f"{bank_code} booked {number}, which is {standing} in our books")
        elif standing == "live":
            on_its_way += amount if way == "in" else -amount
    for number, (owner, _, standing, _amount) in ours.items():
        if owner == bank_code and standing == "settled" and number not in booked:
            found.append(f"we settled {number}, which {bank_code} never booked")
    if bank["reserve_balance_minor"] != reserve + on_its_way:
        theirs = bank["reserve_balance_minor"]
        found.append(f"{bank_code} holds {theirs}, our reserve says {reserve} and {on_its_way} is on its way")
    return found
