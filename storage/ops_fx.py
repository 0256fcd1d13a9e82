"""Foreign currency as operators look at it: lists with filters, one conversion with all that belongs to it, quota,
positions, desks, exports.

Never a name or a number of a person: remittances come with tokens, which the vault masks. Lists come newest first, one
more than asked for if there is another page.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.ops_reading import plain

Resource = dict[str, Any]

_BEFORE = " AND (CAST(:before AS text) IS NULL OR {0}.id < :before) ORDER BY {0}.id DESC LIMIT :limit"
_OF_DESK = "jsonb_build_object('merchant_id', f.merchant_id, 'slot_at', app.instant(f.slot_at), 'raw_code', f.raw_code)"
_PAGE = (
    f"SELECT app.fx_view(f) || {_OF_DESK} FROM app.fx f"  # noqa: S608 - no values
    " WHERE (CAST(:state AS text) IS NULL OR f.state = :state) AND (CAST(:awaited AS text) IS NULL OR"
    " f.wait_reason = :awaited) AND (CAST(:desk AS text) IS NULL OR f.desk = :desk)"
    " AND (CAST(:user AS text) IS NULL OR f.user_id = :user)"
    " AND (CAST(:merchant AS text) IS NULL OR f.merchant_id = :merchant)" + _BEFORE.format("f")
)
_ONE = f"SELECT app.fx_view(f) || {_OF_DESK} FROM app.fx f WHERE f.id = :id"  # noqa: S608
_BEHIND = (
    "SELECT earliest_at, release_until, plan_version, hold_number, held_minor, excess_minor, share_minor,"
    " quota_usd_e8, quota_rate_month::text AS quota_rate_month, claimed_at, process_started_at, withdrawn_by,"
    " concluded_by FROM app.fx WHERE id = :id"
)
# The last that it was sent with; the rate that it was dealt at, if it was.
_QUOTES = (
    "SELECT q.quote_id, q.bank_code, q.side, q.rate_e8, q.publisher, q.published_at, q.valid_until, q.asked_at,"
    " f.rate_e8 IS NOT NULL AS dealt FROM app.fx f JOIN app.fx_quote q ON q.bank_code = f.desk"
    " AND q.quote_id = f.quote_id WHERE f.id = :id"
)
_EFFECTS = (
    "SELECT request_number, step, bank_code, claimed_at, outcome, reason, raw_code, bank_reference, resolved_at"
    " FROM app.effect WHERE subject_id = :id ORDER BY recorded_at, request_number"
)
_REVERSALS = (
    "SELECT r.id, r.state, r.reason, r.amount_minor, r.currency, r.excess_minor, r.share_minor, r.rate_e8, r.cny_minor,"
    " r.shortfall_minor, r.rate_difference_minor, r.accepted_at, r.dealt_at FROM app.fx r WHERE r.reversal_of = :id"
    " ORDER BY r.id"
)
_RESTS = "SELECT r.id, r.state, r.reason, r.amount_minor, r.currency FROM app.fx r WHERE r.rest_of = :id ORDER BY r.id"
_RECEIVABLES = (
    "SELECT v.fx_id, v.user_id, v.currency, v.amount_minor, v.opened_at FROM app.user_receivable v"
    " WHERE v.fx_id = :id OR v.fx_id IN (SELECT r.id FROM app.fx r WHERE r.reversal_of = :id) ORDER BY v.opened_at"
)
_RETURNS_OF_FX = "SELECT app.inbound_return_view(r) FROM app.inbound_return r WHERE r.fx_id = :id ORDER BY r.id"
_PARTS = {
    "quotes": _QUOTES,
    "effects": _EFFECTS,
    "reversals": _REVERSALS,
    "rests": _RESTS,
    "receivables": _RECEIVABLES,
}

# Money in suspense belongs to no merchant.
_INBOUNDS = (
    "SELECT app.inbound_view(b) || jsonb_build_object('merchant_id', b.merchant_id, 'decided_by', b.decided_by,"
    " 'sealed_under', b.sealed_under, 'tokens', b.element_tokens) FROM app.inbound b"
)
_INBOUND_PAGE = (
    _INBOUNDS + " WHERE (CAST(:state AS text) IS NULL OR b.state = :state)"
    " AND (CAST(:bank AS text) IS NULL OR b.bank_code = :bank)"
    " AND (CAST(:reference AS text) IS NULL OR b.reference = :reference)"
    " AND (CAST(:user AS text) IS NULL OR b.user_id = :user)" + _BEFORE.format("b")
)
_INBOUND = _INBOUNDS + " WHERE b.id = :id"
_RETURNS = (
    "SELECT app.inbound_return_view(r) || jsonb_build_object('merchant_id', nullif(r.merchant_id, ''), 'decided_by',"
    " r.decided_by, 'raw_code', r.raw_code) FROM app.inbound_return r"
)
_RETURN_PAGE = _RETURNS + " WHERE (CAST(:state AS text) IS NULL OR r.state = :state)" + _BEFORE.format("r")
_RETURNS_OF = _RETURNS + " WHERE r.inbound_id = :id ORDER BY r.id"
_FX_OF_INBOUND = "SELECT f.id FROM app.fx f WHERE f.inbound_id = :id AND f.kind = 'conversion' ORDER BY f.id"

_PERSON = (
    "SELECT u.id AS user_id, u.merchant_id, u.person_index IS NOT NULL AS is_known FROM app.end_user u"
    " WHERE u.id = coalesce((SELECT f.user_id FROM app.fx f WHERE f.id = :id), :id)"
)
_QUOTA = (
    "SELECT q.reserved_usd_minor, q.used_usd_minor, q.exceeded_at FROM app.fx_quota q JOIN app.end_user u"
    " ON u.person_index = q.person_index WHERE u.id = :user AND q.year = :year"
)
# Across merchants; a conversion of an account that has been closed since is one all the same.
_QUOTA_ENTRIES = (
    "SELECT e.fx_id, f.merchant_id, e.reserved_usd_minor, e.used_usd_minor, e.why, e.at FROM app.fx_quota_entry e"
    " JOIN app.end_user u ON u.person_index = e.person_index LEFT JOIN app.fx f ON f.id = e.fx_id"
    " WHERE u.id = :user AND e.year = :year ORDER BY e.id DESC LIMIT :limit"
)
_YEARLY = "SELECT l.yearly_quota_usd_minor FROM app.fx_rule l"

_BALANCES = "SELECT * FROM app.open_positions()"
# What was given to a desk and has not been delivered: foreign currency, or the CNY of a reversal.
_DEALT = (
    "SELECT f.id, f.kind, f.desk, CASE f.kind WHEN 'conversion' THEN f.currency ELSE 'CNY' END AS currency,"
    " CASE f.kind WHEN 'conversion' THEN f.amount_minor ELSE f.cny_minor END AS amount_minor, f.dealt_at,"
    " f.wait_deadline FROM app.fx f WHERE f.state = 'converted'"
)
_MADE_OF = (
    f"SELECT 'fx_position:' || d.desk || ':' || d.currency AS account, count(*) AS deals, sum(d.amount_minor)::bigint"  # noqa: S608
    f" AS amount_minor, min(d.dealt_at) AS oldest_at FROM ({_DEALT}) d GROUP BY d.desk, d.currency"
    " UNION ALL SELECT 'suspense:' || b.currency, count(*), sum(b.amount_minor)::bigint, min(b.received_at)"
    " FROM app.inbound b WHERE b.state IN ('suspense', 'returning') GROUP BY b.currency"
)
_OPEN_DEALS = f"{_DEALT} ORDER BY f.dealt_at, f.id LIMIT :limit"

_WAITING = (
    "SELECT f.desk, f.wait_reason, f.currency, count(*) AS conversions, min(f.accepted_at) AS oldest_at,"
    " min(f.slot_at) AS next_slot_at, max(f.slot_at) AS last_slot_at FROM app.fx f WHERE f.state = 'waiting'"
    " GROUP BY f.desk, f.wait_reason, f.currency ORDER BY f.desk, count(*) DESC, f.wait_reason, f.currency"
)
_AT_DESKS = (
    "SELECT f.desk, f.state, count(*) AS conversions, min(f.state_since) AS oldest_at FROM app.fx f"
    " WHERE f.state IN ('sending', 'unknown', 'converted') GROUP BY f.desk, f.state ORDER BY f.desk, f.state"
)
_STOPPED = (
    "SELECT f.id FROM app.fx f WHERE f.state = 'waiting' AND f.wait_reason IN ('freeze', 'authority_order', 'partner')"
    " AND :subject IN (f.user_id, f.merchant_id, f.desk) ORDER BY f.accepted_at, f.id LIMIT 100"
)
_ENABLED = "SELECT t.code, t.enabled FROM app.partner t"

_EXPORTS = (
    "SELECT coalesce(c.bank_code, x.recipient) AS recipient, c.recipient AS name, coalesce(x.persons, 0) AS persons,"
    " coalesce(x.disclosures, 0) AS disclosures, coalesce(x.fields, '{}') AS fields, c.contract, c.ground, c.purpose,"
    " c.fields AS contract_fields, c.valid_until::text AS valid_until, c.valid_until > CAST(:today AS date)"
    " AS in_force FROM app.export_counts(:year) x FULL JOIN app.export_contract c ON c.bank_code = x.recipient"
    " ORDER BY 1"
)
_RATES = (
    "SELECT r.currency, to_char(r.month, 'YYYY-MM') AS month, r.usd_e8, r.source, r.loaded_at,"
    " r.month = max(r.month) FILTER (WHERE r.month <= CAST(:today AS date)) OVER (PARTITION BY r.currency)"
    " AND CAST(:today AS date) - r.month <= l.authority_rates_valid_days AS in_force, to_char(r.month +"
    " l.authority_rates_valid_days, 'YYYY-MM-DD') AS last_day FROM app.authority_rate r CROSS JOIN app.fx_rule l"
    " ORDER BY r.currency, r.month DESC LIMIT 500"
)


class OpsFx:
    """Over an engine of the ops role."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def page(
        self, before: str | None, limit: int, *,
        state: str | None, awaited: str | None, desk: str | None, user_id: str | None, merchant_id: str | None,
    ) -> list[Resource]:  # fmt: skip
        """Conversions and reversals, with `merchant_id`."""
        given = {"state": state, "awaited": awaited, "desk": desk, "user": user_id, "merchant": merchant_id}
        return await self._views(_PAGE, **given, before=before, limit=limit + 1)

    async def one(self, fx_id: str) -> Resource | None:
        """With its quotes, effects, reversals, rests, receivables and returns."""
        found = await self._views(_ONE, id=fx_id)
        if not found:
            return None
        [behind] = await self._rows(_BEHIND, id=fx_id)
        parts = {name: await self._rows(text, id=fx_id) for name, text in _PARTS.items()}
        return {**found[0], **behind, **parts, "returns": await self._views(_RETURNS_OF_FX, id=fx_id)}

    async def stopped(self, subject_id: str) -> list[str]:
        """Conversions that something on a user, a merchant or a desk's bank has stopped, in order of acceptance."""
        return await self._views(_STOPPED, subject=subject_id)

    async def inbounds(
        self, before: str | None, limit: int, *,
        state: str | None, bank_code: str | None, reference: str | None, user_id: str | None,
    ) -> list[Resource]:  # fmt: skip
        """Each with the `tokens` of its names and whose key they are `sealed_under`."""
        given = {"state": state, "bank": bank_code, "reference": reference, "user": user_id}
        return await self._views(_INBOUND_PAGE, **given, before=before, limit=limit + 1)

    async def inbound(self, inbound_id: str) -> Resource | None:
        """With its returns and the conversions that it began."""
        found = await self._views(_INBOUND, id=inbound_id)
        if not found:
            return None
        returns = await self._views(_RETURNS_OF, id=inbound_id)
        return {**found[0], "returns": returns, "fx_ids": await self._views(_FX_OF_INBOUND, id=inbound_id)}

    async def inbound_returns(self, before: str | None, limit: int, *, state: str | None) -> list[Resource]:
        return await self._views(_RETURN_PAGE, state=state, before=before, limit=limit + 1)

    async def person(self, subject_id: str) -> Resource | None:
        """Whose quota a user's, or a conversion's, is: user_id, merchant_id, is_known."""
        found = await self._rows(_PERSON, id=subject_id)
        return found[0] if found else None

    async def quota(self, user_id: str, year: int, most: int = 200) -> Resource:
        """What the user's person has reserved and used in a year, across merchants, and how it came about."""
        found = await self._rows(_QUOTA, user=user_id, year=year)
        row = found[0] if found else {"reserved_usd_minor": 0, "used_usd_minor": 0, "exceeded_at": None}
        yearly = await self._views(_YEARLY)
        entries = await self._rows(_QUOTA_ENTRIES, user=user_id, year=year, limit=most)
        return {"quota_usd_minor": yearly[0] if yearly else None} | row | {"entries": entries}

    async def positions(self, most: int = 100) -> Resource:
        """Balances of positions and of suspense, what explains them, and the oldest deals that are not delivered."""
        made_of = {row.pop("account"): row for row in await self._rows(_MADE_OF)}
        balances = [
            row | made_of.get(row["account"], {"deals": 0, "amount_minor": 0, "oldest_at": None})
            for row in await self._rows(_BALANCES)
        ]
        return {"balances": balances, "open_deals": await self._rows(_OPEN_DEALS, limit=most)}

    async def desks(self) -> Resource:
        """What waits, by desk, reason and currency; what is at the desks; and which banks are switched on."""
        waiting, at_desks = await self._rows(_WAITING), await self._rows(_AT_DESKS)
        enabled = {row["code"]: row["enabled"] for row in await self._rows(_ENABLED)}
        return {"waiting": waiting, "at_desks": at_desks, "enabled": enabled}

    async def exports(self, year: int, today: date) -> list[Resource]:
        """What left the mainland in a year, by recipient, and the contract it went under; also contracts not used."""
        return await self._rows(_EXPORTS, year=year, today=today)

    async def authority_rates(self, today: date) -> list[Resource]:
        """All months, the latest first; `in_force` are those by which quota is counted today."""
        return await self._rows(_RATES, today=today)

    async def _views(self, statement: str, **values: Any) -> list[Any]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(sa.text(statement), values)).scalars())

    async def _rows(self, statement: str, **values: Any) -> list[Resource]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(sa.text(statement), values)
            return [plain(dict(row)) for row in rows.mappings()]
