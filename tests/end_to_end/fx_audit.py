"""What has to agree about foreign currency: conversions, their money, positions, quotas, remittances and returns."""

from __future__ import annotations

# Each side of a deal by the bank that books it; what is not known to have been dealt counts at the rate it left with.
OUR_FX = """
    SELECT side.what || CASE f.kind WHEN 'conversion' THEN 'FX' ELSE 'FR' END || split_part(f.id, '_', 2) AS number,
           side.bank AS bank_code, CASE WHEN (f.kind = 'conversion') = side.is_cny THEN 'in' ELSE 'out' END AS way,
           CASE WHEN side.is_cny THEN coalesce(f.cny_minor, app.cny_of(f.amount_minor, f.currency, q.rate_e8), 0)
                ELSE f.amount_minor END AS amount_minor,
           CASE WHEN side.is_cny THEN 'CNY' ELSE f.currency END AS currency,
           CASE WHEN f.state = 'settled' THEN 'settled' WHEN f.state IN ('sending', 'unknown', 'converted') THEN 'live'
                ELSE 'none' END AS standing
    FROM app.fx f LEFT JOIN app.fx_quote q ON q.bank_code = f.desk AND q.quote_id = f.quote_id
    CROSS JOIN LATERAL (VALUES ('CNY of ', f.desk, true), ('delivery of ', f.held_at, false)) side (what, bank, is_cny)
    UNION ALL SELECT 'IR' || split_part(id, '_', 2), bank_code, 'out', amount_minor, currency,
           CASE state WHEN 'succeeded' THEN 'settled' WHEN 'failed' THEN 'none' ELSE 'live' END FROM app.inbound_return
    UNION ALL SELECT reference, bank_code, 'in', amount_minor, currency, 'settled' FROM app.inbound"""

NO_FX_ROWS_ALLOWED = {
    "the last event of a conversion is missing": """
        SELECT f.id FROM app.fx f
        WHERE f.event_sequence <> (SELECT max(e.sequence) FROM app.event e WHERE e.object_id = f.id)""",
    "a conversion has no record of how it began": """
        SELECT f.id FROM app.fx f WHERE NOT EXISTS (SELECT 1 FROM app.operation o WHERE o.subject_id = f.id
            AND o.action IN ('accept_fx', 'open_reversal', 'split_fx'))""",
    "a conversion has an outcome that its desk's answers contradict": """
        SELECT f.id FROM app.fx f LEFT JOIN app.effect e
            ON e.subject_id = f.id AND e.step IN ('FX', 'FR') AND e.outcome = 'succeeded'
        WHERE f.concluded_by IS NULL AND (f.state IN ('converted', 'settled')) <> (e.request_number IS NOT NULL)""",
    "a conversion was dealt under two numbers": """
        SELECT e.subject_id FROM app.effect e WHERE e.step IN ('FX', 'FR') AND e.outcome = 'succeeded'
        GROUP BY e.subject_id HAVING count(*) > 1""",
    "a conversion came to other CNY than its rate makes of it": """
        SELECT f.id FROM app.fx f JOIN app.fx_quote q ON q.bank_code = f.desk AND q.quote_id = f.quote_id
        WHERE f.rate_e8 IS NOT NULL
          AND (f.rate_e8 <> q.rate_e8 OR f.cny_minor <> app.cny_of(f.amount_minor, f.currency, f.rate_e8))""",
    "a conversion holds other money than it should": """
        SELECT f.id FROM app.fx f LEFT JOIN ledger.transfer h ON h.instruction = f.id AND h.action = 'hold'
            AND NOT EXISTS (SELECT 1 FROM ledger.transfer e WHERE e.hold_id = h.id)
            LEFT JOIN app.fx_quote q ON q.bank_code = f.desk AND q.quote_id = f.quote_id
        GROUP BY f.id, f.state, f.held_minor, f.amount_minor, f.kind, f.cny_minor, q.rate_e8
        HAVING coalesce(sum(h.amount), 0) <> CASE
            -- What it takes at the desk's bank at the rate it was sent with, of whomever.
            WHEN f.kind = 'reversal' AND f.state IN ('sending', 'unknown')
                THEN greatest(f.held_minor, app.cny_of(f.amount_minor, f.currency, q.rate_e8))
            WHEN f.state IN ('waiting', 'sending', 'unknown', 'refused', 'returning') THEN f.held_minor
            WHEN f.state = 'converted' THEN CASE f.kind WHEN 'conversion' THEN f.amount_minor ELSE f.cny_minor END
            ELSE 0 END""",
    "a position is not what was dealt and not delivered": """
        SELECT a.code FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id LEFT JOIN (
            SELECT f.desk, CASE f.kind WHEN 'conversion' THEN f.currency ELSE 'CNY' END AS currency,
                sum(CASE f.kind WHEN 'conversion' THEN f.amount_minor ELSE f.cny_minor END) AS minor
            FROM app.fx f WHERE f.state = 'converted' GROUP BY 1, 2) d
            ON a.code = 'fx_position:' || d.desk || ':' || d.currency
        WHERE a.kind = 'fx_position' AND b.posted <> coalesce(d.minor, 0)""",
    "suspense in a foreign currency is not what waits in it": """
        SELECT a.code FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id LEFT JOIN (
            SELECT i.currency, sum(i.amount_minor) AS minor FROM app.inbound i
            WHERE i.state IN ('suspense', 'returning') GROUP BY 1) s ON s.currency = a.currency
        WHERE a.kind = 'suspense' AND a.currency <> 'CNY' AND b.posted <> coalesce(s.minor, 0)""",
    "a remittance was booked otherwise than once": """
        SELECT b.id FROM app.inbound b LEFT JOIN ledger.transfer t ON t.instruction = b.id AND t.direction = 'in'
        GROUP BY b.id, b.amount_minor HAVING count(*) <> 1 OR sum(t.amount) IS DISTINCT FROM b.amount_minor""",
    "a quota is not the sum of its entries": """
        SELECT q.person_index FROM app.fx_quota q LEFT JOIN app.fx_quota_entry e USING (person_index, year)
        GROUP BY q.person_index, q.year, q.reserved_usd_minor, q.used_usd_minor
        HAVING q.reserved_usd_minor <> coalesce(sum(e.reserved_usd_minor), 0)
            OR q.used_usd_minor <> coalesce(sum(e.used_usd_minor), 0)""",
    "a quota is not what its conversions reserve and use": """
        SELECT q.person_index FROM app.fx_quota q LEFT JOIN (
            SELECT u.person_index, f.quota_year AS year,
                sum(f.quota_usd_minor) FILTER (WHERE f.state IN ('waiting', 'sending', 'unknown')) AS reserved,
                sum(f.quota_usd_minor) FILTER (WHERE f.state IN ('converted', 'settled')) AS used
            FROM app.fx f JOIN app.end_user u ON u.id = f.user_id WHERE f.quota_year IS NOT NULL GROUP BY 1, 2) f
            USING (person_index, year)
        WHERE q.reserved_usd_minor <> coalesce(f.reserved, 0) OR q.used_usd_minor - (
            -- What forgotten users have used is still counted, under the digest alone.
            SELECT coalesce(sum(e.used_usd_minor), 0) FROM app.fx_quota_entry e JOIN app.fx x ON x.id = e.fx_id
            JOIN app.end_user u ON u.id = x.user_id WHERE (e.person_index, e.year) = (q.person_index, q.year)
                AND u.person_index IS NULL) <> coalesce(f.used, 0)""",
    "more was converted within a quota than it allows": """
        SELECT q.person_index FROM app.fx_quota q, app.fx_rule l
        WHERE q.used_usd_minor + q.reserved_usd_minor > l.yearly_quota_usd_minor AND NOT EXISTS (
            SELECT 1 FROM app.fx f JOIN app.end_user u ON u.id = f.user_id
            WHERE u.person_index = q.person_index AND f.quota_year = q.year AND f.quota_decision = 'documents')""",
    "a reversed amount is not that of the reversals that were dealt": """
        SELECT f.id FROM app.fx f LEFT JOIN app.fx r ON r.reversal_of = f.id AND r.rate_e8 IS NOT NULL
        GROUP BY f.id, f.reversed_minor HAVING f.reversed_minor <> coalesce(sum(r.amount_minor), 0)""",
    "what a user owes is not what a reversal lacked": """
        SELECT f.id FROM app.fx f LEFT JOIN app.user_receivable v ON v.fx_id = f.id
        LEFT JOIN ledger.transfer t ON t.key = f.id || ':' || 'owed'
        WHERE coalesce(f.shortfall_minor, 0) <> coalesce(v.amount_minor, 0)
            OR coalesce(f.shortfall_minor, 0) <> coalesce(t.amount, 0)""",
}
