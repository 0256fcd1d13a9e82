"""Reviews of payouts in the database: where one stands, the queue, what reviewers do, what merchants show.

A refusal comes as the `DomainError` of its code, and is recorded by the function that refuses.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.reviews import GiveEvidence, ReviewRules, Standing, WorkOnReview
from storage.instructions import refusal

Resource = dict[str, Any]

_TIER = sa.text(
    "INSERT INTO app.review_rule AS u (above_minor, due_seconds, open_seconds, longest_seconds, extension_seconds,"
    " most_extensions, escalation_role) VALUES (:above, :due, :open, :longest, :extension, :most, :role)"
    " ON CONFLICT (above_minor) DO UPDATE SET due_seconds = excluded.due_seconds, open_seconds = excluded.open_seconds,"
    " longest_seconds = excluded.longest_seconds, extension_seconds = excluded.extension_seconds,"
    " most_extensions = excluded.most_extensions, escalation_role = excluded.escalation_role"
    " WHERE u.* IS DISTINCT FROM excluded.*"
)
_OTHER_TIERS = sa.text("DELETE FROM app.review_rule WHERE above_minor <> ALL (:amounts)")
_TARGET = sa.text(
    "UPDATE app.payout_target SET target_seconds = :seconds WHERE speed = :speed AND target_seconds <> :seconds"
)
_QUEUE = sa.text(
    "SELECT app.review_view(r, :now) FROM app.review r"
    " WHERE (CAST(:state AS text) IS NULL AND r.ended_at IS NULL OR r.state = :state)"
    " AND (NOT :unowned OR r.owner IS NULL) AND (CAST(:owner AS text) IS NULL OR r.owner = :owner)"
    " AND (NOT :overdue OR r.ended_at IS NULL AND r.due_at <= :now)"
    " AND (CAST(:after AS text) IS NULL OR (r.due_at, r.id) > ((SELECT x.due_at FROM app.review x WHERE x.id = :after),"
    " :after)) ORDER BY r.due_at, r.id LIMIT :limit"
)
_ONE = sa.text(
    "SELECT app.review_view(r, :now) || jsonb_build_object('hits', r.hits) FROM app.review r WHERE r.id = :id"
)
_ENTRIES = sa.text(
    "SELECT jsonb_build_object('at', app.instant(e.at), 'actor', e.actor, 'action', e.action, 'note', e.note,"
    " 'detail', e.detail) FROM app.review_entry e WHERE e.review_id = :id ORDER BY e.id LIMIT 500"
)
_OF_PAYOUT = sa.text(
    "SELECT app.review_view(r, :now) FROM app.review r WHERE r.payout_id = :payout ORDER BY r.opened_at, r.id"
)


class Reviews:
    """Over an engine of the app role (standing, evidence, alerts) or of the ops role (the rest)."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def standing(self, payout_id: str, review_id: str, now: datetime) -> Standing:
        """Escalates what is due and ends what nobody decided in time, once. Raises NotFoundError(REVIEW_NOT_FOUND)."""
        item = {"payout_id": payout_id, "review_id": review_id, "now": now.isoformat()}
        found = await self._call("app.review_standing", item)
        return Standing.model_validate({name: value for name, value in found.items() if name != "ok"})

    async def give_evidence(self, command: GiveEvidence) -> Resource:
        """The payout as it then stands. Raises NotFoundError(PAYOUT_NOT_FOUND), ConflictError(EVIDENCE_NOT_ASKED)."""
        return await self._resource("app.give_evidence", command)

    async def work_on(self, command: WorkOnReview) -> Resource:
        """The review as it then stands.

        Raises NotAllowedError(PERMISSION_MISSING), NotFoundError(REVIEW_NOT_FOUND), RefusedError(REVIEW_DATE_INVALID),
        ConflictError(REVIEW_ENDED, REVIEW_EXPIRED, REVIEW_TAKEN, REVIEW_NOT_TAKEN, REVIEW_NOT_EXTENDABLE).
        """
        return await self._resource("app.work_on_review", command)

    async def page(
        self,
        after: str | None,
        limit: int,
        *,
        now: datetime,
        state: str | None,
        owner: str | None,
        unowned: bool,
        overdue: bool,
    ) -> list[Resource]:
        """What is due first comes first, one more than asked for if there is another page; those under way, if no
        state is named.
        """
        values = {"now": now, "state": state, "owner": owner, "unowned": unowned, "overdue": overdue}
        async with self._engine.connect() as connection:
            rows = await connection.execute(_QUEUE, values | {"after": after, "limit": limit + 1})
            return list(rows.scalars())

    async def read(self, review_id: str, now: datetime) -> Resource | None:
        """One with its `hits` and its `history`, in order."""
        async with self._engine.connect() as connection:
            found: Resource | None = await connection.scalar(_ONE, {"id": review_id, "now": now})
            if found is None:
                return None
            return found | {"history": list((await connection.execute(_ENTRIES, {"id": review_id})).scalars())}

    async def of_payout(self, payout_id: str, now: datetime) -> list[Resource]:
        """All there ever were of a payout, in order."""
        async with self._engine.connect() as connection:
            return list((await connection.execute(_OF_PAYOUT, {"payout": payout_id, "now": now})).scalars())

    async def _resource(self, function: str, command: BaseModel) -> Resource:
        resource: Resource = (await self._call(function, command.model_dump(mode="json")))["resource"]
        return resource

    async def _call(self, function: str, item: Resource) -> Resource:
        statement = sa.text(f"SELECT {function}(:item)").bindparams(sa.bindparam("item", type_=JSONB))
        async with self._engine.begin() as connection:
            answer: Resource = await connection.scalar(statement, {"item": item})
        if not answer["ok"]:
            raise refusal(answer)
        return answer


async def open_payout_cases(engine: AsyncEngine, now: datetime) -> int:
    """Opens a case for each payout and review that is late (A2.5d), once; answers how many were new."""
    async with engine.begin() as connection:
        return int(await connection.scalar(sa.text("SELECT app.open_payout_cases(:at)"), {"at": now}) or 0)


async def approved_payouts(engine: AsyncEngine, now: datetime, older_than: timedelta, most: int = 100) -> list[str]:
    """Payouts whose approval their process has not acted on since: it is told again."""
    statement = sa.text("SELECT * FROM app.approved_payouts(:at, :older_than, :most)")
    async with engine.connect() as connection:
        found = await connection.execute(statement, {"at": now, "older_than": older_than, "most": most})
        return [str(payout_id) for payout_id in found.scalars()]


async def register_review_rules(connection: AsyncConnection, rules: ReviewRules) -> int:
    """Writes what differs from `config/reviews.toml`; answers how many rows did. As the owner."""
    amounts = [tier.above_minor for tier in rules.tiers]
    changed = (await connection.execute(_OTHER_TIERS, {"amounts": amounts})).rowcount
    for tier in rules.tiers:
        values = {
            "above": tier.above_minor, "due": tier.due_hours * 3600, "open": tier.open_hours * 3600,
            "longest": tier.longest_hours * 3600, "extension": tier.extension_hours * 3600,
            "most": tier.most_extensions, "role": tier.escalation_role,
        }  # fmt: skip
        changed += (await connection.execute(_TIER, values)).rowcount
    for speed, hours in rules.target_hours.model_dump().items():
        changed += (await connection.execute(_TARGET, {"speed": speed, "seconds": hours * 3600})).rowcount
    return changed
