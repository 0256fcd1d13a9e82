"""What is retained, over the operators' API: found by number, held, and opened for an order by two (P4.5e)."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from pyrage import DecryptError, decrypt, x25519

from domain.retention import RetainedKind
from tests.ops.conftest import POLICY, RETENTION_KEY, OpsStage, Person
from tests.ops.test_closures import NUMBER, OTHERS, UNKNOWN, code_of, decided
from tests.ops.test_decisions import a_user
from vault.indexing import IndexKind
from vault.retention import RetainedRecord, RetentionStore

K = RetainedKind
NAME = "欧阳留存"
AUTHORITY = x25519.Identity.generate()
RECIPIENT = str(AUTHORITY.to_public())


@dataclass
class Kept:
    """A user who has left, with what is kept of them, and two people who answer for it."""

    ops: OpsStage
    user: str
    chen: Person
    cai: Person

    async def keep(self, kind: RetainedKind, event_on: date, **changes: Any) -> str:
        index = self.ops.services.vault.blind_index(IndexKind.PERSON, NUMBER)
        [merchant] = await self.ops.rows("SELECT merchant_id AS id FROM app.end_user WHERE id = :u", u=self.user)
        values = {
            "record_id": f"ret_{self.ops.ids.ulid()}", "user_id": self.user, "merchant_id": merchant["id"],
            "person_index": index, "kind": kind, "source_id": f"x_{self.ops.ids.ulid()}", "event_on": event_on,
            "content": {"name": NAME, "id_number": NUMBER},
        }  # fmt: skip
        record = RetainedRecord.model_validate(values | changes)
        public = str(x25519.Identity.from_str(RETENTION_KEY).to_public())
        database = self.ops.database
        store = RetentionStore(
            database.app_engine, database.key_app_engine, public, self.ops.clock.now, POLICY.retention
        )
        assert await store.keep([record]) == 1
        return record.record_id

    async def order(self, subject: str = "", **changes: Any) -> str:
        """Of an authority that wants to know, for a week."""
        detail = {"issuer": "示例市公安局", "number": f"X-{self.ops.ids.ulid()}", "demands": "query"}
        detail |= {"expires_at": (self.ops.clock.now() + timedelta(days=7)).isoformat()}
        subject = subject or self.user
        made = await decided(
            "authority_order.register", subject, "authority", self.chen, self.cai, **(detail | changes)
        )
        assert made.json()["state"] == "committed", made.text
        return "ord_" + str(made.json()["id"]).removeprefix("dec_")

    async def disclosure(self, order: str, *kinds: str, **span: str) -> httpx.Response:
        detail = {"order_id": order, "kinds": list(kinds or ("identity", "transaction"))} | span
        return await decided("retention.disclose", self.user, "authority", self.chen, self.cai, **detail)

    async def opened(self, decision: str, who: Person | None = None, recipient: str = RECIPIENT) -> httpx.Response:
        return await (who or self.cai).post("/retention/disclosures", {"decision_id": decision, "recipient": recipient})


@pytest.fixture
async def kept(ops: OpsStage) -> Kept:
    return Kept(ops, await a_user(ops), await ops.operator("compliance"), await ops.operator("compliance"))


def files_of(answer: httpx.Response, identity: x25519.Identity = AUTHORITY) -> dict[str, dict[str, Any]]:
    """What the authority reads."""
    sealed = base64.b64decode(answer.json()["archive"])
    assert hashlib.sha256(sealed).hexdigest() == answer.json()["sha256"]
    with tarfile.open(fileobj=io.BytesIO(decrypt(sealed, [identity]))) as archive:
        found = {}
        for entry in archive.getmembers():
            file = archive.extractfile(entry)
            assert file is not None
            found[entry.name] = file.read()
    digests = json.loads(found["manifest.json"])["sha256"]
    others = {name: content for name, content in found.items() if name != "manifest.json"}
    assert digests == {name: hashlib.sha256(content).hexdigest() for name, content in others.items()}
    return {name: json.loads(content) for name, content in found.items()}


# Found


async def test_a_person_is_found_by_number_with_kinds_years_and_days_and_nothing_that_it_says(kept: Kept) -> None:
    await kept.keep(K.IDENTITY, date(2026, 11, 20))
    await kept.keep(K.TRANSACTION, date(2021, 12, 31))
    await kept.keep(K.TRANSACTION, date(2021, 1, 1), consent_until=date(2040, 6, 30))
    found = await kept.chen.post("/retention/search", {"id_number": NUMBER.lower()})
    [user] = found.json()["users"]
    assert (user["user_id"], user["held_by"]) == (kept.user, None)
    shown = [[line[name] for name in ("kind", "event_year", "records", "until", "ground")] for line in user["lines"]]
    assert shown == [
        ["identity", 2026, 1, "2037-01-01", "law"],
        ["transaction", 2021, 1, "2040-07-01", "consent"],
        ["transaction", 2021, 1, "2032-01-01", "law"],
    ]
    assert (await kept.chen.post("/retention/search", {"id_number": OTHERS})).json()["users"] == []
    index = kept.ops.services.vault.blind_index(IndexKind.PERSON, NUMBER)
    looked = await kept.ops.rows("SELECT * FROM retention.lookup ORDER BY recorded_at")
    assert [(row["operator_id"], row["user_ids"], row["outcome"]) for row in looked] == [
        (kept.chen.id, [kept.user], "answered"),
        (kept.chen.id, [], "answered"),
    ]
    written = found.text + str(looked) + str(await kept.ops.rows("SELECT * FROM app.operation"))
    for value in (NUMBER, NUMBER.lower(), OTHERS, NAME, index):
        assert value not in written
    assert len(await kept.ops.records(action="search_retained", outcome="done", actor=kept.chen.actor)) == 2


async def test_nobody_but_compliance_learns_that_something_is_retained(kept: Kept) -> None:
    await kept.keep(K.IDENTITY, date(2026, 11, 20))
    made = (await kept.disclosure(await kept.order())).json()
    for role in ("support", "risk", "treasury", "auditor", "administrator"):
        other = await kept.ops.operator(role)
        denied = [
            await other.post("/retention/search", {"id_number": NUMBER}),
            await other.get(f"/retention/users/{kept.user}"),
            await kept.opened(made["id"], other),
            await other.get("/retention/reports"),
            await decided("retention.hold", kept.user, "proceedings", other),
        ]
        assert {code_of(answer) for answer in denied} == {(403, "PERMISSION_MISSING")}, role
        assert len(await kept.ops.records(actor=other.actor, outcome="denied")) == len(denied)
        if role in ("support", "risk", "treasury"):
            shown = (await other.get("/decisions", subject_id=kept.user)).json()["items"]
            assert "retention.disclose" not in {item["kind"] for item in shown}
            assert code_of(await other.get(f"/decisions/{made['id']}")) == (404, "DECISION_NOT_FOUND")
    assert (await kept.chen.get(f"/decisions/{made['id']}")).json()["kind"] == "retention.disclose"
    assert await kept.ops.rows("SELECT 1 FROM retention.access") == []
    assert await kept.ops.rows("SELECT 1 FROM retention.hold") == []


async def test_the_search_itself_asks_for_the_permission(kept: Kept) -> None:
    su = await kept.ops.operator("support")
    item = json.dumps({"now": kept.ops.clock.now().isoformat(), "operator_id": su.id, "person_index": "x"})
    [answer] = await kept.ops.rows("SELECT retention.search(CAST(:i AS jsonb)) AS a", i=item)
    found = answer["a"] if isinstance(answer["a"], dict) else json.loads(answer["a"])
    assert found == {"ok": False, "error": "permission_missing"}
    [looked] = await kept.ops.rows("SELECT outcome, reason, user_ids FROM retention.lookup")
    assert looked == {"outcome": "refused", "reason": "permission_missing", "user_ids": []}


# Opened


async def test_two_people_open_for_an_order_and_the_authority_alone_reads_it(kept: Kept) -> None:
    identity = await kept.keep(K.IDENTITY, date(2026, 11, 20))
    payment = await kept.keep(K.TRANSACTION, date(2025, 5, 1))
    await kept.keep(K.TRANSACTION, date(2024, 12, 31))
    await kept.keep(K.SOURCE_OF_FUNDS, date(2025, 5, 1))
    order = await kept.order()
    made = (await kept.disclosure(order, **{"from": "2025-01-01"})).json()
    assert made["detail"] == {"order_id": order, "kinds": ["identity", "transaction"], "from": "2025-01-01"}
    answer = await kept.opened(made["id"])
    assert answer.status_code == 200, answer.text
    manifest = answer.json()["manifest"]
    assert (manifest["order_id"], manifest["decision_id"], manifest["records"]) == (order, made["id"], 2)
    assert [entry["record_id"] for entry in manifest["entries"]] == [payment, identity]
    assert NAME not in answer.text
    assert NUMBER not in answer.text
    files = files_of(answer)
    assert sorted(files) == [f"identity/{identity}.json", "manifest.json", f"transaction/{payment}.json"]
    assert files[f"identity/{identity}.json"]["content"] == {"name": NAME, "id_number": NUMBER}
    assert "person_index" not in files[f"identity/{identity}.json"]
    with pytest.raises(DecryptError):
        files_of(answer, x25519.Identity.from_str(RETENTION_KEY))
    again = await kept.opened(made["id"], kept.chen)
    assert again.json()["archive"] != answer.json()["archive"]
    shown = (await kept.chen.get(f"/retention/users/{kept.user}")).json()
    opened = {(each["login"], each["records"], each["outcome"]) for each in shown["accesses"]}
    assert opened == {(kept.chen.login, 2, "opened"), (kept.cai.login, 2, "opened")}
    [first, _] = await kept.ops.records(action="disclose_retained", outcome="done")
    assert (first["subject_id"], first["detail"]["order_id"], first["detail"]["records"]) == (made["id"], order, 2)
    assert (first["detail"]["recipient"], first["detail"]["sha256"]) == (RECIPIENT, answer.json()["sha256"])
    records = str(await kept.ops.rows("SELECT * FROM app.operation"))
    assert NAME not in records
    assert NUMBER not in records


async def test_an_order_that_is_not_this_users_or_is_over_is_refused_before_two_can_decide(kept: Kept) -> None:
    other = await a_user(kept.ops)
    for order in (await kept.order(other), await kept.order(demands="hold"), f"ord_{UNKNOWN}"):
        assert code_of(await kept.disclosure(order)) == (409, "ORDER_NOT_IN_FORCE")
    order = await kept.order()
    kept.ops.clock.advance(days=7)
    for person in (kept.chen, kept.cai):
        await person.log_in()
    assert code_of(await kept.disclosure(order)) == (409, "ORDER_NOT_IN_FORCE")
    assert await kept.ops.rows("SELECT 1 FROM app.decision WHERE kind = 'retention.disclose'") == []


async def test_an_order_that_ends_between_decision_and_opening_opens_nothing(kept: Kept) -> None:
    await kept.keep(K.IDENTITY, date(2026, 11, 20))
    made = (await kept.disclosure(await kept.order())).json()
    kept.ops.clock.advance(days=7)
    await kept.cai.log_in()
    refused = await kept.opened(made["id"])
    assert code_of(refused) == (409, "ORDER_NOT_IN_FORCE")
    [access] = await kept.ops.rows("SELECT outcome, reason, record_ids FROM retention.access")
    assert access == {"outcome": "refused", "reason": "order_not_in_force", "record_ids": []}
    [record] = await kept.ops.records(action="disclose_retained", outcome="refused")
    assert (record["detail"]["said"], record["actor"]) == ("order_not_in_force", kept.cai.actor)


async def test_one_person_twice_somebody_else_and_an_open_request_open_nothing(kept: Kept) -> None:
    await kept.keep(K.IDENTITY, date(2026, 11, 20))
    detail = {"order_id": await kept.order(), "kinds": ["identity"]}
    asked = (await decided("retention.disclose", kept.user, "authority", kept.chen, **detail)).json()
    assert code_of(await kept.opened(asked["id"], kept.chen)) == (409, "DECISION_NOT_APPLICABLE")
    own = await kept.chen.post(f"/decisions/{asked['id']}/approve")
    assert code_of(own) == (403, "SECOND_PERSON_REQUIRED")
    assert (await kept.cai.post(f"/decisions/{asked['id']}/approve")).json()["state"] == "committed"
    third = await kept.ops.operator("compliance")
    assert code_of(await kept.opened(asked["id"], third)) == (403, "PERMISSION_MISSING")
    assert code_of(await kept.opened(f"dec_{UNKNOWN}")) == (404, "DECISION_NOT_FOUND")
    opened = await kept.ops.rows("SELECT outcome FROM retention.access WHERE outcome = 'opened'")
    assert opened == []
    assert len(await kept.ops.rows("SELECT 1 FROM retention.access WHERE outcome = 'refused'")) == 3


async def test_an_order_that_was_tampered_with_opens_nothing(kept: Kept) -> None:
    await kept.keep(K.IDENTITY, date(2026, 11, 20))
    made = (await kept.disclosure(await kept.order())).json()
    # Whoever can do this is the server's own administrator.
    await kept.ops.rows("ALTER TABLE app.authority_order DISABLE TRIGGER USER")
    await kept.ops.rows("UPDATE app.authority_order SET expires_at = expires_at + interval '1 year'")
    assert code_of(await kept.opened(made["id"])) == (409, "ORDER_NOT_IN_FORCE")
    assert (await kept.ops.rows("SELECT reason FROM retention.access")) == [{"reason": "order_not_as_decided"}]


@pytest.mark.parametrize(
    ("detail", "field"),
    [
        ({}, "detail.order_id"),
        ({"order_id": "ord_1"}, "detail.order_id"),
        ({"kinds": []}, "detail.kinds"),
        ({"kinds": ["identity", "identity"]}, "detail.kinds"),
        ({"kinds": ["everything"]}, "detail.kinds"),
        ({"from": "yesterday"}, "detail.from"),
        ({"from": 1}, "detail.from"),
        ({"since": "2026-01-01"}, "detail"),
        ({"from": "2026-02-01", "until": "2026-01-31"}, "detail.until"),
    ],
)
async def test_a_disclosure_that_says_something_else_is_none(kept: Kept, detail: dict[str, Any], field: str) -> None:
    given = {"order_id": f"ord_{UNKNOWN}", "kinds": ["identity"]} | detail if detail else detail
    refused = await decided("retention.disclose", kept.user, "authority", kept.chen, **given)
    assert code_of(refused) == (400, "REQUEST_INVALID")
    assert field in [fault["field"] for fault in refused.json()["errors"]], refused.text


async def test_without_a_key_of_the_authority_nothing_is_opened(kept: Kept) -> None:
    await kept.keep(K.IDENTITY, date(2026, 11, 20))
    made = (await kept.disclosure(await kept.order())).json()
    slip = RECIPIENT[:-1] + ("q" if RECIPIENT[-1] != "q" else "p")
    for wrong in ("", "age1", RETENTION_KEY, slip, RECIPIENT.upper()):
        refused = await kept.opened(made["id"], recipient=wrong)
        assert code_of(refused) == (400, "REQUEST_INVALID"), wrong
        assert [fault["field"] for fault in refused.json()["errors"]] == ["recipient"]
        assert RETENTION_KEY not in refused.text
    assert await kept.ops.rows("SELECT 1 FROM retention.access") == []


# Held and purged


async def test_two_people_hold_what_is_retained_and_two_release_it(kept: Kept) -> None:
    await kept.keep(K.IDENTITY, date(2026, 11, 20))
    release = await decided("retention.release", kept.user, "resolved", kept.chen)
    assert code_of(release) == (409, "DECISION_NOT_APPLICABLE")
    other = await kept.order(await a_user(kept.ops))
    for foreign in (other, f"ord_{UNKNOWN}"):
        refused = await decided("retention.hold", kept.user, "authority", kept.chen, order_id=foreign)
        assert code_of(refused) == (409, "ORDER_NOT_IN_FORCE")
    held = await decided("retention.hold", kept.user, "proceedings", kept.chen, kept.cai)
    assert held.json()["state"] == "committed", held.text
    again = await decided("retention.hold", kept.user, "proceedings", kept.chen)
    assert code_of(again) == (409, "DECISION_NOT_APPLICABLE")
    [user] = (await kept.chen.post("/retention/search", {"id_number": NUMBER})).json()["users"]
    assert user["held_by"].startswith("hold:rth_")
    await decided("retention.release", kept.user, "resolved", kept.cai, kept.chen)
    [hold] = (await kept.chen.get(f"/retention/users/{kept.user}")).json()["holds"]
    assert (hold["ground"], hold["placed_by"]) == ("proceedings", held.json()["id"])
    assert hold["lifted_by"] is not None


async def test_a_hold_that_an_order_asks_for_names_it(kept: Kept) -> None:
    order = await kept.order()
    await decided("retention.hold", kept.user, "authority", kept.chen, kept.cai, order_id=order)
    [hold] = (await kept.chen.get(f"/retention/users/{kept.user}")).json()["holds"]
    assert (hold["order_id"], hold["lifted_at"]) == (order, None)


async def test_the_reports_of_the_daily_purge_are_read_page_by_page(kept: Kept) -> None:
    rules = POLICY.retention.model_dump_json()
    for day in (18, 19, 20):
        await kept.ops.rows(
            "SELECT retention.report(:d, CAST(:r AS jsonb), :at)",
            d=date(2026, 11, day), r=rules, at=kept.ops.clock.now() - timedelta(days=20 - day),
        )  # fmt: skip
    page = (await kept.chen.get("/retention/reports", limit=2)).json()
    assert [item["run_on"] for item in page["items"]] == ["2026-11-20", "2026-11-19"]
    assert page["items"][0]["details"] == {"purged": [], "held": [], "erased": [], "waiting": []}
    rest = (await kept.chen.get("/retention/reports", limit=2, cursor=page["next_cursor"])).json()
    assert [[item["run_on"] for item in rest["items"]], rest["next_cursor"]] == [["2026-11-18"], None]
    assert code_of(await kept.chen.get("/retention/reports", cursor="x")) == (400, "CURSOR_INVALID")
    assert code_of(await kept.chen.get("/retention/users/usr_%00")) == (404, "USER_NOT_FOUND")
