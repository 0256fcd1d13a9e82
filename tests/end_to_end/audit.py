"""Compares everything that has to agree: our instructions, our ledger, the banks' books, our records.

Each check answers sentences about what is wrong; none is good. Instructions that are still on their way may differ from
the bank's books, but only they may.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, NamedTuple

import httpx
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.states import PAYOUT_UNSENT_STATES
from ledger.verify import verify
from storage.settlement_audit import settlement_findings
from tests.end_to_end.fx_audit import NO_FX_ROWS_ALLOWED, OUR_FX

LIVE = {
    "payment": ("awaiting_code", "ready", "sending", "unknown", "late_refunding"),
    "refund": ("ready", "sending", "unknown"),
    "binding": ("accepted", "applying", "awaiting_code", "unbinding"),
    "payout": (*sorted(PAYOUT_UNSENT_STATES), "sending", "unknown"),
    "fx": ("waiting", "sending", "unknown", "converted", "returning"),
    "inbound_return": ("ready", "sending", "unknown"),
    "receiving_account": ("opening",),
}
# What the banks book under a number of its own; under that of something else, only what is named here with it.
_MOVES = ("debits", "refunds", "payouts", "inbound_returns", "remittances", "deals", "deliveries")
_OF_DEALS = {"deals": "CNY of ", "deliveries": "delivery of "}
# A request number without the attempt that it may end with: what it is a number of.
_NUMBER_LENGTH = 28
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
    "a limit counts other payments and payouts than those that take from it": """
        SELECT coalesce(u.subject, t.subject) FROM app.limit_usage u
        FULL JOIN (SELECT l.subject, l.window_kind, l.window_start, p.currency, sum(p.amount_minor) AS total
                   FROM (SELECT amount_minor, currency, limit_reservations FROM app.payment WHERE NOT limits_released
                         UNION ALL SELECT amount_minor, currency, limit_reservations FROM app.payout
                         WHERE NOT limits_released) p
                   CROSS JOIN LATERAL jsonb_to_recordset(p.limit_reservations)
                       AS l(subject text, window_kind text, window_start date) GROUP BY 1, 2, 3, 4) t
            USING (subject, window_kind, window_start, currency)
        WHERE coalesce(u.used_minor, 0) <> coalesce(t.total, 0)
            -- What forgotten users took of a card's or an account's is still counted; who they were nobody knows.
            AND NOT (u.subject LIKE ANY ('{card:%,payee:%}') AND u.used_minor > coalesce(t.total, 0)
                AND EXISTS (SELECT 1 FROM app.end_user e WHERE e.state = 'closed'))""",
    "the last event of a payout is missing": """
        SELECT p.id FROM app.payout p
        WHERE p.event_sequence <> (SELECT max(e.sequence) FROM app.event e WHERE e.object_id = p.id)""",
    "an accepted payout has no record of its acceptance": """
        SELECT p.id FROM app.payout p WHERE p.kind <> 'merchant_settlement' AND NOT EXISTS (
            SELECT 1 FROM app.operation o
            WHERE o.subject_id = p.id AND o.action = 'accept_payout' AND o.outcome = 'done')""",
    "an ended payout has no record of its end": """
        SELECT p.id FROM app.payout p WHERE p.state IN ('succeeded', 'returned', 'failed', 'refused', 'closed')
            AND NOT EXISTS (SELECT 1 FROM app.operation o
                WHERE o.subject_id = p.id AND o.action <> 'accept_payout' AND o.at >= p.state_since)""",
    "a payout has an outcome that its bank steps contradict": """
        SELECT p.id FROM app.payout p LEFT JOIN app.effect e
            ON e.subject_id = p.id AND e.step = 'PO' AND e.outcome = 'succeeded'
        WHERE p.concluded_by IS NULL AND (p.state IN ('succeeded', 'returned')) <> (e.request_number IS NOT NULL)""",
    "a payout succeeded under two numbers": """
        SELECT e.subject_id FROM app.effect e WHERE e.step = 'PO' AND e.outcome = 'succeeded'
        GROUP BY e.subject_id HAVING count(*) > 1""",
    "a payout that has ended still holds money": """
        SELECT p.id FROM app.payout p JOIN ledger.transfer h ON h.instruction = p.id AND h.action = 'hold'
        WHERE p.state IN ('succeeded', 'returned', 'failed', 'refused', 'closed') AND h.kind IN ('payout', 'fee')
            AND NOT EXISTS (SELECT 1 FROM ledger.transfer e WHERE e.hold_id = h.id)""",
    "a payout that ended without money having left has posted some, or one that left has not": """
        SELECT p.id FROM app.payout p LEFT JOIN ledger.transfer t
            ON t.instruction = p.id AND t.kind = 'payout' AND t.action = 'post_hold'
        GROUP BY p.id, p.state, p.amount_minor
        HAVING coalesce(sum(t.amount), 0)
            <> CASE WHEN p.state IN ('succeeded', 'returned') THEN p.amount_minor ELSE 0 END""",
    "a payout came back and is not on the balance again, or the other way round": """
        SELECT p.id FROM app.payout p LEFT JOIN ledger.transfer t ON t.instruction = p.id AND t.kind = 'payout_return'
        GROUP BY p.id, p.state, p.amount_minor
        HAVING coalesce(sum(t.amount), 0) <> CASE p.state WHEN 'returned' THEN p.amount_minor ELSE 0 END""",
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
    found += await settlement_findings(engine)
    async with engine.connect() as connection:
        for sentence, statement in (_NO_ROWS_ALLOWED | NO_FX_ROWS_ALLOWED).items():
            wrong = (await connection.execute(sa.text(statement))).scalars().all()
            found += [f"{sentence}: {wrong[:5]} ({len(wrong)})"] if wrong else []
        ours = await _our_instructions(connection)
        reserves = await _reserves(connection)
    for bank_code, bank in theirs["banks"].items():
        found += compare_with_bank(bank_code, bank, ours, reserves)
    return found


async def settled_findings(engine: AsyncEngine, simulator: str, within_seconds: float = 15) -> list[str]:
    """What stays wrong when what is under way has had its time."""
    deadline = time.monotonic() + within_seconds
    while True:
        found = await findings(engine, simulator)
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.5)


class Ours(NamedTuple):
    """One instruction as our books have it: `way` in or out, `standing` settled, returned, live or none."""

    bank_code: str = ""
    way: str = ""
    standing: str = "unknown to us"
    amount_minor: int = 0
    currency: str = "CNY"


async def _our_instructions(connection: Any) -> dict[str, Ours]:
    """By request number, without the attempt."""
    rows = await connection.execute(
        sa.text("""
        SELECT 'DB' || split_part(id, '_', 2) AS number, bank_code, 'in' AS way, amount_minor, currency,
               CASE WHEN state = ANY(:debited) THEN 'settled' WHEN state IN ('sending', 'unknown') THEN 'live'
                    ELSE 'none' END AS standing FROM app.payment
        UNION ALL SELECT 'LR' || split_part(id, '_', 2), bank_code, 'out', amount_minor, currency,
               CASE state WHEN 'late_refunded' THEN 'settled' WHEN 'late_refunding' THEN 'live' ELSE 'none' END
               FROM app.payment
        UNION ALL SELECT 'RF' || split_part(id, '_', 2), bank_code, 'out', amount_minor, currency,
               CASE state WHEN 'succeeded' THEN 'settled' WHEN 'failed' THEN 'none' ELSE 'live' END FROM app.refund
        UNION ALL SELECT 'PO' || split_part(id, '_', 2), bank_code, 'out', amount_minor, currency,
               CASE WHEN state = 'succeeded' THEN 'settled' WHEN state = 'returned' THEN 'returned'
                    WHEN state IN ('sending', 'unknown') THEN 'live' ELSE 'none' END FROM app.payout"""),
        {"debited": list(_DEBITED)},
    )
    found = [*rows, *await connection.execute(sa.text(OUR_FX))]
    return {row.number: Ours(row.bank_code, row.way, row.standing, row.amount_minor, row.currency) for row in found}


async def _reserves(connection: Any) -> dict[tuple[str, str], int]:
    rows = await connection.execute(
        sa.text("""SELECT split_part(a.code, ':', 2) AS bank, a.currency, b.posted FROM ledger.account a
                   JOIN ledger.balance b ON b.account_id = a.id WHERE a.kind = 'reserve'""")
    )
    return {(row.bank, row.currency): row.posted for row in rows}


def _booked(bank: dict[str, Any], *kinds: str) -> Counter[str]:
    """How often the bank booked each instruction, under whatever number."""
    booked: Counter[str] = Counter()
    for kind in kinds:
        per = "reference" if kind == "remittances" else "request_number"
        for number, times in bank[f"{kind}_per_{per}"].items():
            booked[_OF_DEALS.get(kind, "") + (number if kind == "remittances" else number[:_NUMBER_LENGTH])] += times
    return booked


def compare_with_bank(
    bank_code: str, bank: dict[str, Any], ours: dict[str, Ours], reserves: dict[tuple[str, str], int]
) -> list[str]:
    """What of one bank's books (`GET /control/books`) does not agree with ours."""
    return [
        *_compare_bookings(bank_code, bank, ours),
        *_compare_returns(bank_code, bank, ours),
        *_compare_reserves(bank_code, bank, ours, reserves),
    ]


def _compare_bookings(bank_code: str, bank: dict[str, Any], ours: dict[str, Ours]) -> list[str]:
    booked = _booked(bank, *_MOVES)
    found = [f"{bank_code} booked {number} {times} times" for number, times in booked.items() if times != 1]
    for number in booked:
        its = ours.get(number, Ours())
        if its.bank_code != bank_code or its.standing in ("none", "unknown to us"):
            found.append(f"{bank_code} booked {number}, which is {its.standing} in our books")
    for number, its in ours.items():
        if its.bank_code == bank_code and its.standing in ("settled", "returned") and number not in booked:
            found.append(f"we settled {number}, which {bank_code} never booked")
    return found


def _compare_returns(bank_code: str, bank: dict[str, Any], ours: dict[str, Ours]) -> list[str]:
    """What payees' banks sent back is back in our books, and only that; once."""
    returned = _booked(bank, "returns")
    found = [f"{bank_code} took {number} back {times} times" for number, times in returned.items() if times != 1]
    for number in returned:
        standing = ours.get(number, Ours()).standing
        if standing not in ("returned", "live"):
            found.append(f"{bank_code} took {number} back, which is {standing} in our books")
    for number, its in ours.items():
        if its.bank_code == bank_code and its.standing == "returned" and number not in returned:
            found.append(f"we have {number} back, which {bank_code} never took back")
    return found


def _compare_reserves(
    bank_code: str, bank: dict[str, Any], ours: dict[str, Ours], reserves: dict[tuple[str, str], int]
) -> list[str]:
    on_its_way: Counter[str] = Counter()
    booked, returned = _booked(bank, *_MOVES), _booked(bank, "returns")
    for number in booked:
        its = ours.get(number, Ours())
        if its.standing == "live":
            on_its_way[its.currency] += its.amount_minor if its.way == "in" else -its.amount_minor
            on_its_way[its.currency] += its.amount_minor if number in returned else 0
    found = []
    for currency, holds in bank["reserves"].items():
        # What a test put in is in no book of ours.
        theirs, reserve = holds - bank["funded"].get(currency, 0), reserves.get((bank_code, currency), 0)
        if theirs != reserve + on_its_way[currency]:
            way = on_its_way[currency]
            found.append(f"{bank_code} holds {theirs} {currency}, our reserve says {reserve}, {way} is on its way")
    return found
