"""Payouts as operators look at them: lists of those that wait, and what a reviewer has to see of one.

Never a name or a number of a person: payees come with tokens, which the vault masks.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.decisions import DECISION_WITH_LOGINS

Resource = dict[str, Any]

_PAGE = sa.text(
    "SELECT app.payout_view(p) || jsonb_build_object('merchant_id', p.merchant_id, 'slot_at', app.instant(p.slot_at))"
    " FROM app.payout p WHERE (CAST(:state AS text) IS NULL OR p.state = :state)"
    " AND (CAST(:awaited AS text) IS NULL OR p.wait_reason = :awaited)"
    " AND (CAST(:bank AS text) IS NULL OR p.bank_code = :bank)"
    " AND (NOT :provisional OR p.arrival_provisional AND p.state = 'scheduled')"
    " AND p.state NOT IN ('succeeded', 'returned', 'failed', 'refused', 'closed')"
    " AND (CAST(:after AS text) IS NULL OR p.id > :after) ORDER BY p.id LIMIT :limit"
)
_PAYEE = sa.text(
    "SELECT app.payee_view(y) || jsonb_build_object('tokens', y.element_tokens,"
    " 'holder', coalesce(y.user_id, y.merchant_id)) FROM app.payee y WHERE y.id = :id"
)
_RECENT_PAYMENTS = sa.text(
    "SELECT jsonb_build_object('id', p.id, 'amount_minor', p.amount_minor, 'currency', p.currency, 'state', p.state,"
    " 'card_type', b.card_type, 'card_last4', b.card_last4, 'payee_kind', p.payee_kind,"
    " 'accepted_at', app.instant(p.accepted_at)) FROM app.payment p JOIN app.binding b ON b.id = p.binding_id"
    " WHERE p.user_id = :user ORDER BY p.id DESC LIMIT 20"
)
_RECENT_PAYOUTS = sa.text(
    "SELECT jsonb_build_object('id', p.id, 'amount_minor', p.amount_minor, 'currency', p.currency, 'state', p.state,"
    " 'reason', p.reason, 'payee_id', p.payee_id, 'account_last4', y.account_last4, 'relation', y.relation,"
    " 'accepted_at', app.instant(p.accepted_at)) FROM app.payout p JOIN app.payee y ON y.id = p.payee_id"
    " WHERE p.user_id = :user ORDER BY p.id DESC LIMIT 20"
)
_RISK = sa.text(
    "SELECT jsonb_build_object('id', d.id, 'at', app.instant(d.asked_at), 'rules_version', d.rules_version,"
    " 'outcome', d.outcome, 'hits', d.hits, 'inputs', d.inputs, 'screening_outcome', d.screening_outcome,"
    " 'screened_version', d.screened_version, 'screened', to_jsonb(d.screened)) FROM app.risk_decision d"
    " WHERE d.payout_id = :id ORDER BY d.asked_at DESC LIMIT 20"
)
_MATCHES = sa.text(
    "SELECT app.screening_match_view(m) FROM app.screening_match m WHERE m.id IN"
    " (SELECT unnest(d.matches) FROM app.risk_decision d WHERE d.payout_id = :id) ORDER BY m.id LIMIT 50"
)
_DECISIONS = sa.text(
    f"SELECT {DECISION_WITH_LOGINS} FROM app.decision d"  # noqa: S608 - no values
    " WHERE d.subject_id = :id ORDER BY d.requested_at, d.id LIMIT 50"
)
# As app.takes_two says it of a review.
_TAKES_TWO = sa.text(
    "SELECT k.second_person OR k.second_person_above_minor IS NOT NULL AND (r.currency <> 'CNY'"
    " OR r.amount_minor > k.second_person_above_minor) FROM app.decision_kind k, app.review r"
    " WHERE k.kind = 'review.approve' AND r.id = :id"
)
_PAYOUT_OF_REVIEW = sa.text("SELECT r.payout_id FROM app.review r WHERE r.id = :id")
_STOPPED = sa.text(
    "SELECT p.id FROM app.payout p WHERE p.state = 'scheduled'"
    " AND p.wait_reason IN ('freeze', 'authority_order', 'partner')"
    " AND :subject IN (p.user_id, p.merchant_id, p.bank_code) ORDER BY p.slot_at, p.accepted_at LIMIT 100"
)


class OpsPayouts:
    """Over an engine of the ops role."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self,
        after: str | None,
        limit: int,
        *,
        state: str | None,
        awaited: str | None,
        bank_code: str | None,
        provisional: bool,
    ) -> list[Resource]:
        """Payouts under way, the oldest first, one more than asked for if there is another page."""
        values = {"state": state, "awaited": awaited, "bank": bank_code, "provisional": provisional, "after": after}
        return await self._all(_PAGE, **values, limit=limit + 1)

    async def payee(self, payee_id: str) -> Resource:
        """With the `tokens` of its elements and the `holder` of their key."""
        found: list[Resource] = await self._all(_PAYEE, id=payee_id)
        return found[0]

    async def recent(self, user_id: str | None) -> Resource:
        """A user's last payments and payouts, newest first; none of a merchant's own settlement."""
        payments = await self._all(_RECENT_PAYMENTS, user=user_id) if user_id else []
        return {"payments": payments, "payouts": await self._all(_RECENT_PAYOUTS, user=user_id)}

    async def risk(self, payout_id: str) -> list[Resource]:
        """What the rules said of a payout, newest first, by which numbers."""
        return await self._all(_RISK, id=payout_id)

    async def matches(self, payout_id: str) -> list[Resource]:
        """The listed names that its user or payee is like."""
        return await self._all(_MATCHES, id=payout_id)

    async def decisions(self, subject_id: str) -> list[Resource]:
        return await self._all(_DECISIONS, id=subject_id)

    async def approval_takes_two(self, review_id: str) -> bool:
        """Whether the approval of a review needs a second person."""
        return bool(await self._all(_TAKES_TWO, id=review_id) == [True])

    async def payout_of_review(self, review_id: str) -> str | None:
        found = await self._all(_PAYOUT_OF_REVIEW, id=review_id)
        return found[0] if found else None

    async def stopped(self, subject_id: str) -> list[str]:
        """Payouts that something on a user, a merchant or a bank has stopped; those that go out first come first."""
        return await self._all(_STOPPED, subject=subject_id)

    async def may(self, operator_id: str, permission: str, now: datetime) -> bool:
        """Whether a person may see what not everybody who sees payouts may."""
        statement = sa.text("SELECT app.operator_may(:who, :what, :now)")
        async with self._engine.connect() as connection:
            values = {"who": operator_id, "what": permission, "now": now}
            return bool(await connection.scalar(statement, values))

    async def _all(self, statement: sa.TextClause, **values: Any) -> list[Any]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(statement, values)).scalars())
