"""What operators may look at: instructions of every merchant with what lies behind them, matters, records, merchants.

Never a name or a number of a person: users come with tokens, which the vault masks or opens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.decisions import DECISION_WITH_LOGINS

Resource = dict[str, Any]

# By the first three characters of an id.
_TABLES = {
    "pay": "app.payment", "rfd": "app.refund", "bnd": "app.binding", "po_": "app.payout", "fx_": "app.fx",
    "inb": "app.inbound", "inr": "app.inbound_return", "rca": "app.receiving_account",
}  # fmt: skip
# Of the row itself, beside what its merchant sees.
_BEHIND = {
    "pay": "merchant_id, mandate_reference, raw_code, claimed_at, process_started_at, code_sends, code_attempts,"
    " corrected_at, liability_standard, waiver_id",
    "rfd": "merchant_id, raw_code, claimed_at, process_started_at",
    "bnd": "merchant_id, raw_code, process_started_at, code_sends, code_attempts",
    "po_": "merchant_id, raw_code, claimed_at, process_started_at, earliest_at, slot_at, plan_version, hold_number,"
    " stopped_by, withdrawn_by, concluded_by, source_account",
    "fx_": "merchant_id, raw_code, claimed_at, process_started_at, earliest_at, slot_at, release_until, plan_version,"
    " hold_number, held_minor, excess_minor, share_minor, withdrawn_by, concluded_by",
    # While nobody knows whose it is it belongs to no merchant, and it waits for no bank.
    "inb": "merchant_id, decided_by, NULL AS raw_code, NULL AS waiting_for",
    "inr": "nullif(merchant_id, '') AS merchant_id, raw_code, claimed_at, process_started_at, decided_by, concluded_by",
    "rca": "merchant_id, raw_code, claimed_at, process_started_at, cross_border, data_export_version",
}
_EFFECTS = (
    "SELECT request_number, step, bank_code, claimed_at, outcome, reason, raw_code, bank_reference, resolved_at"
    " FROM app.effect WHERE subject_id = :id ORDER BY recorded_at, request_number"
)
_ATTEMPTS = (
    "SELECT id, number, request_number, claimed_at, verdict, resolved_at FROM app.code_attempt WHERE subject_id = :id"
    " ORDER BY number"
)
_EVENTS = "SELECT id, sequence, type, at FROM app.event WHERE object_id = :id ORDER BY sequence"
# The merchant's own signature under it; what was signed is sealed.
_SIGNATURES = (
    "SELECT request_id, key_id, action, created, received_at, signature IS NOT NULL AS is_kept"
    " FROM app.instruction_signature WHERE subject_id = :id ORDER BY received_at"
)
_DECISIONS = (
    f"SELECT {DECISION_WITH_LOGINS} AS decision FROM app.decision d"  # noqa: S608 - no values
    " WHERE d.subject_id = :id ORDER BY d.requested_at, d.id"
)
_RECORD = "id, at, actor, action, outcome, reason, subject_id, merchant_id, request_id, partner, request_number, detail"
_TIMELINE = f"SELECT {_RECORD} FROM app.operation WHERE subject_id = :id ORDER BY id LIMIT 500"  # noqa: S608
_SUMMARIES = {
    "pay": "SELECT app.payment_view(x) AS view, x.merchant_id FROM app.payment x WHERE x.id = :id",
    "rfd": "SELECT app.refund_view(x) AS view, x.merchant_id FROM app.refund x WHERE x.id = :id",
    "bnd": "SELECT app.binding_view(x) AS view, x.merchant_id FROM app.binding x WHERE x.id = :id",
    "po_": "SELECT app.payout_view(x) AS view, x.merchant_id FROM app.payout x WHERE x.id = :id",
    "fx_": "SELECT app.fx_view(x) AS view, x.merchant_id FROM app.fx x WHERE x.id = :id",
    "inb": "SELECT app.inbound_view(x) AS view, x.merchant_id FROM app.inbound x WHERE x.id = :id",
    "inr": "SELECT app.inbound_return_view(x) AS view, nullif(x.merchant_id, '') AS merchant_id"
    " FROM app.inbound_return x WHERE x.id = :id",
    "rca": "SELECT app.receiving_account_view(x) AS view, x.merchant_id FROM app.receiving_account x WHERE x.id = :id",
}
_OF_NUMBER = "SELECT subject_id AS id FROM app.effect WHERE request_number = :number"
_PARTS = {
    "effects": _EFFECTS,
    "code_attempts": _ATTEMPTS,
    "events": _EVENTS,
    "signatures": _SIGNATURES,
    "records": _TIMELINE,
}
_REFERENCED = (
    "SELECT e.subject_id AS id FROM app.effect e WHERE e.bank_reference = :reference"
    " UNION SELECT b.id FROM app.partner t JOIN app.inbound b ON b.bank_code = t.code AND b.reference = :reference"
    " ORDER BY 1 LIMIT 20"
)
_CASES = (
    "SELECT id, kind, subject_id, merchant_id, opened_at, state, payments FROM app.case_record"
    " WHERE (CAST(:state AS text) IS NULL OR state = :state) AND (CAST(:before AS text) IS NULL OR id < :before)"
    " AND kind <> ALL (CAST(:hidden AS text[]))"
    " ORDER BY id DESC LIMIT :limit"
)
_MATTERS = (
    "SELECT c.id AS matter_id, 'case' AS kind, c.kind AS why, c.subject_id, c.merchant_id, c.opened_at AS since"
    " FROM app.case_record c WHERE c.state = 'open' AND c.kind <> ALL (CAST(:hidden AS text[]))"
    " UNION ALL SELECT p.id, 'parked', coalesce(p.reason, p.state), p.id, p.merchant_id, p.state_since"
    " FROM app.payment p WHERE p.wait_reason = 'operator'"
    " UNION ALL SELECT r.id, 'parked', coalesce(r.reason, r.state), r.id, r.merchant_id, r.state_since"
    " FROM app.refund r WHERE r.wait_reason = 'operator'"
    " UNION ALL SELECT b.id, 'parked', coalesce(b.reason, b.state), b.id, b.merchant_id, b.state_since"
    " FROM app.binding b WHERE b.wait_reason = 'operator'"
    " UNION ALL SELECT p.id, 'parked', coalesce(p.reason, p.state), p.id, p.merchant_id, p.state_since"
    " FROM app.payout p WHERE p.wait_reason = 'operator'"
    " UNION ALL SELECT f.id, 'parked', coalesce(f.reason, f.state), f.id, f.merchant_id, f.state_since"
    " FROM app.fx f WHERE f.wait_reason = 'operator'"
    " UNION ALL SELECT i.id, 'parked', coalesce(i.reason, i.state), i.id, i.merchant_id, i.state_since"
    " FROM app.inbound_return i WHERE i.wait_reason = 'operator'"
    " UNION ALL SELECT a.id, 'parked', coalesce(a.reason, a.state), a.id, a.merchant_id, a.state_since"
    " FROM app.receiving_account a WHERE a.wait_reason = 'operator'"
    " UNION ALL SELECT f.id, 'stopped', f.wait_reason, f.id, f.merchant_id, f.state_since"
    " FROM app.fx f WHERE f.state = 'waiting' AND f.wait_reason IN ('freeze', 'authority_order')"
    # One for each currency, however many wait for its rate.
    " UNION ALL SELECT 'authority_rate:' || f.currency, 'stopped', 'authority_rate', f.currency, '', min(f.state_since)"
    " FROM app.fx f WHERE f.state = 'waiting' AND f.wait_reason = 'authority_rate' GROUP BY f.currency"
    " UNION ALL SELECT r.id, 'review', r.state, r.payout_id, r.merchant_id, r.opened_at"
    " FROM app.review r WHERE r.state IN ('open', 'evidence')"
    " UNION ALL SELECT p.id, 'stopped', p.wait_reason, p.id, p.merchant_id, p.state_since"
    " FROM app.payout p WHERE p.state = 'scheduled' AND p.wait_reason IN ('freeze', 'authority_order')"
    " UNION ALL SELECT s.id, 'settlement', s.wait_reason, s.id, s.merchant_id, s.state_since"
    " FROM app.settlement_report s WHERE s.state = 'reported' AND s.wait_reason <> 'process_start'"
    " UNION ALL SELECT r.settlement_id, 'receivable', 'shortfall', r.settlement_id, r.merchant_id, r.opened_at"
    " FROM app.merchant_receivable r WHERE r.cleared_by IS NULL"
    " UNION ALL SELECT y.id, 'application', 'settlement_account', y.id, y.merchant_id, y.created_at"
    " FROM app.payee y WHERE y.user_id IS NULL AND y.state = 'proposed'"
    " UNION ALL SELECT w.id, 'application', 'waiver', w.id, w.merchant_id, w.applied_at"
    " FROM app.waiver_application w WHERE w.state = 'pending' ORDER BY since, matter_id LIMIT 500"
)
# Each of these words has an index, or narrows down what an index found.
_RECORD_CONDITIONS = {
    "subject_id": "subject_id = :subject_id",
    "actor": "actor = :actor AND actor LIKE 'operator:%'",
    "outcome": "outcome = :outcome",
    "since": "at >= :since",
    "until": "at < :until",
    "before": "id < :before",
}
_ACCESSES = (
    "SELECT access_id, fields, purpose, actor, outcome, reason, at FROM vault.access WHERE user_id = :id"
    " ORDER BY at DESC LIMIT :limit"
)
_USER = "SELECT app.user_view(u) AS view, u.merchant_id FROM app.end_user u WHERE u.id = :id"
_CARDS = (
    "SELECT id, bank_code, card_last4, card_type, state, reason, accepted_at, element_tokens FROM app.binding"
    " WHERE user_id = :id ORDER BY id DESC LIMIT 50"
)
_MERCHANTS = "SELECT id, name, state, contract_until, created_at FROM app.merchant ORDER BY id"
_KEYS = (
    "SELECT id, merchant_id, label, scopes, created_at, expires_at, revoked_at FROM app.api_key"
    " WHERE merchant_id = :id ORDER BY id"
)
_APPLICATIONS = (
    "SELECT w.id, w.merchant_id, m.name AS merchant_name, w.limit_minor, w.currency, w.applied_at, w.applied_by"
    " FROM app.waiver_application w JOIN app.merchant m ON m.id = w.merchant_id WHERE w.state = 'pending'"
    " ORDER BY w.applied_at LIMIT 500"
)
_PARTNERS = "SELECT code, role, name_en, name_zh, enabled, changed_at FROM app.partner ORDER BY code"


class OpsReading:
    """Reads with the ops role; instants come as RFC 3339 text."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def instruction(self, instruction_id: str) -> Resource | None:
        """A payment, refund, binding, payout, conversion, remittance, return or receiving account with everything that
        happened to it; None if there is none.
        """
        kind, found = instruction_id[:3], await self.instructions([instruction_id])
        if not found:
            return None
        behind = f"SELECT {_BEHIND[kind]} FROM {_TABLES[kind]} WHERE id = :id"  # noqa: S608
        [row] = await self._rows(behind, id=instruction_id)
        parts = {name: await self._rows(text, id=instruction_id) for name, text in _PARTS.items()}
        decisions = await self._rows(_DECISIONS, id=instruction_id)
        return found[0] | row | parts | {"decisions": [decision["decision"] for decision in decisions]}

    async def instructions(self, ids: Sequence[str]) -> list[Resource]:
        """Those that there are, as their merchants see them, with `merchant_id`."""
        found = []
        async with self._engine.connect() as connection:
            for instruction_id in ids:
                if instruction_id[:3] not in _SUMMARIES:
                    continue
                statement = sa.text(_SUMMARIES[instruction_id[:3]]).columns(view=JSONB)
                row = (await connection.execute(statement, {"id": instruction_id})).one_or_none()
                if row is not None:
                    found.append(row.view | {"merchant_id": row.merchant_id})
        return found

    async def of_order(self, merchant_id: str | None, order_number: str, limit: int) -> list[str]:
        """Payments, payouts and conversions of an order, newest first; numbers are the merchants' own: there may be
        several.
        """
        whose = " AND merchant_id = :merchant" if merchant_id else ""
        statement = " UNION ALL ".join(
            f"(SELECT id, accepted_at FROM {table} WHERE order_number = :order{whose} ORDER BY id DESC LIMIT :limit)"  # noqa: S608
            for table in ("app.payment", "app.payout", "app.fx")
        )
        given = {"merchant": merchant_id} if merchant_id else {}
        statement += " ORDER BY accepted_at DESC, id DESC LIMIT :limit"
        return [row["id"] for row in await self._rows(statement, order=order_number, limit=limit, **given)]

    async def of_payee(self, payee_id: str, limit: int) -> list[str]:
        """Payouts to a payee, newest first."""
        statement = "SELECT id FROM app.payout WHERE payee_id = :payee ORDER BY id DESC LIMIT :limit"
        return [row["id"] for row in await self._rows(statement, payee=payee_id, limit=limit)]

    async def of_request_number(self, number: str) -> list[str]:
        """Whose a request number at a bank is."""
        return [row["id"] for row in await self._rows(_OF_NUMBER, number=number)]

    async def of_bank_reference(self, reference: str) -> list[str]:
        return [row["id"] for row in await self._rows(_REFERENCED, reference=reference)]

    async def matters(self, hidden: Collection[str] = ()) -> list[Resource]:
        """What only a person can bring on, oldest first: cases not of the `hidden` kinds, parked instructions,
        applications.
        """
        return await self._rows(_MATTERS, hidden=list(hidden))

    async def cases(
        self, state: str | None, before: str | None, limit: int, hidden: Collection[str] = ()
    ) -> list[Resource]:
        """Newest first, without those of the `hidden` kinds; one more if there is another page."""
        return await self._rows(_CASES, state=state, before=before, limit=limit + 1, hidden=list(hidden))

    async def records(
        self,
        *,
        subject_id: str | None,
        actor: str | None,
        outcome: str | None,
        since: datetime | None,
        until: datetime | None,
        before: int | None,
        limit: int,
    ) -> list[Resource]:
        """Operation records, newest first, one more than asked for if there is another page."""
        words: Resource = {"subject_id": subject_id, "actor": actor, "outcome": outcome, "before": before}
        words |= {"since": since, "until": until}
        given = {name: value for name, value in words.items() if value is not None}
        where = " AND ".join(_RECORD_CONDITIONS[name] for name in given) or "true"
        statement = f"SELECT {_RECORD} FROM app.operation WHERE {where} ORDER BY id DESC LIMIT :limit"  # noqa: S608
        return await self._rows(statement, limit=limit + 1, **given)

    async def has_case(self, case_id: str) -> bool:
        return bool(await self._rows("SELECT 1 AS found FROM app.case_record WHERE id = :id", id=case_id))

    async def accesses(self, user_id: str, limit: int = 100) -> list[Resource]:
        """Who read a user's personal data, or was refused it, newest first (A4.2b)."""
        return await self._rows(_ACCESSES, id=user_id, limit=limit)

    async def user(self, user_id: str) -> tuple[str, Resource] | None:
        """A user's merchant and view, with `bindings`, newest first, and the tokens of each in `element_tokens`."""
        rows = await self._rows(_USER, id=user_id)
        if not rows:
            return None
        return rows[0]["merchant_id"], rows[0]["view"] | {"bindings": await self._rows(_CARDS, id=user_id)}

    async def merchants(self) -> list[Resource]:
        return await self._rows(_MERCHANTS)

    async def keys(self, merchant_id: str) -> list[Resource]:
        return await self._rows(_KEYS, id=merchant_id)

    async def waiver_applications(self) -> list[Resource]:
        """Those that wait for a decision."""
        return await self._rows(_APPLICATIONS)

    async def partners(self) -> list[Resource]:
        return await self._rows(_PARTNERS)

    async def _rows(self, statement: str, **parameters: Any) -> list[Resource]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(sa.text(statement), parameters)
            return [plain(dict(row)) for row in rows.mappings()]


def plain(row: Mapping[str, Any]) -> Resource:
    """A row as JSON can hold it."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value) if type(value).__module__ == "asyncpg.pgproto.pgproto" else value
