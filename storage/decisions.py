"""Decisions of people in the database: requested, approved by another, committed with what follows; each one function.

A refusal comes as the `DomainError` of its code, and is recorded by the function that refuses.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.decisions import AnswerDecision, DecisionKind, DecisionRules, RequestDecision
from domain.risk_rules import CONFIDENTIAL_CASES
from storage.instructions import refusal

Resource = dict[str, Any]

_RULES = sa.text(
    "INSERT INTO app.decision_kind AS k (kind, request_permission, approve_permission, second_person, open_seconds,"
    " longest_seconds, grounds, second_person_above_minor) VALUES (:kind, :ask, :approve, :second, :open, :longest,"
    " CAST(:grounds AS text[]), :above) ON CONFLICT (kind) DO UPDATE SET second_person = excluded.second_person,"
    " open_seconds = excluded.open_seconds, longest_seconds = excluded.longest_seconds, grounds = excluded.grounds,"
    " second_person_above_minor = excluded.second_person_above_minor"
    " WHERE (k.second_person, k.open_seconds, k.longest_seconds, k.grounds, k.second_person_above_minor)"
    " IS DISTINCT FROM (excluded.second_person, excluded.open_seconds, excluded.longest_seconds, excluded.grounds,"
    " excluded.second_person_above_minor)"
)
# People know each other by login, not by id.
DECISION_WITH_LOGINS = (
    "app.decision_view(d) || jsonb_build_object("
    "'requested_by_login', (SELECT o.login FROM app.operator o WHERE o.id = d.requested_by),"
    " 'decided_by_login', (SELECT o.login FROM app.operator o WHERE o.id = d.decided_by))"
)
_ONE = sa.text(f"SELECT {DECISION_WITH_LOGINS} FROM app.decision d WHERE d.id = :id")  # noqa: S608 - no values
# Without `all`, what tells of lists, rules or a review is not there (L5): decisions on them, and on their cases.
_IS_SHOWN = (
    "(:all OR d.kind !~ '^(review|screening)[.]' AND NOT EXISTS (SELECT 1 FROM app.case_record c"
    " WHERE c.id = d.subject_id AND c.kind = ANY (CAST(:hidden AS text[]))))"
    # And what is opened or held for an authority is for those who answer for it.
    " AND (:retained OR d.kind !~ '^retention[.]')"
)
_SHOWN_ONE = sa.text(
    f"SELECT {DECISION_WITH_LOGINS} FROM app.decision d WHERE d.id = :id AND {_IS_SHOWN}"  # noqa: S608 - no values
)
_INSTRUCTION = sa.text(
    "SELECT app.payment_view(p) FROM app.payment p WHERE p.id = :id"
    " UNION ALL SELECT app.refund_view(r) FROM app.refund r WHERE r.id = :id"
    " UNION ALL SELECT app.payout_view(o) FROM app.payout o WHERE o.id = :id"
    " UNION ALL SELECT app.fx_view(f) FROM app.fx f WHERE f.id = :id"
    " UNION ALL SELECT app.inbound_return_view(n) FROM app.inbound_return n WHERE n.id = :id"
)
_MANY = sa.text(
    f"SELECT {DECISION_WITH_LOGINS} FROM app.decision d"  # noqa: S608 - no values
    " WHERE (CAST(:state AS text) IS NULL OR d.state = :state) AND (CAST(:kind AS text) IS NULL OR d.kind = :kind)"
    " AND (CAST(:subject AS text) IS NULL OR d.subject_id = :subject)"
    f" AND (CAST(:before AS text) IS NULL OR d.id < :before) AND {_IS_SHOWN} ORDER BY d.id DESC LIMIT :limit"
)
_RESTRICTIONS = sa.text(
    "SELECT app.restriction_view(r) || jsonb_build_object('authority_order', (SELECT jsonb_build_object('id', o.id,"
    " 'issuer', o.issuer, 'number', o.number, 'demands', o.demands) FROM app.authority_order o"
    " WHERE o.decision_id = r.placed_by)) FROM app.restriction r"
    " WHERE (CAST(:subject AS text) IS NULL OR r.subject_id = :subject)"
    " AND (:all OR r.lifted_at IS NULL AND (r.ends_at IS NULL OR r.ends_at > :now))"
    " AND (CAST(:before AS text) IS NULL OR r.id < :before) ORDER BY r.id DESC LIMIT :limit"
)
_ORDERS = sa.text(
    "SELECT jsonb_build_object('id', o.id, 'object', 'authority_order', 'decision_id', o.decision_id,"
    " 'issuer', o.issuer, 'number', o.number, 'demands', o.demands, 'subject_id', o.subject_id,"
    " 'function', o.function, 'expires_at', app.instant(o.expires_at), 'registered_at', app.instant(o.registered_at))"
    " FROM app.authority_order o WHERE (CAST(:subject AS text) IS NULL OR o.subject_id = :subject)"
    " AND (CAST(:before AS text) IS NULL OR o.id < :before) ORDER BY o.id DESC LIMIT :limit"
)
# The owner's own act: no operator is asked, so no operator's interface may come here.
_DIRECTLY = sa.text(
    "WITH made AS (INSERT INTO app.decision (id, kind, subject_id, merchant_id, ground, reason, detail, second_person,"
    " requested_by, requested_at, expires_at, state, decided_by, decided_at)"
    " SELECT :id, :kind, :subject, app.merchant_of_subject(:kind, :subject), 'other_need', 'decided by the owner',"
    " app.fixed_subject(:kind, :subject, CAST(:detail AS jsonb)), false,"
    " :by, :now, CAST(:now AS timestamptz) + interval '1 day', 'committed', :by, :now"
    " WHERE app.why_not(:kind, :subject, CAST(:detail AS jsonb), :now, 31622400) IS NULL RETURNING *)"
    " SELECT app.carry_out(made), app.record_decision(made, jsonb_build_object('now', CAST(:now AS timestamptz)),"
    " 'decide_directly', 'done', NULL) FROM made"
).bindparams(sa.bindparam("detail", type_=JSONB))


class Decisions:
    """Over an engine of the ops role."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def request(self, command: RequestDecision) -> Resource:
        """The decision as it then stands: `requested`, or `committed` where one person decides.

        Raises NotAllowedError(PERMISSION_MISSING), NotFoundError(SUBJECT_NOT_FOUND), RefusedError(GROUND_UNKNOWN,
        DECISION_KIND_UNKNOWN, DECISION_DATE_INVALID), ConflictError(DECISION_PENDING, DECISION_NOT_APPLICABLE,
        ALREADY_SENT).
        """
        return await self._call("app.request_decision", command)

    async def approve(self, command: AnswerDecision) -> Resource:
        """The committed decision; the same person's approval again answers the same.

        Raises NotFoundError(DECISION_NOT_FOUND), NotAllowedError(PERMISSION_MISSING, SECOND_PERSON_REQUIRED),
        RefusedError(REQUESTER_NOT_PERMITTED), ConflictError(DECISION_ENDED, DECISION_EXPIRED), and what a request
        raises where it can no longer take place: the decision is then `refused`.
        """
        return await self._call("app.approve_decision", command)

    async def reject(self, command: AnswerDecision) -> Resource:
        """By whoever may approve, or by who requested it."""
        return await self._call("app.reject_decision", command)

    async def read(self, decision_id: str, *, all_kinds: bool = True, retained: bool = True) -> Resource | None:
        """With `all_kinds` also one that tells of lists, rules or reviews, with `retained` of what is retained."""
        values = {"id": decision_id, "all": all_kinds, "hidden": list(CONFIDENTIAL_CASES), "retained": retained}
        async with self._engine.connect() as connection:
            found: Resource | None = await connection.scalar(_SHOWN_ONE, values)
        return found

    async def instruction(self, subject_id: str) -> Resource | None:
        """The payment, refund, payout, conversion or return that a decision is about, as its merchant sees it."""
        async with self._engine.connect() as connection:
            found: Resource | None = await connection.scalar(_INSTRUCTION, {"id": subject_id})
        return found

    async def page(
        self,
        before: str | None,
        limit: int,
        *,
        state: str | None,
        kind: str | None,
        subject_id: str | None,
        all_kinds: bool = True,
        retained: bool = True,
    ) -> list[Resource]:
        """Newest first, one more than asked for if there is another page; with `all_kinds` also what tells of lists,
        rules or reviews, with `retained` of what is retained.
        """
        values = {"state": state, "kind": kind, "subject": subject_id, "before": before, "limit": limit + 1}
        seen = {"all": all_kinds, "hidden": list(CONFIDENTIAL_CASES), "retained": retained}
        return await self._rows(_MANY, values | seen)

    async def restrictions(
        self, before: str | None, limit: int, *, subject_id: str | None, now: datetime, with_ended: bool
    ) -> list[Resource]:
        """Those in force at `now`, or all there ever were; newest first, one more if there is another page."""
        values = {"subject": subject_id, "now": now, "all": with_ended, "before": before, "limit": limit + 1}
        return await self._rows(_RESTRICTIONS, values)

    async def authority_orders(self, before: str | None, limit: int, *, subject_id: str | None) -> list[Resource]:
        return await self._rows(_ORDERS, {"subject": subject_id, "before": before, "limit": limit + 1})

    async def _rows(self, statement: sa.TextClause, values: dict[str, Any]) -> list[Resource]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(statement, values)).scalars())

    async def _call(self, function: str, command: BaseModel) -> Resource:
        statement = sa.text(f"SELECT {function}(CAST(:item AS jsonb)) AS answer")
        async with self._engine.begin() as connection:
            rows = await connection.execute(statement.columns(answer=JSONB), {"item": command.model_dump_json()})
            answer = rows.scalar_one()
            made: Resource | None = None
            if answer["ok"]:
                made = await connection.scalar(_ONE, {"id": answer["resource"]["id"]})
        if made is None:
            raise refusal(answer)
        return made


async def register_decision_rules(connection: AsyncConnection, rules: DecisionRules) -> int:
    """Writes what differs from `config/decisions.toml`; answers how many kinds did. As the owner."""
    changed = 0
    for kind, rule in rules.kinds.items():
        values = {
            "kind": kind.value, "ask": f"{kind}:request", "approve": f"{kind}:approve",
            "second": rule.second_person, "open": rule.open_hours * 3600,
            "longest": rule.longest_days * 86400 if rule.longest_days else None, "grounds": sorted(rule.grounds),
            "above": rule.second_person_above_minor,
        }  # fmt: skip
        changed += (await connection.execute(_RULES, values)).rowcount
    return changed


async def decide_directly(
    owner: AsyncEngine,
    kind: DecisionKind,
    subject_id: str,
    now: datetime,
    *,
    detail: Mapping[str, Any] | None = None,
    by: str = "operator:setup",
) -> str:
    """A decision of the owner of the database, for tests, benchmarks and set-up: nobody is asked. Answers its id.

    Raises ValueError where the decision cannot take place.
    """
    decision_id = f"dec_{''.join(secrets.choice('0123456789ABCDEFGHJKMNPQRSTVWXYZ') for _ in range(26))}"
    values = {"id": decision_id, "kind": kind.value, "subject": subject_id, "detail": dict(detail or {}), "by": by}
    async with owner.begin() as connection:
        made = (await connection.execute(_DIRECTLY, values | {"now": now})).all()
    if not made:
        raise ValueError(f"{kind} of {subject_id} cannot take place")
    return decision_id
