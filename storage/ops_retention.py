"""What is retained as those who answer for it see it: counts, holds, who opened what; never what it says (P4.5e)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.retention import KeptLine, RetainedKind, RetentionRules, earliest_purge, ground_of
from storage.instructions import refusal

Resource = dict[str, Any]

_SEARCH = sa.text("SELECT retention.search(CAST(:item AS jsonb))")
_MERCHANT = sa.text("SELECT merchant_id FROM app.end_user WHERE id = :user")
_KEPT = sa.text("SELECT * FROM retention.kept(:user)")
_HOLDS = sa.text(
    "SELECT hold_id AS id, ground, order_id, placed_by, app.instant(placed_at) AS placed_at, lifted_by,"
    " app.instant(lifted_at) AS lifted_at FROM retention.hold WHERE user_id = :user ORDER BY retention.hold.placed_at"
)
_ACCESSES = sa.text(
    "SELECT decision_id, order_id, operator_id,"
    " (SELECT o.login FROM app.operator o WHERE o.id = a.operator_id) AS login, cardinality(record_ids) AS records,"
    " outcome, reason, app.instant(at) AS at FROM retention.access a"
    " WHERE user_id = :user ORDER BY a.at DESC, a.access_id LIMIT 100"
)
_REPORTS = sa.text(
    "SELECT run_on, app.instant(at) AS at, purged, erased, held, unfinished, details FROM retention.purge_report p"
    " WHERE CAST(:before AS date) IS NULL OR (p.run_on, p.at) < (:before, CAST(:before_at AS timestamptz))"
    " ORDER BY p.run_on DESC, p.at DESC LIMIT :limit"
)
_DECISION = sa.text("SELECT d.subject_id, d.merchant_id, d.detail FROM app.decision d WHERE d.id = :id")


class SearchRetained(BaseModel):
    """Whose identity number has this keyed index: it is compared, and kept nowhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    now: datetime
    request_id: str
    operator_id: str
    person_index: str


class OpsRetention:
    """Over an engine of the ops role."""

    def __init__(self, engine: AsyncEngine, rules: RetentionRules) -> None:
        self._engine, self._rules = engine, rules

    async def search(self, command: SearchRetained) -> list[Resource]:
        """The users of a person with what is kept of each. Recorded; raises NotAllowedError(PERMISSION_MISSING)."""
        async with self._engine.begin() as connection:
            answer = _parsed(await connection.scalar(_SEARCH, {"item": command.model_dump_json()}))
        if not answer["ok"]:
            raise refusal(answer)
        return [user | {"lines": [_shown(self._line(row)) for row in user["lines"] or ()]} for user in answer["users"]]

    async def kept(self, user_id: str) -> list[KeptLine]:
        """What is kept of a user now, as an answer to the user states it."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_KEPT, {"user": user_id})).mappings().all()
        return [self._line(dict(row)) for row in rows]

    async def of_user(self, user_id: str) -> Resource | None:
        """What is kept, the holds and the accesses of a user; None if there is no such user."""
        async with self._engine.connect() as connection:
            merchant_id = await connection.scalar(_MERCHANT, {"user": user_id})
            if merchant_id is None:
                return None
            holds, accesses = [
                [dict(row) for row in (await connection.execute(statement, {"user": user_id})).mappings()]
                for statement in (_HOLDS, _ACCESSES)
            ]
        lines = [_shown(line) for line in await self.kept(user_id)]
        return {"user_id": user_id, "merchant_id": merchant_id, "lines": lines, "holds": holds, "accesses": accesses}

    async def reports(self, before: tuple[date, datetime] | None, limit: int) -> list[Resource]:
        """What each day's purge came to, the latest first; one more than asked for if there is another page."""
        run_on, at = before or (None, None)
        asked = {"before": run_on, "before_at": at, "limit": limit + 1}
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_REPORTS, asked)).mappings().all()
        return [
            {**row, "run_on": row["run_on"].isoformat(), "details": _parsed(row["details"]), "object": "purge_report"}
            for row in rows
        ]

    async def decision(self, decision_id: str) -> Resource | None:
        """`subject_id`, `merchant_id` and `detail` of a decision."""
        async with self._engine.connect() as connection:
            found = (await connection.execute(_DECISION, {"id": decision_id})).mappings().first()
        return None if found is None else {**found, "detail": _parsed(found["detail"])}

    def _line(self, row: Mapping[str, Any]) -> KeptLine:
        """Years and days: the first day on which it may be destroyed, and why it is kept until then."""
        kind, consent = RetainedKind(row["kind"]), row["consent_until"]
        until = date.fromisoformat(consent) if isinstance(consent, str) else consent
        event_on = date(row["event_year"], 1, 1)
        return KeptLine(
            kind=kind,
            event_year=row["event_year"],
            records=row["records"],
            until=earliest_purge(kind, event_on, self._rules, until),
            ground=ground_of(kind, event_on, self._rules, until),
        )


def _shown(line: KeptLine) -> Resource:
    return line.model_dump(mode="json")


def _parsed(value: Any) -> Any:
    """A JSON column that was read through plain text SQL comes as text with some drivers, parsed with others."""
    return json.loads(value) if isinstance(value, str) else value
