"""Conversions as merchants meet them: shown without a promise, held when accepted, and disposed of when refused."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from api import fx_terms
from domain.conditions import ELEMENTS
from domain.fx_banking import FxQuote, QuoteSide
from tests.api.conftest import Stage
from tests.api.fx import (
    RATE_E8,
    arrived,
    confirmed_fx,
    converted,
    funded_usd,
    fx_of,
    fx_order_of,
    receiving,
    refused_fx,
    refused_of_remittance,
)
from tests.api.rows import fingerprints

EVIDENCE = [{"kind": "contract", "reference": "file:8"}]


def quote_of(stage: Stage, rate_e8: int = RATE_E8, currency: str = "USD", **other: Any) -> FxQuote:
    now = stage.clock.now()
    given: dict[str, Any] = {"published_at": now, "valid_until": now + timedelta(minutes=1)} | other
    return FxQuote(
        quote_id="QUOTE0000001",
        bank_code="HBRB",
        currency=currency,
        side=QuoteSide.BUYS,
        rate_e8=rate_e8,
        publisher="Harbour Bank",
        **given,
    )


async def test_a_preview_shows_what_is_known_promises_nothing_and_changes_nothing(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    stage.banks["HBRB"].quote = quote_of(stage)
    before = await fingerprints(stage)
    order = fx_order_of(user_id, amount_minor=100_001)
    shown = (await merchant.post("/v1/fx/preview", order, key=None)).json()
    # Friday noon: desk and authority are at work.
    assert shown["planned"] == {"at": "2026-11-20T04:00:00.000Z", "waits_for": None, "provisional": False}
    assert (shown["indicative"], shown["desk"], shown["fee_minor"]) == (True, "HBRB", 0)
    assert shown["rate"] == {
        "rate": "7.1234",
        "publisher": "Harbour Bank",
        "published_at": "2026-11-20T04:00:00.000Z",
        "valid_until": "2026-11-20T04:01:00.000Z",
    }
    # 1,000.01 USD at 7.1234 is 7,123.471234 CNY.
    assert (shown["cny_minor"], shown["rate_unavailable"]) == (712_347, None)
    assert (shown["rounding"]["rule"], shown["rounding"]["text"]["zh"]) == ("half_up", "四舍五入至分")
    conditions = shown["conditions"]
    assert conditions["product"] == "fx_conversion"
    assert all(conditions[name][language] for name in ELEMENTS for language in ("zh", "en"))
    assert "1,000.01 USD" in conditions["quantity"]["zh"]
    assert "50,000.00 USD" in conditions["cautions"]["en"]
    assert await fingerprints(stage) == before


async def test_a_preview_plans_with_the_value_date_that_the_conversion_would_get(stage: Stage) -> None:
    """A5.1a: the latest of the user's remittances in the currency that is still ahead."""
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    account = await receiving(stage, merchant, user_id)
    hong_kong = await receiving(stage, merchant, user_id, currency="HKD")
    for day, other in (
        (date(2026, 11, 23), {}),
        (date(2026, 11, 24), {}),
        (date(2026, 11, 20), {}),
        (date(2026, 11, 27), {"currency": "HKD", "number": hong_kong["number"]}),
    ):
        number = str(other.pop("number", account["number"]))
        await arrived(stage, user_id, number, value_date=day, **other)
    order = fx_order_of(user_id)
    shown = (await merchant.post("/v1/fx/preview", order, key=None)).json()
    # 09:30 in Shanghai, when Harbour's desk opens.
    assert shown["planned"] == {"at": "2026-11-24T01:30:00.000Z", "waits_for": "value_date", "provisional": False}
    fx = await merchant.post("/v1/fx", await confirmed_fx(merchant, order))
    assert fx.json()["value_date"] == "2026-11-24"
    stage.clock.advance(days=4, hours=1)
    planned = (await merchant.post("/v1/fx/preview", fx_order_of(user_id), key=None)).json()["planned"]
    assert planned["waits_for"] is None


async def test_a_preview_says_nothing_of_what_the_person_has_used_of_the_quota(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    order = fx_order_of(user_id)
    before = (await merchant.post("/v1/fx/preview", order, key=None)).json()
    async with stage.database.owner_engine.begin() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO app.fx_quota (person_index, year, used_usd_minor, exceeded_at)"
                " SELECT person_index, 2026, 5000000, :now FROM app.end_user WHERE id = :id"
            ),
            {"now": stage.clock.now(), "id": user_id},
        )
    assert (await merchant.post("/v1/fx/preview", order, key=None)).json() == before


@pytest.mark.parametrize(
    ("said", "reason"), [("DESK_CLOSED", "desk_closed"), ("NO_QUOTE", "no_quote"), ("LINE_BROKEN", "no_answer")]
)
async def test_without_a_rate_the_preview_says_why_and_can_be_confirmed(stage: Stage, said: str, reason: str) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    stage.banks["HBRB"].no_quote = said
    shown = (await merchant.post("/v1/fx/preview", fx_order_of(user_id), key=None)).json()
    assert (shown["rate"], shown["cny_minor"], shown["rate_unavailable"]) == (None, None, reason)
    assert shown["confirmation_hash"]


async def test_a_rate_that_could_not_be_dealt_at_is_not_shown(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    now = stage.clock.now()
    stale = timedelta(seconds=stage.policy.fx.longest_quote_age_seconds + 1)
    for quote in (
        quote_of(stage, published_at=now - timedelta(minutes=1), valid_until=now),
        quote_of(stage, published_at=now - stale),
    ):
        stage.banks["HBRB"].quote = quote
        shown = (await merchant.post("/v1/fx/preview", fx_order_of(user_id), key=None)).json()
        assert (shown["rate"], shown["rate_unavailable"]) == (None, "no_quote")


async def test_a_desk_that_does_not_answer_holds_nobody_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fx_terms, "_PATIENCE_FOR_A_QUOTE_SECONDS", 0.02)
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    stage.banks["HBRB"].gate = asyncio.Event().wait
    shown = (await merchant.post("/v1/fx/preview", fx_order_of(user_id), key=None)).json()
    assert (shown["rate"], shown["rate_unavailable"]) == (None, "no_answer")


async def test_the_desk_is_the_first_that_no_operator_has_switched_off(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    found = []
    for code in ("HBRB", "WLWB", None):
        shown = (await merchant.post("/v1/fx/preview", fx_order_of(user_id), key=None)).json()
        found.append((shown["desk"], shown["rate_unavailable"], shown["planned"] is None))
        if code is not None:
            async with stage.database.owner_engine.begin() as connection:
                statement = sa.text("UPDATE app.partner SET enabled = false WHERE code = :code")
                await connection.execute(statement, {"code": code})
    assert found == [("HBRB", "desk_closed", False), ("WLWB", "desk_closed", False), (None, "partner", True)]


@pytest.mark.parametrize(
    ("at", "opens_at", "waits_for"),
    [
        # Friday 16:30 in Shanghai: the desk has just closed, until Monday 09:30.
        ("2026-11-20T08:30:00+00:00", "2026-11-23T01:30:00.000Z", "fx_desk_window"),
        ("2026-11-20T08:29:59+00:00", "2026-11-20T08:29:59.000Z", None),
        ("2026-11-22T10:00:00+00:00", "2026-11-23T01:30:00.000Z", "fx_desk_window"),
    ],
)
async def test_the_planned_window_is_that_of_desk_authority_and_value(
    stage: Stage, at: str, opens_at: str, waits_for: str | None
) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    stage.clock.instant = datetime.fromisoformat(at)
    shown = (await merchant.post("/v1/fx/preview", fx_order_of(user_id), key=None)).json()
    assert (shown["planned"]["at"], shown["planned"]["waits_for"]) == (opens_at, waits_for)


async def test_what_was_confirmed_is_what_is_converted_and_anything_else_is_refused(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    body = await confirmed_fx(merchant, fx_order_of(user_id))
    await stage.sign(merchant)
    before = await fingerprints(stage)
    changes: dict[str, Any] = {
        "amount_minor": body["amount_minor"] + 1,
        "order_number": "fx-other",
        "currency": "HKD",
        "purpose_code": "121020",
        "is_trade": True,
        "over_quota": "hold",
        "confirmation_hash": "0" * 64,
    }
    for field, value in changes.items():
        answer = await merchant.post("/v1/fx", body | {field: value})
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFIRMATION_CHANGED"), field
    assert await fingerprints(stage) == before

    # Evidence may be named with the instruction: it takes nothing from what the user has confirmed.
    fx = (await merchant.post("/v1/fx", body | {"evidence": EVIDENCE})).json()
    assert (fx["object"], fx["kind"], fx["origin"], fx["state"]) == ("fx", "conversion", "user_relayed", "waiting")
    assert (fx["residency"], fx["over_quota"], fx["evidence"]) == ("domestic_individual", "split", EVIDENCE)
    assert (fx["held_at"], fx["rate"], fx["quota"], fx["planned"]) == ("OSPB", None, None, None)
    assert fx["waiting_for"]["reason"] == "process_start"
    name, order = stage.processes.started[-1]
    assert (name, order.fx_id) == ("settle_fx", fx["id"])
    assert (await merchant.get(f"/v1/fx/{fx['id']}")).json() == fx
    [event] = (await merchant.get("/v1/events", object_id=fx["id"])).json()["items"]
    assert event["type"] == "fx.accepted"


async def test_the_amount_is_held_at_once_and_more_than_there_is_is_never_accepted(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant, 199_999)
    bodies = [await confirmed_fx(merchant, fx_order_of(user_id, amount_minor=100_000)) for _ in range(2)]
    answers = await asyncio.gather(*(merchant.post("/v1/fx", body) for body in bodies))
    assert sorted(answer.json().get("code", "accepted") for answer in answers) == ["INSUFFICIENT_FUNDS", "accepted"]
    balance = (await merchant.get(f"/v1/users/{user_id}/balance", currency="USD")).json()
    assert (balance["currency"], balance["held_minor"], balance["available_minor"]) == ("USD", 100_000, 99_999)
    nothing_yet = await merchant.post("/v1/fx", await confirmed_fx(merchant, fx_order_of(user_id, currency="JPY")))
    assert nothing_yet.json()["code"] == "INSUFFICIENT_FUNDS"


async def test_the_same_key_is_the_same_conversion_also_when_it_was_not_started(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    body = await confirmed_fx(merchant, fx_order_of(user_id))
    stage.processes.answers = False
    answers = await asyncio.gather(*(merchant.post("/v1/fx", body, key="fx-key-000001") for _ in range(4)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(await stage.rows("SELECT id FROM app.fx")) == 1
    other = await merchant.post("/v1/fx", body | {"evidence": EVIDENCE}, key="fx-key-000001")
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")


async def test_the_residency_is_read_off_the_confirmed_document_on_record_and_never_asked_for(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    body = await confirmed_fx(merchant, fx_order_of(user_id))
    refused = await merchant.post("/v1/fx", body | {"residency": "foreign_individual"})
    assert refused.json()["errors"] == [{"field": "residency", "code": "unknown_field"}]
    assert (await merchant.post("/v1/fx", body)).json()["residency"] == "domestic_individual"
    [read] = await stage.rows(
        "SELECT * FROM vault.access WHERE purpose = 'fx_settlement' AND user_id = :id AND actor LIKE 'api:%'"
        " AND fields = '{id_number}'",
        id=user_id,
    )
    assert read["fields"] == ["id_number"]
    assert read["actor"].startswith("api:req_")


async def test_a_conversion_shows_the_rate_that_was_used_as_people_write_it(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    fx = await fx_of(merchant, user_id, amount_minor=100_001)
    await converted(stage, fx["id"], delivered=True)
    shown = (await merchant.get(f"/v1/fx/{fx['id']}")).json()
    assert (shown["state"], shown["cny_minor"], shown["remainder_e8"]) == ("settled", 712_347, 12_340_000)
    assert shown["rate"] == {
        "rate": "7.1234",
        "publisher": "Harbour Bank",
        "published_at": "2026-11-20T04:00:00.000Z",
        "valid_until": "2026-11-20T04:01:00.000Z",
        "used_at": "2026-11-20T04:00:00.000Z",
    }
    assert "rate_e8" not in shown
    [event] = [
        item
        for item in (await merchant.get("/v1/events", object_id=fx["id"])).json()["items"]
        if item["type"] == "fx.settled"
    ]
    assert (event["data"]["rate_e8"], event["data"]["rate"]["rate_e8"]) == (RATE_E8, RATE_E8)
    balances = (await merchant.get(f"/v1/users/{user_id}/balances")).json()["balances"]
    assert {each["currency"]: each["available_minor"] for each in balances} == {"CNY": 712_347, "USD": 899_999}
    statement = (await merchant.get(f"/v1/users/{user_id}/statement", currency="USD")).json()["items"]
    assert [item["change_minor"] for item in statement if item["kind"] == "fx_conversion"] == [-100_001]


async def test_what_was_refused_is_held_until_the_merchant_releases_it(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    fx = await fx_of(merchant, user_id)
    await refused_fx(stage, fx["id"])
    assert (await merchant.get(f"/v1/users/{user_id}/balance", currency="USD")).json()["held_minor"] == 100_000
    path = f"/v1/fx/{fx['id']}/disposal"
    answers = [
        await merchant.post(path, {"action": "release"}, key=key)
        for key in ("dispose-0001", "dispose-0001", "dispose-02")
    ]
    assert [answer.json()["state"] for answer in answers] == ["released"] * 3
    assert answers[0].json() == answers[1].json()
    assert set(answers[0].json()) == set(fx)
    assert (await merchant.get(f"/v1/users/{user_id}/balance", currency="USD")).json()["held_minor"] == 0
    assert "return_inbound" not in [name for name, _ in stage.processes.started]
    # The order is free again for another try.
    again = await fx_of(merchant, user_id, order_number=fx["order_number"])
    assert again["id"] != fx["id"]


async def test_what_a_remittance_brought_goes_back_by_a_process_of_its_own(stage: Stage) -> None:
    merchant = await stage.merchant()
    fx_id = await refused_of_remittance(stage, merchant)
    stage.processes.started.clear()
    answer = await merchant.post(f"/v1/fx/{fx_id}/disposal", {"action": "return"})
    assert (answer.status_code, answer.json()["state"]) == (200, "returning")
    [returned] = await stage.rows("SELECT * FROM app.inbound_return")
    [(name, order)] = stage.processes.started
    assert (name, order.return_id, order.amount_minor) == ("return_inbound", returned["id"], 1_000_000)
    # Said again it is the same return.
    assert (await merchant.post(f"/v1/fx/{fx_id}/disposal", {"action": "return"})).json()["state"] == "returning"
    assert len(await stage.rows("SELECT id FROM app.inbound_return")) == 1
    refused = await merchant.post(f"/v1/fx/{fx_id}/disposal", {"action": "release"})
    assert refused.json()["code"] == "FX_NOT_REFUSED"


async def test_conversions_are_listed_in_pages_by_user_and_state(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    other, _ = await stage.payer(merchant)
    made = [(await fx_of(merchant, user_id))["id"] for _ in range(3)]
    await refused_fx(stage, made[1])
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await merchant.get("/v1/fx", limit=2, **cursor)).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == made[::-1]
    for query, expected in (
        ({"state": "refused"}, [made[1]]),
        ({"user_id": user_id, "state": "waiting"}, [made[2], made[0]]),
        ({"user_id": other}, []),
        ({"user_id": "nobody"}, []),
    ):
        assert [item["id"] for item in (await merchant.get("/v1/fx", **query)).json()["items"]] == expected
    wrong = await merchant.get("/v1/fx", state="lost")
    assert wrong.json()["errors"] == [{"field": "state", "code": "not_one_of_the_values"}]


async def test_what_moves_foreign_currency_is_never_taken_unsigned(stage: Stage) -> None:
    merchant = await stage.merchant()
    fx_id = await refused_of_remittance(stage, merchant)
    stage.signing_keys.clear()
    unsigned = dataclasses.replace(merchant, stage=stage)
    for path in ("/v1/fx", "/v1/fx_mandates", f"/v1/fx/{fx_id}/disposal"):
        request = stage.http.build_request("POST", path, json={"action": "release"}, headers=unsigned.headers(""))
        answer = await stage.http.send(request)
        assert (answer.status_code, answer.json()["code"]) == (401, "SIGNATURE_REQUIRED"), path
    assert (await merchant.get(f"/v1/fx/{fx_id}")).json()["state"] == "refused"


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"amount_minor": 0}, "amount_minor", "out_of_range"),
    ({"amount_minor": 1.0}, "amount_minor", "not_an_integer"),
    ({"amount_minor": 10**13 + 1}, "amount_minor", "out_of_range"),
    ({"currency": "usd"}, "currency", "wrong_format"),
    ({"purpose_code": "12101"}, "purpose_code", "wrong_format"),
    ({"purpose_code": "１２１０１０"}, "purpose_code", "wrong_format"),
    ({"is_trade": "yes"}, "is_trade", "invalid"),
    ({"is_trade": 1}, "is_trade", "invalid"),
    ({"over_quota": "all"}, "over_quota", "not_one_of_the_values"),
    ({"order_number": "11010119900307803X"}, "order_number", "personal_data"),
    ({"evidence": EVIDENCE * 11}, "evidence", "invalid"),
    ({"evidence": [{"kind": "promise", "reference": "x"}]}, "evidence.0.kind", "invalid"),
    (
        {"evidence": [{"kind": "contract", "reference": "id 11010119900307803X"}]},
        "evidence.0.reference",
        "wrong_format",
    ),
    ({"evidence": [{"kind": "contract", "reference": "11010119900307803X"}]}, "evidence.0.reference", "personal_data"),
    ({"rate": "7.1"}, "rate", "unknown_field"),
    ({"user_id": "usr_1"}, "user_id", "wrong_format"),
]


@pytest.mark.parametrize(("change", "field", "fault"), WRONG)
async def test_each_wrong_field_is_named_and_no_value_is_quoted(
    stage: Stage, change: dict[str, Any], field: str, fault: str
) -> None:
    merchant = await stage.merchant()
    body = fx_order_of("usr_01KB5N3E4H6Q8Z2T7V9W0X1Y2R") | change
    answer = await merchant.post("/v1/fx/preview", body, key=None)
    assert (answer.status_code, answer.json()["errors"]) == (400, [{"field": field, "code": fault}])
    assert "11010119900307803X" not in answer.text


@pytest.mark.parametrize("currency", ["CNY", "EUR", "XXX"])
async def test_only_currencies_that_a_desk_converts_are_taken(stage: Stage, currency: str) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    await stage.sign(merchant)
    order = fx_order_of(user_id, currency=currency)
    answers = [
        await merchant.post("/v1/fx/preview", order, key=None),
        await merchant.post("/v1/fx", order | {"confirmation_hash": "0" * 64}),
        await merchant.post(
            f"/v1/users/{user_id}/receiving_accounts", {"currency": currency, "holder_name": "Zhang San"}
        ),
    ]
    assert [answer.json()["code"] for answer in answers] == ["CURRENCY_NOT_SUPPORTED"] * 3
