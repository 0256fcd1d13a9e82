"""The people of a local stack, as the demo has them act: logged in, over the operators' API, one thing at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cli import local_operators
from cli.operators_api import OpsClient, Sessions
from domain.business_time import SHANGHAI

# The one who decides about risk, the one who asks where it takes two, and the treasurers.
APPROVER, ASKING, TREASURER, OTHER_TREASURER = "rui", "ren", "tian", "tao"
_REASONS = {
    "waiver.approve": ("application_reviewed", "The application was examined"),
    "instruction.withdraw": ("suspected_fraud", "The order looks made up"),
    "review.approve": ("evidence", "The contract was seen"),
    "settlement.account": ("application_reviewed", "The bank confirms whose account it is"),
    "review.reject": ("suspected_illegality", "A credit card is turned into cash"),
    "dispute.resolve": ("evidence", "Both sides have agreed"),
    "inbound.assign": ("evidence", "The remitter has confirmed for whom it is"),
}
_EVERY_HOUR = [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "opens": "00:00", "closes": "23:59"}]
# A remittance is in suspense a moment after it has arrived.
_ARRIVES_WITHIN_SECONDS, _PAUSE_SECONDS = 60.0, 0.3


class LocalInstitution:
    """`demo.institution.Institution` on a local stack. `tell` says to the audience who did what."""

    def __init__(self, folder: Path, address: str, tell: Callable[[str, str], None]) -> None:
        self._folder, self._address, self._tell = folder, address, tell
        # Sessions are kept in one file.
        self._one_at_a_time = asyncio.Lock()

    async def approve(self, application_id: str) -> None:
        await self._do(self._decide, APPROVER, "waiver.approve", application_id)
        self._say(f"{APPROVER}, who may, logs in and approves {application_id}")

    async def withdraw(self, instruction_id: str) -> None:
        await self._decide_by_two("instruction.withdraw", instruction_id)
        self._say(f"{ASKING} asks to withdraw {instruction_id}, and {APPROVER} approves it: two people, never one")

    async def approve_review(self, payout_id: str) -> None:
        review = await self._do(self._take_review, ASKING, payout_id)
        await self._decide_by_two("review.approve", review["id"])
        self._say(f"{ASKING} takes {review['id']} and approves it, and so does {APPROVER}: the amount takes two people")

    async def reject_review(self, payout_id: str) -> None:
        review = await self._do(self._take_review, APPROVER, payout_id)
        await self._do(self._decide, APPROVER, "review.reject", review["id"])
        why = "; ".join(hit["zh"] for hit in review["hits"])
        self._say(f"{APPROVER} takes {review['id']} ({why}) and rejects it")

    async def resolve_dispute(self, dispute_id: str) -> None:
        await self._do(self._decide, APPROVER, "dispute.resolve", dispute_id, {"resolution": "settled"})
        self._say(f"{APPROVER} resolves {dispute_id}: both sides have agreed")

    async def close_bank(self, bank_code: str, until: datetime) -> None:
        body = {"bank_code": bank_code, "until_at": until.isoformat(), "note": "系统维护"}
        await self._do(self._post, TREASURER, "/bank_closures", body)
        self._say(f"{TREASURER} closes {bank_code} until {until.astimezone(SHANGHAI):%H:%M:%S}")

    async def approve_account(self, proposal_id: str) -> None:
        await self._decide_by_two("settlement.account", proposal_id, TREASURER, OTHER_TREASURER)
        self._say(f"{TREASURER} asks to approve the account {proposal_id}, and {OTHER_TREASURER} approves it")

    async def keep_open(self, offices: Sequence[str]) -> None:
        await self._do(self._load_days, TREASURER, offices)
        for office in offices:
            body = {"bank_code": office, "ranges": _EVERY_HOUR, "note": "演示"}
            await self._do(self._post, TREASURER, "/bank_hours", body)
        self._say(f"{TREASURER} has {' and '.join(offices)} work today and tomorrow, at every hour")

    async def assign_remittance(self, reference: str, user_id: str) -> str:
        found = await self._do(self._remittance, TREASURER, reference)
        await self._decide_by_two("inbound.assign", found["id"], TREASURER, OTHER_TREASURER, user_id=user_id)
        self._say(
            f"{TREASURER} finds out whose {found['id']} is ({found['reason']}), and {OTHER_TREASURER} approves it"
        )
        return str(found["reason"])

    async def _decide_by_two(
        self, kind: str, subject_id: str, asks: str = ASKING, approves: str = APPROVER, **detail: str
    ) -> None:
        asked = await self._do(self._decide, asks, kind, subject_id, detail)
        await self._do(self._post, approves, f"/decisions/{asked['id']}/approve")

    async def _do(self, act: Callable[..., dict[str, Any]], login: str, *about: Any) -> dict[str, Any]:
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._as_person, act, login, *about)

    def _as_person(self, act: Callable[..., dict[str, Any]], login: str, *about: Any) -> dict[str, Any]:
        sessions = Sessions.read(self._folder / "session.json", self._address)
        with OpsClient(self._address, sessions, local_operators.read_operators(self._folder), login) as ops:
            return act(ops, *about)

    @staticmethod
    def _post(ops: OpsClient, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return ops.post(path, body)

    @staticmethod
    def _decide(ops: OpsClient, kind: str, subject_id: str, detail: Mapping[str, str] | None = None) -> dict[str, Any]:
        ground, reason = _REASONS[kind]
        given = {"kind": kind, "subject_id": subject_id, "ground": ground, "reason": reason, "detail": detail or {}}
        return ops.post("/decisions", given)

    @staticmethod
    def _take_review(ops: OpsClient, payout_id: str) -> dict[str, Any]:
        [review] = ops.get(f"/instructions/{payout_id}")["reviews"]
        ops.post(f"/reviews/{review['id']}/take")
        return ops.get(f"/reviews/{review['id']}")

    @staticmethod
    def _load_days(ops: OpsClient, offices: Sequence[str]) -> dict[str, Any]:
        today = datetime.now(SHANGHAI).date()
        days = [today, today + timedelta(days=1)]
        corrections = [
            {"calendar": office, "day": day.isoformat(), "working": True, "name": "演示"}
            for office in offices
            for day in days
        ]
        return ops.post("/calendars", {"note": "演示", "corrections": corrections})

    @staticmethod
    def _remittance(ops: OpsClient, reference: str) -> dict[str, Any]:
        deadline = time.monotonic() + _ARRIVES_WITHIN_SECONDS
        while not (items := ops.get("/inbounds", state="suspense", reference=reference)["items"]):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{reference} is not in suspense")
            time.sleep(_PAUSE_SECONDS)
        return ops.get(f"/inbounds/{items[0]['id']}")

    def _say(self, what: str) -> None:
        self._tell("institution", what)
