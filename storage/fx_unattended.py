"""What of foreign currency was accepted and not started, or decided and never told: read for the sweeper."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.fx_reading import FX_FOR_PROCESS

UnattendedFxKind = Literal[
    "settle_fx", "return_inbound", "open_receiving_account", "receive_inbound", "decision", "tell_fx"
]


class UnattendedFx(BaseModel):
    """One thing that nobody looks after; `resource`: what its process is started from, None of an announcement."""

    model_config = ConfigDict(frozen=True)

    kind: UnattendedFxKind
    id: str
    decision_id: str | None = None
    merchant_id: str
    resource: dict[str, Any] | None

    @property
    def known(self) -> dict[str, Any]:
        """The resource of what has one."""
        if self.resource is None:
            raise LookupError(self.id)
        return self.resource


_WITH_RESOURCE = f"""
    SELECT x.kind, x.id, x.decision_id, coalesce(f.merchant_id, r.merchant_id, a.merchant_id, '') AS merchant_id,
        CASE WHEN f.id IS NOT NULL THEN {FX_FOR_PROCESS} WHEN r.id IS NOT NULL THEN app.inbound_return_view(r)
             WHEN a.id IS NOT NULL THEN app.receiving_account_view(a) END AS resource
    FROM found x
    LEFT JOIN app.fx f ON f.id = x.id
    LEFT JOIN app.inbound_return r ON r.id = x.id
    LEFT JOIN app.receiving_account a ON a.id = x.id
    ORDER BY x.id
"""  # noqa: S608 - nothing of it comes from outside
_UNATTENDED = "SELECT kind, id, decision_id FROM app.unattended_fx(:at, :older_than, :most)"
_UNFINISHED = (
    "SELECT kind, id, CAST(NULL AS text) AS decision_id FROM app.unfinished_fx(:at, :older_than, :after, :most)"
)
_FIND = sa.text(f"WITH found AS ({_UNATTENDED}) {_WITH_RESOURCE}").columns(resource=JSONB)
_FIND_UNFINISHED = sa.text(f"WITH found AS ({_UNFINISHED}) {_WITH_RESOURCE}").columns(resource=JSONB)


async def find_unattended_fx(
    engine: AsyncEngine, now: datetime, older_than: timedelta, most: int = 100
) -> list[UnattendedFx]:
    """At most `most` of each kind, oldest first."""
    async with engine.connect() as connection:
        rows = await connection.execute(_FIND, {"at": now, "older_than": older_than, "most": most})
        return [UnattendedFx.model_validate(dict(row)) for row in rows.mappings()]


async def find_unfinished_fx(
    engine: AsyncEngine, now: datetime, older_than: timedelta, after: str, most: int
) -> list[UnattendedFx]:
    """What has not come to an end and has not moved for `older_than`: at most `most`, by id, from `after` on."""
    parameters = {"at": now, "older_than": older_than, "after": after, "most": most}
    async with engine.connect() as connection:
        rows = await connection.execute(_FIND_UNFINISHED, parameters)
        return [UnattendedFx.model_validate(dict(row)) for row in rows.mappings()]
