"""The institution's people, as `make up` enrols them: logged in, over the operators' API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from cli import local_operators
from cli.operators_api import OpsClient, OpsRefusedError, Sessions
from tests.end_to_end.world import World

Result = TypeVar("Result")
RISK, OTHER_RISK, COMPLIANCE, TREASURY, OTHER_TREASURY = "rui", "ren", "chen", "tian", "tao"
GROUNDS = {
    "instruction.withdraw": "suspected_fraud",
    "user.suspend": "suspected_fraud",
    "user.resume": "resolved",
    "funds.freeze": "suspected_fraud",
    "funds.release": "resolved",
    "review.approve": "evidence",
    "review.reject": "suspected_fraud",
    "inbound.assign": "evidence",
    "inbound.return": "evidence",
    "partner.disable": "technical",
    "partner.enable": "resolved",
}


class Staff:
    """One person asks, another approves; what is refused raises OpsRefusedError with its code."""

    def __init__(self, world: World) -> None:
        self._folder, self._address = world.stack.folder, world.stack.addresses["ops"]
        # Sessions are kept in one file.
        self._one_at_a_time = asyncio.Lock()

    async def arrive(self) -> Staff:
        await asyncio.to_thread(local_operators.keep_some, self._folder)
        return self

    async def decide(
        self, kind: str, subject_id: str, *, by: str = OTHER_RISK, approved_by: str | None = RISK, **detail: Any
    ) -> dict[str, Any]:
        """A decision that is carried out; by one person with `approved_by=None`."""
        body = {"kind": kind, "subject_id": subject_id, "ground": GROUNDS[kind], "reason": "三笔异常", "detail": detail}
        asked = await self.as_person(by, lambda ops: ops.post("/decisions", body))
        if approved_by is None:
            return asked
        return await self.as_person(approved_by, lambda ops: ops.post(f"/decisions/{asked['id']}/approve"))

    async def refusal(self, kind: str, subject_id: str) -> str:
        """The code with which a decision is refused, however far it gets."""
        try:
            await self.decide(kind, subject_id)
        except OpsRefusedError as refused:
            return str(refused)
        return "not refused"

    async def close_bank(self, bank_code: str, seconds: float) -> datetime:
        """Answers when it opens."""
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        body = {"bank_code": bank_code, "until_at": until.isoformat(), "note": "系统维护"}
        await self.as_person(TREASURY, lambda ops: ops.post("/bank_closures", body))
        return until

    async def open_bank(self, bank_code: str) -> None:
        body = {"bank_code": bank_code, "open_again": True, "note": "提前恢复"}
        await self.as_person(TREASURY, lambda ops: ops.post("/bank_closures", body))

    async def as_person(self, login: str, act: Callable[[OpsClient], Result]) -> Result:
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._act, login, act)

    def _act(self, login: str, act: Callable[[OpsClient], Result]) -> Result:
        sessions = Sessions.read(self._folder / "session.json", self._address)
        with OpsClient(self._address, sessions, local_operators.read_operators(self._folder), login) as ops:
            return act(ops)
