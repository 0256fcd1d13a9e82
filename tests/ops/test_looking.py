"""What operators see and do: a payment and why it waits, a user masked or in the open, records, merchants, payloads."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from api.problems import status_of
from domain.errors import ErrorCode
from tests.api.conftest import ELEMENTS, Merchant, Stage
from tests.ops.conftest import OpsStage, Person, open_ops_stage

UNKNOWN = "0" * 26
REASON = {"reason_code": "support_case", "reason_text": "The payer calls about a debit"}


@dataclass
class House:
    """The merchants' API and the operators' over one database, with a payer whose card is bound."""

    api: Stage
    ops: OpsStage
    merchant: Merchant
    user_id: str
    binding_id: str

    async def sent(self, state: str | None = None) -> dict[str, Any]:
        """A payment at the bank, and settled if a state is named."""
        payment = await self.api.payment(self.merchant, self.user_id, self.binding_id)
        await self.merchant.post(f"/v1/payments/{payment['id']}/code", {"code": "482913"})
        await self.api.debit_sent(payment["id"])
        if state is not None:
            await self.api.settle_payment(self.merchant, payment, state)
        return payment


@pytest.fixture
async def house(stage: Stage) -> AsyncIterator[House]:
    async with open_ops_stage(stage.database, stage.clock, stage.processes) as ops:
        merchant = await stage.merchant()
        user_id, binding_id = await stage.payer(merchant)
        yield House(stage, ops, merchant, user_id, binding_id)


async def test_a_payment_is_found_by_its_order_its_request_number_and_its_id(house: House) -> None:
    su, payment = await house.ops.operator("support"), await house.sent("succeeded")
    detail = (await su.get(f"/instructions/{payment['id']}")).json()
    number = next(effect["request_number"] for effect in detail["effects"] if effect["step"] == "DB")
    by = [
        {"order_number": payment["order_number"]},
        {"order_number": payment["order_number"], "merchant_id": house.merchant.id},
        {"id": payment["id"]},
        {"request_number": number},
    ]
    for query in by:
        [found] = (await su.get("/instructions", **query)).json()["items"]
        assert (found["id"], found["merchant_id"], found["state"]) == (payment["id"], house.merchant.id, "succeeded")
    for query in ({"order_number": "no such order"}, {"bank_reference": "none"}, {"id": f"pay_{UNKNOWN}"}):
        assert (await su.get("/instructions", **query)).json()["items"] == []


async def test_everything_that_happened_to_a_payment_stands_in_one_place(house: House) -> None:
    su, payment = await house.ops.operator("support"), await house.sent("failed")
    shown = (await su.get(f"/instructions/{payment['id']}")).json()
    assert (shown["state"], shown["origin"], shown["merchant_id"]) == ("failed", "user_relayed", house.merchant.id)
    assert [effect["step"] for effect in shown["effects"]] == ["PC", "VC", "DB"]
    assert [attempt["verdict"] for attempt in shown["code_attempts"]] == ["confirmed"]
    assert [event["sequence"] for event in shown["events"]] == list(range(1, len(shown["events"]) + 1))
    assert "accept_payment" in {record["action"] for record in shown["records"]}
    assert shown["process"]["workflow_id"] == f"collect-payment/{payment['id']}"
    assert shown["process"]["temporal_ui_path"].endswith(f"/workflows/collect-payment%2F{payment['id']}")
    everything = json.dumps(shown, ensure_ascii=False)
    assert not [value for value in ELEMENTS.values() if value in everything]


async def test_what_does_not_exist_is_said_so_for_reading_and_asking(house: House) -> None:
    su = await house.ops.operator("support")
    for identifier in (f"rfd_{UNKNOWN}", "pay_x", "usr_1", "x" * 300):
        read = await su.get(f"/instructions/{identifier}")
        asked = await su.post(f"/instructions/{identifier}/ask-bank")
        for answer in (read, asked):
            assert (answer.status_code, answer.json()["code"]) == (404, "INSTRUCTION_NOT_FOUND"), identifier


async def test_a_search_that_is_none_names_its_field(house: House) -> None:
    su = await house.ops.operator("support")
    queries: list[dict[str, str]] = [
        {},
        {"order_number": "1", "id": "pay_1"},
        {"merchant_id": f"mch_{UNKNOWN}", "id": "pay_1"},
        {"order_number": "x" * 200},
        {"order_number": ELEMENTS["id_number"]},
        {"order_number": "a\nb"},
    ]
    for query in queries:
        answer = await su.get("/instructions", **query)
        assert (answer.status_code, answer.json()["code"]) == (400, "REQUEST_INVALID"), query
        assert answer.json()["errors"][0]["field"] in ("order_number", "merchant_id")


async def test_the_bank_is_asked_by_the_process_and_nothing_is_sent(house: House) -> None:
    su, payment = await house.ops.operator("support"), await house.sent()
    before = await house.api.rows("SELECT * FROM app.effect ORDER BY request_number")
    answer = await su.post(f"/instructions/{payment['id']}/ask-bank")
    assert (answer.status_code, answer.json()["how"]) == (200, "told")
    assert house.api.processes.told[-1] == ("collect-payment", payment["id"], "notice")
    assert await house.api.rows("SELECT * FROM app.effect ORDER BY request_number") == before
    records = await house.api.records(action="ask_bank", subject_id=payment["id"])
    assert [(record["outcome"], record["actor"]) for record in records] == [("received", su.actor), ("done", su.actor)]


async def test_a_process_that_is_gone_runs_again_and_a_failure_is_looked_at_once_more(house: House) -> None:
    su, lost, failed = await house.ops.operator("support"), await house.sent(), await house.sent("failed")
    house.api.processes.takes_notices = False
    assert (await su.post(f"/instructions/{lost['id']}/ask-bank")).json()["how"] == "revived"
    assert house.api.processes.started[-1][0] == f"revive collect-payment {lost['id']}"
    assert (await su.post(f"/instructions/{failed['id']}/ask-bank")).json()["how"] == "correcting"
    name, order = house.api.processes.started[-1]
    assert (name, order.payment_id, order.resumed) == ("correct_payment", failed["id"], True)


async def test_where_there_is_nothing_to_ask_or_nobody_to_be_told_it_is_said(house: House) -> None:
    su = await house.ops.operator("support")
    done, unpaid = await house.sent("succeeded"), await house.sent()
    for instruction_id in (done["id"], house.binding_id):
        answer = await su.post(f"/instructions/{instruction_id}/ask-bank")
        assert (answer.status_code, answer.json()["code"]) == (409, "BANK_NOT_TO_ASK")
    house.api.processes.answers = False
    away = await su.post(f"/instructions/{unpaid['id']}/ask-bank")
    assert (away.status_code, away.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert [record["outcome"] for record in await house.api.records(action="ask_bank", subject_id=unpaid["id"])] == [
        "received",
        "failed",
    ]


async def test_what_waits_for_a_person_is_listed_with_its_age(house: House) -> None:
    su, payment = await house.ops.operator("support"), await house.sent()
    case = await su.post("/cases", {"subject_id": payment["id"], "reason_text": "The payer says it was paid twice"})
    assert case.status_code == 201, case.text
    await house.ops.rows("UPDATE app.payment SET wait_reason = 'operator' WHERE id = :id", id=payment["id"])
    await house.merchant.post("/v1/waiver/applications", {"limit_minor": 10_000, "currency": "CNY"})
    house.api.clock.advance(minutes=10)
    items = (await su.get("/matters")).json()["items"]
    assert {item["kind"] for item in items} == {"case", "parked", "application"}
    assert {item["age_seconds"] for item in items} == {600}
    assert [found["id"] for found in (await su.get("/cases", state="open")).json()["items"]] == [case.json()["id"]]
    assert (await su.get("/cases", state="resolved")).json()["items"] == []
    [application] = (await su.get("/waiver_applications")).json()["items"]
    assert application["merchant_id"] == house.merchant.id


async def test_a_case_about_nothing_or_with_somebodys_number_in_it_is_not_opened(house: House) -> None:
    su = await house.ops.operator("support")
    nothing = await su.post("/cases", {"subject_id": f"pay_{UNKNOWN}", "reason_text": "Look at this"})
    number = await su.post("/cases", {"subject_id": house.user_id, "reason_text": "Call her: 138 0013 8000"})
    assert [answer.json()["code"] for answer in (nothing, number)] == [
        "INSTRUCTION_NOT_FOUND",
        "REASON_HOLDS_PERSONAL_DATA",
    ]
    assert "0013" not in json.dumps(await house.ops.rows("SELECT to_jsonb(o) AS o FROM app.operation o"), default=str)


# Personal data


async def test_a_user_is_shown_masked(house: House) -> None:
    su = await house.ops.operator("support")
    shown = (await su.get(f"/users/{house.user_id}")).json()
    [binding] = shown["bindings"]
    masks = {
        "name": "张*",
        "card_number": "9901 **** **** 0018",
        "mobile": "138****8000",
        "id_number": "1****************X",
    }
    assert binding["elements"] == masks
    assert "tok_" not in json.dumps(shown)
    assert (await su.get(f"/users/usr_{UNKNOWN}")).json()["code"] == "USER_NOT_FOUND"


async def reveal(person: Person, user_id: str, *fields: str, **other: Any) -> Any:
    return await person.post(f"/users/{user_id}/personal-data", {"fields": list(fields), **REASON, **other})


async def test_personal_data_open_for_role_and_reason_and_both_stand_on_record_first(house: House) -> None:
    chen = await house.ops.operator("compliance", login="chen")
    answer = await reveal(chen, house.user_id, "mobile", "name")
    assert answer.json()["values"] == {"mobile": ELEMENTS["mobile"], "name": ELEMENTS["name"]}
    assert answer.headers["cache-control"] == "no-store"
    received, done = await house.api.records(action="reveal_personal_data")
    assert (received["outcome"], done["outcome"]) == ("received", "done")
    for record in (received, done):
        detail = record["detail"] if isinstance(record["detail"], dict) else json.loads(record["detail"])
        assert (record["actor"], record["subject_id"]) == ("operator:chen", house.user_id)
        assert detail["roles"] == ["compliance"]
        assert (detail["reason_code"], detail["reason_text"]) == (REASON["reason_code"], REASON["reason_text"])
        assert detail["fields"] == ["mobile", "name"]
    audrey = await house.ops.operator("auditor")
    seen = (await audrey.get(f"/users/{house.user_id}/accesses")).json()["items"]
    own = [access for access in seen if access["actor"] == "operator:chen"]
    assert [(access["purpose"], sorted(access["fields"]), access["outcome"]) for access in own] == [
        ("support", ["mobile", "name"], "opened")
    ]
    written = json.dumps(await house.ops.rows("SELECT to_jsonb(o) AS o FROM app.operation o"), default=str)
    assert ELEMENTS["mobile"] not in written


async def test_a_read_without_the_role_is_on_record_with_the_person(house: House) -> None:
    su = await house.ops.operator("support", login="su")
    assert (await reveal(su, house.user_id, "mobile")).status_code == 403
    [record] = await house.api.records(action="reveal_personal_data")
    assert (record["actor"], record["outcome"], record["subject_id"]) == ("operator:su", "denied", house.user_id)


async def test_without_a_proper_reason_nothing_is_opened(house: House) -> None:
    chen = await house.ops.operator("compliance")
    before = await house.ops.rows("SELECT count(*) AS n FROM vault.access")
    changes: list[tuple[dict[str, Any], str]] = [
        ({"reason_text": ""}, "REQUEST_INVALID"),
        ({"reason_text": "    "}, "REQUEST_INVALID"),
        ({"reason_text": "about 11010519900307765X"}, "REASON_HOLDS_PERSONAL_DATA"),
        ({"reason_text": "card ９９０１ ０１００ ０００００ ００００１８"}, "REASON_HOLDS_PERSONAL_DATA"),
        ({"reason_code": "curiosity"}, "REQUEST_INVALID"),
        ({"fields": []}, "REQUEST_INVALID"),
        ({"fields": ["agreement_number"]}, "REQUEST_INVALID"),
        ({"case_id": "case_" + UNKNOWN}, "REQUEST_INVALID"),
        ({"binding_id": f"bnd_{UNKNOWN}"}, "PERSONAL_DATA_NOT_FOUND"),
    ]
    for change, code in changes:
        body = {"fields": ["mobile"], **REASON, **change}
        answer = await chen.post(f"/users/{house.user_id}/personal-data", body)
        assert (answer.status_code, answer.json()["code"]) == (status_of(ErrorCode(code)), code), change
        records = await house.api.records(request_id=answer.headers["x-request-id"])
        assert [record["outcome"] for record in records] == ["refused"], change
    assert await house.ops.rows("SELECT count(*) AS n FROM vault.access") == before


async def test_what_was_erased_cannot_be_opened_and_is_not_shown(house: House) -> None:
    chen = await house.ops.operator("compliance")
    await house.api.services.vault.destroy_user_key(house.user_id, "process", "account_closed")
    house.ops.services.vault._user_keys._cached.clear()
    answer = await reveal(chen, house.user_id, "mobile")
    assert answer.json()["code"] == "PERSONAL_DATA_NOT_FOUND"
    shown = (await chen.get(f"/users/{house.user_id}")).json()
    assert shown["bindings"][0]["elements"] == {}


# Records, merchants, payloads


async def test_records_are_found_by_subject_person_outcome_and_time_and_reading_them_is_recorded(house: House) -> None:
    audrey, su = await house.ops.operator("auditor"), await house.ops.operator("support", login="su")
    await su.get("/merchants/x/keys")
    await su.get("/operators")
    found = (await audrey.get("/records", actor="operator:su", outcome="denied")).json()["items"]
    assert [(record["action"], record["reason"]) for record in found] == [("list_operators", "permission_missing")]
    later = (house.api.clock.now() + timedelta(seconds=1)).isoformat()
    assert (await audrey.get("/records", **{"from": later})).json()["items"] == []
    pages, cursor = [], None
    while True:
        page = (await audrey.get("/records", limit=3, to=later, **({"cursor": cursor} if cursor else {}))).json()
        pages += [record["id"] for record in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None or len(pages) > 12:
            break
    assert pages == sorted(set(pages), reverse=True)
    reads = await house.api.records(action="read_records", actor=audrey.actor)
    assert reads[0]["outcome"] == "done"


async def test_a_question_about_records_that_is_none_names_its_field(house: House) -> None:
    audrey = await house.ops.operator("auditor")
    for name, value in [
        ("actor", "x"),
        ("from", "yesterday"),
        ("from", "2026-11-20T00:00:00"),
        ("limit", "0"),
        ("outcome", "x"),
    ]:
        answer = await audrey.get("/records", **{name: value})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, name)


async def test_what_somebody_types_in_place_of_an_id_or_a_date_stands_in_no_record(house: House) -> None:
    clara = await house.ops.operator("compliance")
    numbers = ("13800138000", "11010119900307803X", "622202000000")
    for number in numbers:
        for path in ("users", "instructions", "decisions", "merchants"):
            await clara.get(f"/{path}/{number}{'/keys' if path == 'merchants' else ''}")
        await clara.post(f"/operators/{number}/suspend")
        await clara.post(f"/decisions/{number}/approve")
        await clara.post(
            "/decisions", {"kind": "user.suspend", "subject_id": number, "ground": "breach", "reason": "-"}
        )
        for name in ("from", "to", "subject_id"):
            assert (await clara.get("/records", **{name: number})).status_code == 400
        assert (await clara.get("/records", **{"from": f"{number}\x00"})).status_code == 400
    said = repr(await house.api.records(actor=clara.actor))
    assert "operator_suspend" in said
    assert not any(number in said for number in numbers)


async def test_a_merchant_is_created_gets_a_key_that_works_and_loses_it_again(house: House) -> None:
    ada = await house.ops.operator("administrator", login="ada")
    until = (house.api.clock.now() + timedelta(days=300)).isoformat()
    made = (await ada.post("/merchants", {"name": "书店[/b]", "contract_until": until})).json()
    issued = (await ada.post(f"/merchants/{made['id']}/keys", {"scopes": ["balances:read"]})).json()
    theirs = Merchant(made["id"], issued["key"], house.api.http, house.api)
    assert (await theirs.get("/v1/balances")).status_code == 200
    assert issued["key"].split("_", 2)[2] not in (await ada.get(f"/merchants/{made['id']}/keys")).text
    assert (await ada.post(f"/keys/{issued['id']}/revoke")).status_code == 200
    assert (await theirs.get("/v1/balances")).status_code == 401
    assert (await ada.post(f"/keys/{issued['id']}/revoke")).json()["code"] == "KEY_NOT_FOUND"
    for action, subject in (("create_merchant", made["id"]), ("issue_key", issued["id"]), ("revoke_key", issued["id"])):
        records = await house.api.records(action=action, actor="operator:ada", outcome="done")
        assert [record["subject_id"] for record in records] == [subject], action


async def test_what_administrators_cannot_do_says_why(house: House) -> None:
    ada, later = await house.ops.operator("administrator"), "2027-01-01T00:00:00Z"
    weak = {"public_key": "x", "algorithm": "ed25519", "label": "1"}
    tries: list[tuple[str, Any, str]] = [
        ("/merchants", {"name": "", "contract_until": later}, "REQUEST_INVALID"),
        ("/merchants", {"name": "a\nb", "contract_until": later}, "REQUEST_INVALID"),
        ("/merchants", {"name": "x", "contract_until": "2020-01-01T00:00:00Z"}, "CONTRACT_END_INVALID"),
        ("/merchants", {"name": "x", "contract_until": "2099-01-01T00:00:00Z"}, "CONTRACT_END_INVALID"),
        (f"/merchants/mch_{UNKNOWN}/keys", {"scopes": ["users:read"]}, "MERCHANT_NOT_FOUND"),
        (f"/merchants/mch_{UNKNOWN}/keys", {"scopes": ["everything"]}, "REQUEST_INVALID"),
        ("/keys/key_none/revoke", None, "KEY_NOT_FOUND"),
        (f"/merchants/{house.merchant.id}/signing-keys", weak, "PERMISSION_MISSING"),
    ]
    for path, body, code in tries:
        answer = await ada.post(path, body)
        assert (answer.status_code, answer.json()["code"]) == (status_of(ErrorCode(code)), code), (path, body)


async def test_a_merchants_first_signing_key_is_registered_and_ended_by_compliance(house: House) -> None:
    chen, merchant_id = await house.ops.operator("compliance", login="chen"), house.merchant.id
    weak = await chen.post(
        f"/merchants/{merchant_id}/signing-keys", {"public_key": "x", "algorithm": "ed25519", "label": "1"}
    )
    assert weak.json()["code"] == "SIGNING_KEY_INVALID"
    body = {"public_key": "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=", "algorithm": "ed25519", "label": "first"}
    made = await chen.post(f"/merchants/{merchant_id}/signing-keys", body)
    assert made.status_code == 201, made.text
    assert made.json()["registered_by"] == "operator:chen"
    assert (await chen.post(f"/merchants/{merchant_id}/signing-keys", body)).json()["code"] == "SIGNING_KEY_EXISTS"
    ended = await chen.post(f"/merchants/{merchant_id}/signing-keys/{made.json()['id']}/revoke")
    assert ended.json()["revoked_at"] is not None
    [listed] = (await chen.get(f"/merchants/{merchant_id}/signing-keys")).json()["items"]
    assert listed["id"] == made.json()["id"]


async def test_a_decode_is_allowed_only_when_it_is_on_record_with_person_and_number(house: House) -> None:
    su, audrey = await house.ops.operator("support", login="su"), await house.ops.operator("auditor")
    body = {"namespace": "liushui", "payloads": 12, "subjects": [f"collect-payment/pay_{UNKNOWN}"] * 30}
    assert (await su.post("/decodes", body)).status_code == 200
    assert (await audrey.post("/decodes", body)).status_code == 403
    done, denied = await house.api.records(action="decode_payloads")
    detail = done["detail"] if isinstance(done["detail"], dict) else json.loads(done["detail"])
    assert (done["outcome"], done["actor"], detail["payloads"]) == ("done", "operator:su", 12)
    assert (len(detail["subjects"]), detail["further_subjects"]) == (20, 10)
    assert (denied["outcome"], denied["actor"]) == ("denied", audrey.actor)


async def test_when_the_record_cannot_be_written_nothing_is_shown(house: House) -> None:
    su = await house.ops.operator("support")
    await house.ops.rows("REVOKE EXECUTE ON FUNCTION app.record_act(jsonb) FROM template_ops")
    for answer in (
        await su.post("/decodes", {"namespace": "liushui", "payloads": 1}),
        await su.get(f"/users/{house.user_id}"),
        await su.get("/merchants"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")


async def test_the_documents_of_the_operators_api_are_a_page_too(house: House) -> None:
    page = await house.ops.http.get("/docs")
    assert page.status_code == 200
    assert "/ops/v1/decisions/{decision_id}/approve" in page.text
    assert "payments:read" in page.text
