"""How users leave: over the API, by telephone, by email; and what is opened of them later for an authority's order."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pyrage import decrypt, x25519

from cli.operators_api import OpsClient
from client import FundsRecord
from tests.end_to_end.play import FINAL_PAYOUT, NotInTimeError, until
from tests.end_to_end.staff import COMPLIANCE, RISK, Staff
from tests.end_to_end.world import World
from tests.long.crowd import Member

SUPPORT, OTHER_COMPLIANCE = "su", "cai"
FEE_MINOR = 100
KINDS = ["identity", "transaction", "source_of_funds"]


class Leaving:
    """Closes accounts as merchants and our people do; the worker does the rest."""

    def __init__(self, world: World, staff: Staff) -> None:
        self._world, self._staff = world, staff

    async def leave(self, member: Member, channel: str = "merchant") -> str:
        """Asked, everything in the way cleared, completed; the closure's id."""
        closure_id = await self.ask(member, channel)
        await self.clear(member, closure_id)
        await self.completed(closure_id)
        return closure_id

    async def ask(self, member: Member, channel: str = "merchant") -> str:
        if channel == "merchant":
            closure = await member.merchant.client.closures.create(
                member.user_id,
                identity_method="login",
                identity_checked_at=datetime.now(UTC),
                identity_evidence_ref=member.says("login"),
                idempotency_key=member.says("key"),
            )
            return closure.id
        body = {"user_id": member.user_id, "scope": "account", "channel": channel, "evidence_ref": member.says("mail")}
        made = await self._staff.as_person(SUPPORT, lambda ops: ops.post("/closures", body))
        # What somebody has to judge, another person judges.
        who, check = SUPPORT, dict[str, Any](method="id_number", id_number=member.payer.id_number)
        if channel == "email":
            who, check = RISK, {"method": "document", "holds": True}
        check["evidence_ref"] = member.says("scan")
        await self._staff.as_person(who, lambda ops: ops.post(f"/closures/{made['id']}/identity", check))
        return str(made["id"])

    async def clear(self, member: Member, closure_id: str) -> None:
        """What is in the way: disputes, balances of either currency, the merchant's records."""
        await self._resolve(member)
        await self._empty(member)
        member.personal |= {"goods": f"青花瓷茶具{member.payer.name}号", "counterparty": f"王{member.payer.name[::-1]}"}
        goods, counterparty = member.personal["goods"], member.personal["counterparty"]
        order = FundsRecord(member.says("order"), 12_800, "CNY", date(2026, 11, 19), goods, counterparty)
        key = member.says("key")
        await member.merchant.client.closures.hand_over(closure_id, [order], complete=True, idempotency_key=key)

    async def completed(self, closure_id: str, within_seconds: float = 90) -> None:
        """Its answer is given."""
        try:
            await until(lambda: self.standing(closure_id), ("completed",), within_seconds)
        except NotInTimeError:
            view = "SELECT app.closure_view(c, now(), true)::text AS shown FROM app.closure c WHERE id = :id"
            raise NotInTimeError(str(await self._world.rows(view, id=closure_id))) from None

    async def standing(self, closure_id: str) -> dict[str, Any]:
        [row] = await self._world.rows("SELECT state FROM app.closure WHERE id = :id", id=closure_id)
        return row

    async def _resolve(self, member: Member) -> None:
        open_ = "SELECT id FROM app.dispute WHERE user_id = :id AND state = 'open'"
        for row in await self._world.rows(open_, id=member.user_id):
            detail = {"resolution": "settled", "evidence_ref": member.says("file")}
            body = {"kind": "dispute.resolve", "subject_id": row["id"], "ground": "evidence", "reason": "双方和解"}
            await self._staff.as_person(RISK, lambda ops: ops.post("/decisions", body | {"detail": detail}))  # noqa: B023

    async def _empty(self, member: Member) -> None:
        """Foreign currency is converted first."""
        if member.holder is not None and (foreign := (await member.holder.balance("USD"))[0]):
            fx = await member.holder.convert(foreign, evidence=[])
            assert (await member.holder.ended(fx["id"]))["state"] == "settled"
        available, held, frozen = await member.merchant.balance(member.user_id)
        assert (held, frozen) == (0, 0)
        if available:
            account = await member.payer.name_account(member.personal["account for the rest"])
            order = await member.payer.payout_order(account, available - FEE_MINOR)
            payout = await member.asks("/v1/payouts", order)
            assert (await member.merchant.payout_ended(payout["id"], FINAL_PAYOUT, 60))["state"] == "succeeded"


async def opened_for_an_order(staff: Staff, user_id: str) -> dict[str, Any]:
    """What an authority reads of a user who has left: its order is registered and the opening decided by two each."""
    authority = x25519.Identity.generate()
    order = {"issuer": "示例市公安局", "number": f"X-{user_id[-20:]}", "demands": "query"}
    order["expires_at"] = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    registered = await decided(staff, "authority_order.register", user_id, order)
    detail = {"order_id": registered["id"].replace("dec_", "ord_"), "kinds": KINDS}
    decision = await decided(staff, "retention.disclose", user_id, detail)
    body = {"decision_id": decision["id"], "recipient": str(authority.to_public())}
    made = await staff.as_person(OTHER_COMPLIANCE, lambda ops: ops.post("/retention/disclosures", body))
    found = {}
    with tarfile.open(fileobj=io.BytesIO(decrypt(base64.b64decode(made["archive"]), [authority]))) as archive:
        for entry in archive.getmembers():
            file = archive.extractfile(entry)
            assert file is not None
            found[entry.name] = json.loads(file.read())
    return found


async def decided(staff: Staff, kind: str, subject_id: str, detail: dict[str, Any]) -> dict[str, Any]:
    """By two people of compliance."""
    body = {"kind": kind, "subject_id": subject_id, "ground": "authority", "reason": "公安机关查询", "detail": detail}
    asked = await staff.as_person(COMPLIANCE, lambda ops: ops.post("/decisions", body))

    def approve(ops: OpsClient) -> dict[str, Any]:
        return ops.post(f"/decisions/{asked['id']}/approve")

    made = await staff.as_person(OTHER_COMPLIANCE, approve)
    assert made["state"] == "committed", made
    return made
