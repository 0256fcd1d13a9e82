"""Foreign currency on its way in: numbers to pay to, remittances, mandates, balances (A2.3a, A3.2b, A5.1a, P6)."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from tests.api.conftest import Stage
from tests.api.fx import (
    HOLDER,
    REMITTER,
    allow_export,
    arrived,
    asked_for,
    funded_usd,
    mandate_of,
    receiving,
)
from tests.api.payouts import agree_to_export
from tests.api.refused_users_and_cards import born
from vault.indexing import IndexKind

EVIDENCE = [{"kind": "contract", "reference": "file:8"}]


async def test_a_number_is_asked_for_and_shown_in_full_once_the_bank_has_opened_it(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    asked = await asked_for(stage, merchant, user_id)
    assert (asked["state"], asked["bank_code"], asked["currency"]) == ("opening", "OSPB", "USD")
    assert (asked["holder"], asked["account_number"]) == ("Z***", None)
    assert asked["waiting_for"]["reason"] == "process_start"
    name, order = stage.processes.started[-1]
    assert (name, order.account_id, order.bank_code) == ("open_receiving_account", asked["id"], "OSPB")

    opened = await receiving(stage, merchant, user_id, currency="HKD")
    path = f"/v1/receiving_accounts/{opened['id']}"
    shown = (await merchant.get(path)).json()
    assert (shown["state"], shown["account_number"], shown["holder"]) == ("open", opened["number"], "Z***")
    assert "account_last4" not in shown
    listed = (await merchant.get(f"/v1/users/{user_id}/receiving_accounts")).json()["items"]
    assert listed == [shown, asked]
    reads = await stage.rows("SELECT * FROM vault.access WHERE actor = :actor", actor=f"api:{opened['id']}")
    assert [(read["purpose"], read["fields"]) for read in reads] == [("user_request", ["account_number"])] * 2


async def test_neither_name_nor_number_is_anywhere_but_in_the_vault(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    account = await receiving(stage, merchant, user_id)
    await arrived(stage, user_id, account["number"])
    assert (await merchant.get(f"/v1/receiving_accounts/{account['id']}")).json()["account_number"]
    tables = await stage.rows(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname IN ('app', 'ledger', 'vault')"
    )
    for table in tables:
        rows = await stage.rows(f"SELECT t::text AS row FROM {table['name']} t")  # noqa: S608 - names of ours
        text = json.dumps(rows)
        assert [word for word in (HOLDER, REMITTER, account["number"]) if word in text] == [], table["name"]
    assert HOLDER not in caplog.text
    assert account["number"] not in caplog.text


async def test_a_repeated_request_shows_the_number_that_no_stored_answer_holds(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    await allow_export(stage)
    await agree_to_export(stage, merchant, user_id)
    body = {"currency": "USD", "holder_name": HOLDER}
    path = f"/v1/users/{user_id}/receiving_accounts"
    answers = [await merchant.post(path, body, key="receive-0001") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert len(await stage.rows("SELECT id FROM app.receiving_account")) == 1


async def test_a_name_goes_abroad_only_with_consent_and_under_a_contract(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    body, path = {"currency": "USD", "holder_name": HOLDER}, f"/v1/users/{user_id}/receiving_accounts"
    await allow_export(stage)
    without_consent = await merchant.post(path, body)
    await agree_to_export(stage, merchant, user_id)
    async with stage.database.owner_engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE app.export_contract SET valid_until = '2026-11-20'")
    without_contract = await merchant.post(path, body)
    assert [answer.json()["code"] for answer in (without_consent, without_contract)] == ["DATA_EXPORT_NOT_ALLOWED"] * 2
    assert await stage.rows("SELECT id FROM app.receiving_account") == []


@pytest.mark.parametrize("bank_code", ["HBRB", "WLWB", "ABCD"])
async def test_a_bank_that_opens_no_numbers_is_not_asked_for_one(stage: Stage, bank_code: str) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    body = {"currency": "USD", "holder_name": HOLDER, "bank_code": bank_code}
    answer = await merchant.post(f"/v1/users/{user_id}/receiving_accounts", body)
    assert answer.json()["code"] == "PARTNER_NOT_AVAILABLE"
    assert answer.json()["errors"] == [{"field": "bank_code", "code": "partner_not_available"}]


@pytest.mark.parametrize(
    ("name", "fault"),
    [("", "missing"), ("张", "too_short"), ("Zhang 3", "contains_digits"), ("<Zhang>", "wrong_characters"),
     ("Z" * 200, "too_long"), ("Zhang\u202eSan", "control_characters")],
)  # fmt: skip
async def test_a_name_that_cannot_be_right_is_refused_and_not_quoted(stage: Stage, name: str, fault: str) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    body = {"currency": "USD", "holder_name": name}
    answer = await merchant.post(f"/v1/users/{user_id}/receiving_accounts", body)
    assert (answer.status_code, answer.json()["errors"]) == (400, [{"field": "holder_name", "code": fault}])
    assert len(name) < 3 or name not in answer.text


async def test_a_name_is_corrected_where_that_changes_nothing(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    await asked_for(stage, merchant, user_id, holder_name=" Ｚｈａｎｇ  San ")
    [row] = await stage.rows("SELECT holder_index FROM app.receiving_account")
    assert row["holder_index"] == stage.services.vault.blind_index(IndexKind.RECEIVER_NAME, HOLDER)


@pytest.mark.parametrize("name", ["张三", "SAN ZHANG", "zhang san", "Zhang-San", "ZHANGSAN"])
async def test_an_account_is_in_the_name_that_a_bank_has_confirmed_or_its_pinyin(stage: Stage, name: str) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    assert (await asked_for(stage, merchant, user_id, holder_name=name))["state"] == "opening"
    reads = await stage.rows("SELECT purpose, fields FROM vault.access WHERE user_id = :user", user=user_id)
    assert [read["fields"] for read in reads if read["purpose"] == "fx_settlement"] == [["name"]]


@pytest.mark.parametrize("name", ["李四", "张三丰", "Li Si", "Zhang San Feng", "Zhang", "Zhаng San"])
async def test_the_merchants_word_for_another_name_is_refused_and_not_quoted(stage: Stage, name: str) -> None:
    """A0.6, A2.3a."""
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    await allow_export(stage)
    await agree_to_export(stage, merchant, user_id)
    body = {"currency": "USD", "holder_name": name}
    answer = await merchant.post(f"/v1/users/{user_id}/receiving_accounts", body)
    fault = answer.json()["errors"]
    if name.isascii() or "\u4e00" <= name[0] <= "\u9fff":
        assert (answer.status_code, fault) == (422, [{"field": "holder_name", "code": "payee_name_differs"}])
    else:
        assert (answer.status_code, fault) == (400, [{"field": "holder_name", "code": "wrong_characters"}])
    assert name not in answer.text
    assert await stage.rows("SELECT id FROM app.receiving_account") == []


@pytest.mark.parametrize(
    ("name", "status"),
    [("jean-luc picard", 201), ("PICARD Jean Luc", 201), ("Picard Jean", 422), ("Jean Luc Pikard", 422)],
)
async def test_a_name_confirmed_in_latin_letters_may_change_case_and_order(
    stage: Stage, name: str, status: int
) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    await stage.open_binding(merchant, user_id, name="Jean-Luc Picard", id_number=born("19900307", area="911124"))
    await allow_export(stage)
    await agree_to_export(stage, merchant, user_id)
    body = {"currency": "USD", "holder_name": name}
    assert (await merchant.post(f"/v1/users/{user_id}/receiving_accounts", body)).status_code == status


async def test_nobody_has_confirmed_who_a_user_without_a_card_is(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    await allow_export(stage)
    await agree_to_export(stage, merchant, user_id)
    body = {"currency": "USD", "holder_name": HOLDER}
    answer = await merchant.post(f"/v1/users/{user_id}/receiving_accounts", body)
    assert answer.json()["code"] == "IDENTITY_NOT_VERIFIED"


async def test_an_enterprise_receives_under_the_name_that_the_merchant_gives(stage: Stage) -> None:
    merchant = await stage.merchant()
    made = await merchant.post("/v1/users", {"merchant_user_ref": "shop-1", "type": "enterprise", "region": "CN"})
    user_id = made.json()["id"]
    assert (await stage.consent(merchant, user_id)).status_code == 201
    asked = await asked_for(stage, merchant, user_id, holder_name="Crab Apple Trading Co., Ltd.")
    assert asked["state"] == "opening"


async def test_a_remittance_shows_who_sent_it_masked(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, account_id, inbound_id = await funded_usd(stage, merchant)
    shown = (await merchant.get(f"/v1/inbounds/{inbound_id}")).json()
    assert (shown["remitter"], shown["remitter_country"]) == ("A***", "US")
    assert (shown["user_id"], shown["receiving_account_id"], shown["state"]) == (user_id, account_id, "credited")
    assert (shown["amount_minor"], shown["currency"], shown["value_date"]) == (1_000_000, "USD", "2026-11-20")
    assert (await merchant.get("/v1/inbounds")).json()["items"] == [shown]
    assert (await merchant.get("/v1/inbounds", user_id="nobody")).json()["items"] == []
    [event] = (await merchant.get("/v1/events", object_id=inbound_id)).json()["items"]
    assert event["type"] == "inbound.credited"
    assert "remitter" not in event["data"]


async def test_remittances_come_in_pages_and_those_in_suspense_do_not_come(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    account = await receiving(stage, merchant, user_id)
    made = [(await arrived(stage, user_id, account["number"], 100 + n)).inbound_id for n in range(3)]
    other_name = stage.services.vault.blind_index(IndexKind.RECEIVER_NAME, "Li Si")
    lost = f"inb_{stage.ids.ulid()}"
    await stage.services.vault.ensure_user_key(lost)
    suspended = await arrived(stage, lost, account["number"], id=lost, sealed_under=lost, receiver_index=other_name)
    assert suspended.state == "suspense"
    first = (await merchant.get("/v1/inbounds", limit=2)).json()
    second = (await merchant.get("/v1/inbounds", limit=2, cursor=first["next_cursor"])).json()
    assert [item["id"] for item in first["items"] + second["items"]] == made[::-1]
    assert (await merchant.get(f"/v1/inbounds/{lost}")).status_code == 404


@pytest.mark.parametrize(
    ("area", "residency"),
    [("110101", "domestic_individual"), ("810000", "foreign_individual"), ("911124", "foreign_individual")],
)
async def test_documents_of_other_places_make_foreign_individuals(stage: Stage, area: str, residency: str) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    await stage.open_binding(merchant, user_id, id_number=born("19900307", area=area))
    assert (await mandate_of(merchant, user_id))["residency"] == residency


async def test_an_enterprise_needs_no_document(stage: Stage) -> None:
    merchant = await stage.merchant()
    made = await merchant.post("/v1/users", {"merchant_user_ref": "shop-1", "type": "enterprise", "region": "CN"})
    user_id = made.json()["id"]
    assert (await stage.consent(merchant, user_id)).status_code == 201
    assert (await mandate_of(merchant, user_id))["residency"] == "enterprise"


async def test_a_mandate_converts_what_arrives_until_it_ends(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    account = await receiving(stage, merchant, user_id)
    assert (await arrived(stage, user_id, account["number"])).fx_id is None
    mandate = await mandate_of(merchant, user_id, is_trade=True, evidence=EVIDENCE, over_quota="hold")
    assert (mandate["state"], mandate["valid_until"], mandate["evidence"]) == ("active", None, EVIDENCE)
    begun = await arrived(stage, user_id, account["number"])
    fx = (await merchant.get(f"/v1/fx/{begun.fx_id}")).json()
    assert (fx["origin"], fx["mandate_id"], fx["inbound_id"]) == ("standing_mandate", mandate["id"], begun.inbound_id)
    assert (fx["order_number"], fx["is_trade"], fx["over_quota"]) == (None, True, "hold")
    path = f"/v1/fx_mandates/{mandate['id']}"
    ended = [(await merchant.post(f"{path}/end")).json() for _ in range(2)]
    assert [each["state"] for each in ended] == ["ended", "ended"]
    assert (await merchant.get(path)).json() == ended[0]
    assert (await arrived(stage, user_id, account["number"])).fx_id is None
    assert (await merchant.get(f"/v1/fx/{begun.fx_id}")).json()["state"] == "waiting"
    events = (await merchant.get("/v1/events", object_id=mandate["id"])).json()["items"]
    assert [event["type"] for event in events] == ["fx_mandate.accepted", "fx_mandate.ended"]
    listed = (await merchant.get("/v1/fx_mandates", user_id=user_id, state="active")).json()["items"]
    assert listed == []
    assert [each["id"] for each in (await merchant.get("/v1/fx_mandates")).json()["items"]] == [mandate["id"]]


async def test_one_mandate_serves_a_currency_at_a_time_also_when_two_race(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    await stage.sign(merchant)
    bodies = [
        {"user_id": user_id, "currency": "USD", "purpose_code": "121010", "mandate_reference": f"m-{number}"}
        for number in range(4)
    ]
    answers = await asyncio.gather(*(merchant.post("/v1/fx_mandates", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert (await mandate_of(merchant, user_id, currency="HKD"))["currency"] == "HKD"


async def test_balances_in_a_currency_that_is_not_held_are_not_shown(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    for path in ("balance", "statement"):
        for currency in ("EUR", "usd", ""):
            answer = await merchant.get(f"/v1/users/{user_id}/{path}", currency=currency)
            assert (answer.status_code, answer.json()["code"]) == (422, "CURRENCY_NOT_SUPPORTED")
    assert (await merchant.get(f"/v1/users/{user_id}/balance", currency="HKD")).json()["posted_minor"] == 0
    balances = (await merchant.get(f"/v1/users/{user_id}/balances")).json()["balances"]
    assert [each["currency"] for each in balances] == ["CNY"]
