"""Payees: what is corrected and what is refused, whose name it is, and that nothing of it shows (A2.5a, A7.3, P6)."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from domain.payees import PayeeAccount, check_payee, compare_names
from domain.routes import RouteBook
from tests.api.conftest import Stage
from tests.api.payouts import ACCOUNT, CNAPS, HONG_KONG, OWN_ACCOUNT, agree_to_export, payee_of

FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
CHINESE, LATIN = "张三", "Chan Tai Man"
# Field, what it is changed to, and the fault that is named.
WRONG_IN_CN: list[tuple[dict[str, Any], str, str]] = [
    ({"bank_id": "10210009999"}, "bank_id.value", "wrong_format"),
    ({"bank_id": "１０２１０００９９９９5A"}, "bank_id.value", "wrong_format"),
    ({"bank_id_kind": "bic", "bank_id": "ICBKCNBJ"}, "bank_id.kind", "not_used_there"),
    ({"account_number": "1234567"}, "account_number", "wrong_length"),
    ({"account_number": "9" * 35}, "account_number", "wrong_length"),
    # A digit of another script is not a wide one: it is never taken for what it looks like.
    ({"account_number": "62220202001122\u0663\u096a45"}, "account_number", "wrong_characters"),
    ({"account_number": "6222 0202_0011"}, "account_number", "wrong_characters"),
    ({"account_number": "62220202001122334450"}, "account_number", "wrong_format"),
    ({"account_number": ""}, "account_number", "missing"),
    ({"account_number": "9" * 200}, "account_number", "too_long"),
    ({"name": "张三3"}, "name", "contains_digits"),
    ({"name": "张\u202e三"}, "name", "control_characters"),
    ({"name": "张"}, "name", "too_short"),
    ({"name": "张<三>"}, "name", "wrong_characters"),
    ({"holder_type": "enterprise", "name": "海棠书店 6222020200112233"}, "name", "contains_digits"),
    ({"holder_type": "enterprise", "name": "<b>海棠</b>"}, "name", "wrong_characters"),
    ({"holder_type": "enterprise", "name": "\u0410lice Trading"}, "name", "wrong_characters"),
    ({"holder_type": "enterprise", "name": "Books ٦٢٢٢٠٢٠٢٠٠"}, "name", "wrong_characters"),
    ({"holder_type": "enterprise", "name": "书" * 101}, "name", "too_long"),
]
WRONG_ABROAD: list[tuple[dict[str, Any], str, str]] = [
    ({"name": CHINESE}, "name", "latin_letters_required"),
    ({"bank_id": "04"}, "bank_id.value", "wrong_format"),
    ({"bank_id_kind": "bic", "bank_id": "HSBCSGSG"}, "bank_id.value", "other_region"),
    ({"bank_id_kind": "cnaps", "bank_id": CNAPS}, "bank_id.kind", "not_used_there"),
]
IN_CN = PayeeAccount(
    holder_type="individual", region="CN", bank_id_kind="cnaps", bank_id=CNAPS, name=CHINESE, account_number=ACCOUNT
)
IN_HK = PayeeAccount(
    holder_type="individual",
    region="HK",
    bank_id_kind="hk_clearing",
    bank_id="004",
    name=LATIN,
    account_number="123456789012",
)


@pytest.fixture(scope="module")
def routes() -> RouteBook:
    from config.policy import read_policy

    return RouteBook.model_validate(read_policy()["payout_routes"])


@pytest.mark.parametrize(("changes", "field", "fault"), WRONG_IN_CN + WRONG_ABROAD)
def test_a_wrong_field_is_named_with_its_fault(
    routes: RouteBook, changes: dict[str, Any], field: str, fault: str
) -> None:
    account = (IN_CN if (changes, field, fault) in WRONG_IN_CN else IN_HK).model_copy(update=changes)
    [route, *_] = routes.routes_to(account.region)
    found = {(error.field, error.code) for error in check_payee(account, route).faults}
    assert (field, fault) in found
    assert check_payee(IN_CN, routes.routes_to("CN")[0]).faults == ()
    assert check_payee(IN_HK, routes.routes_to("HK")[0]).faults == ()


@pytest.mark.parametrize(
    ("name", "verified", "match"),
    [
        ("张三", "张三", "match"),
        ("张 三", "张三", "match"),
        ("买买提.吐尔逊", "买买提·吐尔逊", "match"),
        ("CHAN TAI MAN", "Chan  Tai Man", "match"),
        ("张叁", "张三", "differs"),
        ("張三", "张三", "differs"),
        ("Chan Tai-Man", "Chan Tai Man", "differs"),
        ("张三", None, "unknown"),
    ],
)
def test_names_are_the_same_only_after_what_may_be_corrected(name: str, verified: str | None, match: str) -> None:
    assert compare_names(name, verified) == match


async def test_width_spaces_and_separators_are_corrected_and_nothing_else_is(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    spelt = {
        "name": "张 三",
        "account_number": f"{ACCOUNT[:4]}-{ACCOUNT[4:8]} {ACCOUNT[8:]}".translate(FULL_WIDTH),
        "bank_id": {"kind": "cnaps", "value": "1021 0009 9996"},
    }
    payee = await payee_of(merchant, user_id, **spelt)
    assert (payee["name"], payee["account"], payee["name_match"]) == ("张*", "****7890", "match")
    assert payee["bank_id"] == {"kind": "cnaps", "value": CNAPS}
    assert payee["currencies"] == ["CNY"]
    assert set(payee["speeds"]) == {"real_time", "within_two_hours", "next_working_day"}
    again = await merchant.post(f"/v1/users/{user_id}/payees", OWN_ACCOUNT)
    assert (again.json()["code"], again.json()["subject_id"]) == ("PAYEE_EXISTS", payee["id"])


async def test_every_wrong_field_is_in_one_answer_and_no_value_of_any(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    wrong = OWN_ACCOUNT | {
        "name": "张三丰1",
        "account_number": "62220202/77",
        "bank_id": {"kind": "cnaps", "value": "102100099997"},
    }
    answer = await merchant.post(f"/v1/users/{user_id}/payees", wrong)
    assert answer.json()["code"] == "PAYEE_DATA_INVALID"
    assert {(error["field"], error["code"]) for error in answer.json()["errors"]} == {
        ("bank_id.value", "check_digit_wrong"),
        ("name", "contains_digits"),
        ("account_number", "wrong_characters"),
    }
    assert not any(value in answer.text for value in ("张三丰", "62220202", "102100099997"))
    missing = await merchant.post(f"/v1/users/{user_id}/payees", {"region": "CN"})
    assert missing.json()["code"] == "REQUEST_INVALID"
    assert {"name", "account_number", "bank_id", "relation"} <= {e["field"] for e in missing.json()["errors"]}
    # A card's number is an account's number here; its track or its code are refused as everywhere.
    banned = await merchant.post(f"/v1/users/{user_id}/payees", OWN_ACCOUNT | {"name": f"{ACCOUNT}=2512101"})
    assert banned.json()["code"] == "FORBIDDEN_CARD_DATA"


async def test_the_name_is_compared_with_the_one_that_an_issuer_verified(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    numbers = (f"620000000000000{n:04d}" for n in range(10))
    assert (await payee_of(merchant, user_id, account_number=next(numbers)))["name_match"] == "unknown"
    await stage.open_binding(merchant, user_id)
    assert (await payee_of(merchant, user_id, account_number=next(numbers)))["name_match"] == "match"
    other = await payee_of(merchant, user_id, relation="other", name="李四", account_number=next(numbers))
    assert (other["name_match"], other["name"]) == ("differs", "李*")
    # What was read of the vault for it is on record, with its purpose.
    reads = await stage.rows("SELECT purpose, fields, outcome FROM vault.access WHERE user_id = :user", user=user_id)
    compared = [(read["fields"], read["outcome"]) for read in reads if read["purpose"] == "fraud_prevention"]
    assert compared == [(["name"], "opened")] * 2


async def test_a_payee_abroad_needs_the_users_consent_to_the_text_in_force(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    shown = (await merchant.get("/v1/data_export")).json()
    assert {item["region"] or item["bank_code"] for item in shown["recipients"]} == {"HK", "MO", "TW", "OSPB"}
    assert all(item["recipient"] and item["contract"] and item["ground"] for item in shown["recipients"])
    receiving = [item for item in shown["recipients"] if item["bank_code"] is not None]
    assert all(item["encryption"] and item["access"] for item in receiving)
    assert "收款人姓名" in shown["text"]
    for wrong in ({"version": "2020-01-01"}, {"content_hash": "0" * 64}):
        export = stage.policy.data_export.model_dump() | wrong
        refused = await stage.consent(merchant, user_id, "data_export", **export)
        assert refused.json()["code"] == "AGREEMENT_VERSION_UNKNOWN"
    hashless = await stage.consent(merchant, user_id, "data_export", version=shown["version"])
    assert hashless.json()["errors"] == [{"field": "content_hash", "code": "missing"}]
    refused = await merchant.post(f"/v1/users/{user_id}/payees", HONG_KONG)
    assert refused.json()["code"] == "DATA_EXPORT_NOT_ALLOWED"
    assert await stage.rows("SELECT 1 FROM app.payee") == []

    await agree_to_export(stage, merchant, user_id)
    payee = await payee_of(merchant, user_id, **HONG_KONG)
    assert (payee["currencies"], payee["name"]) == (["CNY", "HKD"], "C***")


async def test_a_payee_is_listed_removed_and_named_anew(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    first, second = [await payee_of(merchant, user_id, account_number=f"62000000000000000{n}0") for n in (1, 2)]
    listed = (await merchant.get(f"/v1/users/{user_id}/payees")).json()["items"]
    assert listed == [second, first]
    removed = (await merchant.delete(f"/v1/payees/{first['id']}")).json()
    assert (removed["state"], removed["name"]) == ("removed", first["name"])
    assert (await merchant.get(f"/v1/payees/{first['id']}")).json() == removed
    assert [item["id"] for item in (await merchant.get(f"/v1/users/{user_id}/payees")).json()["items"]] == [
        second["id"]
    ]
    anew = await payee_of(merchant, user_id, account_number="6200000000000000010")
    assert anew["id"] != first["id"]


async def test_the_same_key_answers_the_same_payee_masked(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    first, again = [
        await merchant.post(f"/v1/users/{user_id}/payees", OWN_ACCOUNT, key="payee-key-0001") for _ in range(2)
    ]
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    changed = OWN_ACCOUNT | {"account_number": "6200000000000000002"}
    other = await merchant.post(f"/v1/users/{user_id}/payees", changed, key="payee-key-0001")
    assert other.json()["code"] == "IDEMPOTENCY_KEY_REUSED"


async def test_neither_name_nor_account_is_stored_logged_or_answered_in_plain(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    secret = {"relation": "other", "name": "欧阳暮云", "account_number": "6212345678901234567"}
    with caplog.at_level(logging.DEBUG):
        payee = await payee_of(merchant, user_id, **secret)
        await merchant.delete(f"/v1/payees/{payee['id']}")
    assert (payee["name"], payee["account"]) == ("欧阳**", "****4567")
    said = [json.dumps(payee, ensure_ascii=False), *(record.getMessage() for record in caplog.records)]
    tables = await stage.rows(
        "SELECT schemaname AS s, tablename AS t FROM pg_tables WHERE schemaname IN ('app','vault')"
    )
    for table in tables:
        rows = await stage.rows(f"SELECT row_to_json(x)::text AS row FROM {table['s']}.{table['t']} x")  # noqa: S608
        said += [row["row"] for row in rows]
    assert not any(value in text for text in said for value in (secret["name"], secret["account_number"]))
