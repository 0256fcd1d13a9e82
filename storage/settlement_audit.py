"""Whether settlements and the ledger agree, to the fen: what is owed is settled, under way or still to be settled."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

# Each answers what is wrong; none is good.
CHECKS: dict[str, str] = {
    "a settlement's lines do not add up to its report": """
        SELECT s.id FROM app.settlement_report s LEFT JOIN app.settlement_line l ON l.settlement_id = s.id
        GROUP BY s.id HAVING s.net_minor + s.brought_forward_minor <> coalesce(sum(l.net_minor), 0)
            OR s.gross_minor <> coalesce(sum(l.amount_minor) FILTER (WHERE l.kind = 'payment'), 0)
            OR s.fees_minor <> coalesce(sum(l.fee_minor) FILTER (WHERE l.kind = 'payment'), 0)
            OR s.payment_count <> count(*) FILTER (WHERE l.kind = 'payment')
            OR s.refund_count <> count(*) FILTER (WHERE l.kind <> 'payment')""",
    "a settlement brought forward another sum than it cleared": """
        SELECT s.id FROM app.settlement_report s LEFT JOIN app.merchant_receivable r ON r.cleared_by = s.id
        GROUP BY s.id HAVING s.brought_forward_minor <> coalesce(sum(r.amount_minor), 0)""",
    "a shortfall is not a receivable, or the other way round": """
        SELECT s.id FROM app.settlement_report s LEFT JOIN app.merchant_receivable r ON r.settlement_id = s.id
        WHERE greatest(-s.net_minor, 0) <> coalesce(r.amount_minor, 0)""",
    "a settlement was paid otherwise than its payouts say": """
        SELECT s.id FROM app.settlement_report s LEFT JOIN app.payout p
            ON p.kind = 'merchant_settlement' AND p.mandate_reference = s.id AND p.state = 'succeeded'
        GROUP BY s.id HAVING coalesce(sum(p.amount_minor), 0)
            <> CASE s.state WHEN 'paid' THEN s.net_minor ELSE 0 END""",
    # Posted = settled and not paid - receivables + not settled yet + refunds under way, whose money is held.
    "what is owed to a merchant is not what is settled, under way and to be settled": """
        SELECT a.code FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
        LEFT JOIN (
            SELECT x.merchant_id, x.currency, sum(x.minor) AS minor FROM (
                SELECT s.merchant_id, s.currency, s.net_minor AS minor FROM app.settlement_report s
                    WHERE s.net_minor > 0 AND s.state <> 'paid'
                UNION ALL SELECT r.merchant_id, r.currency, -r.amount_minor FROM app.merchant_receivable r
                    WHERE r.cleared_by IS NULL
                UNION ALL SELECT p.merchant_id, p.currency, p.amount_minor - p.fee_minor FROM app.payment p
                    WHERE p.payee_kind = 'merchant' AND p.state = 'succeeded' AND NOT EXISTS (
                        SELECT 1 FROM app.settlement_line l WHERE l.kind = 'payment' AND l.subject_id = p.id)
                UNION ALL SELECT r.merchant_id, r.currency, (r.amount_minor - r.fee_back_minor) * (
                        (r.state NOT IN ('succeeded', 'failed'))::int - (r.state <> 'failed' AND l.kind IS NULL)::int
                        + (r.state = 'failed' AND l.kind IS NOT NULL AND f.kind IS NULL)::int)
                    FROM app.refund r JOIN app.payment p ON p.id = r.payment_id AND p.payee_kind = 'merchant'
                    LEFT JOIN app.settlement_line l ON l.kind = 'refund' AND l.subject_id = r.id
                    LEFT JOIN app.settlement_line f ON f.kind = 'refund_failed' AND f.subject_id = r.id) x
            GROUP BY 1, 2) o ON a.code = 'merchant_pending:' || o.merchant_id || ':' || o.currency
        WHERE a.code LIKE 'merchant_pending:%' AND b.posted <> coalesce(o.minor, 0)""",
}


async def settlement_findings(engine: AsyncEngine) -> list[str]:
    """A sentence for each rule that does not hold, with the first five that break it. In one snapshot."""
    found: list[str] = []
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        for sentence, statement in CHECKS.items():
            wrong = (await connection.execute(sa.text(statement))).scalars().all()
            found += [f"{sentence}: {', '.join(wrong[:5])} ({len(wrong)})"] if wrong else []
    return found
