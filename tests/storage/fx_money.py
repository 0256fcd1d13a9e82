"""What accounts have to show of the rows of foreign currency: each figure as the rows say it, and as the ledger."""

from __future__ import annotations

import sqlalchemy as sa

# Of one user, `:u`, per currency; and of everything that all users share.
EXPECTED = sa.text(
    r"""
    WITH c AS (SELECT * FROM app.fx WHERE kind = 'conversion'), r AS (SELECT * FROM app.fx WHERE kind = 'reversal'),
    figure (code, posted) AS (
        SELECT 'user:' || :u || ':' || k.code,
            (SELECT coalesce(sum(b.amount_minor), 0) FROM app.inbound b
                WHERE b.user_id = :u AND b.currency = k.code AND b.state = 'credited')
            - (SELECT coalesce(sum(c.amount_minor), 0) FROM c
                WHERE c.user_id = :u AND c.currency = k.code AND c.state IN ('converted', 'settled', 'returned'))
            + (SELECT coalesce(sum(r.amount_minor), 0) FROM r
                WHERE r.user_id = :u AND r.currency = k.code AND r.state = 'settled')
        FROM (VALUES ('USD'), ('JPY')) k (code)
        UNION ALL
        SELECT 'user:' || :u || '\:CNY',
            (SELECT coalesce(sum(c.cny_minor), 0) FROM c WHERE c.user_id = :u AND c.state = 'settled')
            - (SELECT coalesce(sum(r.cny_minor - r.shortfall_minor), 0) FROM r
                WHERE r.user_id = :u AND r.state IN ('converted', 'settled')) - :spent
        UNION ALL
        SELECT 'suspense:' || k.code, (SELECT coalesce(sum(b.amount_minor), 0) FROM app.inbound b
            WHERE b.currency = k.code AND b.state IN ('suspense', 'returning'))
        FROM (VALUES ('USD'), ('JPY')) k (code)
        UNION ALL
        SELECT 'reserve:OSPB:' || k.code,
            (SELECT coalesce(sum(b.amount_minor), 0) FROM app.inbound b WHERE b.currency = k.code)
            - (SELECT coalesce(sum(n.amount_minor), 0) FROM app.inbound_return n
                WHERE n.currency = k.code AND n.state = 'succeeded')
            - (SELECT coalesce(sum(c.amount_minor), 0) FROM c WHERE c.currency = k.code AND c.state = 'settled')
            + (SELECT coalesce(sum(r.amount_minor), 0) FROM r WHERE r.currency = k.code AND r.state = 'settled')
        FROM (VALUES ('USD'), ('JPY')) k (code)
        UNION ALL
        SELECT 'fx_position:HBRB:' || k.code, (SELECT coalesce(sum(c.amount_minor), 0) FROM c
            WHERE c.currency = k.code AND c.state = 'converted')
        FROM (VALUES ('USD'), ('JPY')) k (code)
        UNION ALL
        SELECT 'fx_position:HBRB:CNY', (SELECT coalesce(sum(r.cny_minor), 0) FROM r WHERE r.state = 'converted')
        UNION ALL
        SELECT 'receivable:CNY', (SELECT coalesce(sum(v.amount_minor), 0) FROM app.user_receivable v)
        UNION ALL
        SELECT 'receivable:CNY', (SELECT coalesce(sum(r.shortfall_minor), 0) FROM r)
        UNION ALL
        SELECT 'fee_income:CNY', 0)
    SELECT f.code, f.posted, coalesce(b.posted, 0) AS found FROM figure f
    LEFT JOIN ledger.account a ON a.code = f.code LEFT JOIN ledger.balance b ON b.account_id = a.id
    WHERE f.posted <> coalesce(b.posted, 0)
    """
)
# What is held of a user's money, for conversions, reversals and freezes, and nothing else.
HELD = sa.text(
    r"""
    SELECT k.code, coalesce(b.held, 0) AS found,
        (SELECT coalesce(sum(f.held_minor), 0) FROM app.fx f WHERE f.user_id = :u
            AND f.state IN ('waiting', 'sending', 'unknown', 'refused', 'returning')
            AND CASE f.kind WHEN 'conversion' THEN f.currency ELSE 'CNY' END = k.code)
        + (SELECT coalesce(sum(app.frozen_minor(x.id)), 0) FROM app.restriction x
            WHERE x.subject_id = :u AND x.currency = k.code) AS wanted
    FROM (VALUES ('USD'), ('JPY'), ('CNY')) k (code)
    LEFT JOIN ledger.account a ON a.code = 'user:' || :u || ':' || k.code
    LEFT JOIN ledger.balance b ON b.account_id = a.id
    """
)
# Accounts below nought or short of what is held; currencies that do not balance; freezes that lack what is there.
WRONG = sa.text(
    r"""
    SELECT a.code FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
        WHERE b.posted < 0 OR b.held < 0 OR b.held > b.posted
    UNION ALL
    SELECT a.currency FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id GROUP BY a.currency
        HAVING sum(CASE a.normal_side WHEN 'debit' THEN b.posted ELSE -b.posted END) <> 0
    UNION ALL
    SELECT x.id FROM app.restriction x JOIN ledger.account a ON a.code = 'user:' || x.subject_id || ':' || x.currency
        JOIN ledger.balance b ON b.account_id = a.id
        WHERE x.lifted_at IS NULL AND b.posted > b.held AND app.frozen_minor(x.id) < x.amount_minor
    UNION ALL
    SELECT r.id FROM app.fx r JOIN app.fx c ON c.id = r.reversal_of
        WHERE r.rate_difference_minor <> r.share_minor - r.cny_minor OR c.reversed_minor > c.amount_minor
    UNION ALL
    -- What a reversal takes at its desk's bank is held there while it is there, and no longer.
    SELECT r.id FROM app.fx r LEFT JOIN app.fx_quote q ON q.bank_code = r.desk AND q.quote_id = r.quote_id
        LEFT JOIN ledger.transfer h ON h.instruction = r.id AND h.action = 'hold' AND h.currency = 'CNY'
            AND NOT EXISTS (SELECT 1 FROM ledger.transfer e WHERE e.hold_id = h.id)
        WHERE r.kind = 'reversal' GROUP BY r.id, q.rate_e8 HAVING coalesce(sum(h.amount), 0) <> CASE
            WHEN r.state = 'waiting' THEN r.held_minor WHEN r.state = 'converted' THEN r.cny_minor
            WHEN r.state IN ('sending', 'unknown')
                THEN greatest(r.held_minor, app.cny_of(r.amount_minor, r.currency, q.rate_e8)) ELSE 0 END
    UNION ALL
    -- All parts of one that is taken back whole come to what it did; what was refused or withdrawn is none.
    SELECT c.id FROM app.fx c JOIN app.fx r ON r.reversal_of = c.id AND r.state NOT IN ('refused', 'released')
        GROUP BY c.id
        HAVING sum(r.amount_minor) = c.amount_minor AND sum(r.share_minor) <> c.cny_minor
            OR sum(r.amount_minor) > max(r.excess_minor)
            OR coalesce(sum(r.amount_minor) FILTER (WHERE r.state IN ('converted', 'settled')), 0) <> c.reversed_minor
    """
)
