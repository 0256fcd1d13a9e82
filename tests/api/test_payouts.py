"""Payouts as merchants meet them: shown in full, accepted on funds, confirmed twice where it looks like a mistake."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from domain import chart
from domain.conditions import ELEMENTS
from domain.identifiers import IdPrefix, is_identifier
from tests.api.conftest import Stage, served
from tests.api.payouts import HONG_KONG, agree_to_export, confirmed, funded, order_of, payee_of, payout_of
from tests.api.rows import fingerprints


async def test_a_preview_shows_everything_and_changes_nothing(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant)
    payee = await payee_of(merchant, user_id)
    before = await fingerprints(stage)
    order = order_of(user_id, payee["id"], amount_minor=50_000)
    shown = (await merchant.post("/v1/payouts/preview", order, key=None)).json()
    assert (shown["fee_minor"], shown["total_minor"], shown["payee_name"]) == (100, 50_100, "张*")
    assert shown["predicted_arrival"] == {"at": "2026-11-20T04:01:00.000Z", "provisional": False}
    assert shown["confirmation"] == {"needed": False, "grounds": []}
    assert {(left["subject"], left["window"]) for left in shown["limits"]} == {
        (subject, window) for subject in ("user", "payee") for window in ("transaction", "day", "month")
    }
    conditions = shown["conditions"]
    assert all(conditions[name][language] for name in ELEMENTS for language in ("zh", "en"))
    assert "501.00 CNY" in conditions["fee"]["en"]
    assert await fingerprints(stage) == before

    # Friday noon: the slower speeds are cheaper and later, and a weekend is no working day.
    slower = {}
    for speed in ("within_two_hours", "next_working_day"):
        answer = await merchant.post("/v1/payouts/preview", order | {"speed": speed}, key=None)
        slower[speed] = (answer.json()["fee_minor"], answer.json()["predicted_arrival"]["at"])
    assert slower == {
        "within_two_hours": (50, "2026-11-20T06:00:00.000Z"),
        "next_working_day": (0, "2026-11-23T09:00:00.000Z"),
    }


async def test_what_was_confirmed_is_what_is_paid_and_anything_else_is_refused(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant)
    payee, other = [await payee_of(merchant, user_id, account_number=f"62000000000000000{n}0") for n in (1, 2)]
    body = await confirmed(merchant, order_of(user_id, payee["id"]))
    before = await fingerprints(stage)
    changes: dict[str, Any] = {
        "payee_id": other["id"],
        "amount_minor": body["amount_minor"] + 1,
        "order_number": "payout-other",
        "speed": "next_working_day",
        "confirmation_hash": "0" * 64,
    }
    for field, value in changes.items():
        answer = await merchant.post("/v1/payouts", body | {field: value})
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFIRMATION_CHANGED"), field
    routes = stage.policy.payout_routes
    dearer = routes.model_dump()
    dearer["routes"][0]["speeds"]["real_time"]["fee"]["minimum_minor"] = 200
    policy = stage.policy.model_copy(update={"payout_routes": type(routes).model_validate(dearer)})
    async with served(dataclasses.replace(stage.services, policy=policy)) as http:
        answer = await dataclasses.replace(merchant, http=http).post("/v1/payouts", body)
        assert answer.json()["code"] == "CONFIRMATION_CHANGED"
    assert await fingerprints(stage) == before

    payout = (await merchant.post("/v1/payouts", body)).json()
    assert payout["confirmation_hash"] == body["confirmation_hash"]
    assert payout["predicted_arrival"] == {"at": "2026-11-20T04:01:00.000Z", "provisional": False}
    assert (payout["kind"], payout["state"], payout["waiting_for"]["reason"]) == (
        "withdrawal",
        "checking",
        "process_start",
    )
    [(name, order)] = stage.processes.started[-1:]
    assert (name, order.payout_id, order.amount_minor) == ("send_payout", payout["id"], 50_000)


async def test_amount_and_fee_are_held_at_once_and_more_than_there_is_is_never_accepted(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant, amount_minor=100_199)
    payee = await payee_of(merchant, user_id)
    bodies = [await confirmed(merchant, order_of(user_id, payee["id"], amount_minor=50_000)) for _ in range(2)]
    answers = await asyncio.gather(*(merchant.post("/v1/payouts", body) for body in bodies))
    # Twice 501.00 is one fen more than there is.
    assert sorted(answer.json().get("code", "accepted") for answer in answers) == ["INSUFFICIENT_FUNDS", "accepted"]
    balance = (await merchant.get(f"/v1/users/{user_id}/balance")).json()
    assert (balance["held_minor"], balance["available_minor"]) == (50_100, 50_099)


async def test_a_repeated_payee_and_anothers_name_need_a_second_yes(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant)
    own = await payee_of(merchant, user_id)
    first = await payout_of(merchant, user_id, own["id"])
    assert first["confirmation"] is None
    order = order_of(user_id, own["id"])
    shown = (await merchant.post("/v1/payouts/preview", order, key=None)).json()
    assert shown["confirmation"] == {"needed": True, "grounds": ["repeated_payee"]}
    second = await payout_of(merchant, user_id, own["id"])
    assert (second["state"], second["waiting_for"]["reason"]) == ("awaiting_confirmation", "confirmation")
    assert second["confirmation"] == {
        "grounds": ["repeated_payee"],
        "deadline": "2026-11-20T04:30:00.000Z",
        "confirmed_at": None,
    }
    path = f"/v1/payouts/{second['id']}/confirm"
    wrong = await merchant.post(path, {"confirmation_hash": first["confirmation_hash"]})
    assert wrong.json()["code"] == "CONFIRMATION_CHANGED"
    yes = {"confirmation_hash": second["confirmation_hash"]}
    answers = [await merchant.post(path, yes, key=key) for key in ("confirm-key-1", "confirm-key-1", "confirm-key-2")]
    assert [answer.json()["state"] for answer in answers] == ["checking"] * 3
    assert ("payout", second["id"], "look_again") in stage.processes.told
    events = (await merchant.get("/v1/events", object_id=second["id"])).json()["items"]
    assert [event["type"] for event in events] == ["payout.accepted", "payout.confirmed"]

    somebody = await payee_of(merchant, user_id, relation="other", name="李四", account_number="6200000000000000001")
    third = await payout_of(merchant, user_id, somebody["id"])
    assert (third["kind"], third["confirmation"]["grounds"]) == ("transfer", ["payee_name_differs"])
    stage.clock.advance(hours=24)
    assert (await payout_of(merchant, user_id, own["id"]))["confirmation"] is None


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/cancel"), ("PUT", ""), ("PATCH", "")])
async def test_nobody_can_cancel_or_change_an_accepted_payout(stage: Stage, method: str, path: str) -> None:
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant)
    payout = await payout_of(merchant, user_id, (await payee_of(merchant, user_id))["id"])
    before = await fingerprints(stage)
    address = f"/v1/payouts/{payout['id']}{path}"
    request = stage.http.build_request(method, address, headers=merchant.headers(""), json={"state": "closed"})
    answer = await merchant.send(request)
    assert answer.status_code in (404, 405)
    assert answer.json()["code"] in ("ROUTE_NOT_FOUND", "METHOD_NOT_ALLOWED")
    assert await fingerprints(stage) == before
    assert not any("cancel" in name for name in stage.openapi()["paths"])


async def test_a_payout_without_a_signature_is_refused_whoever_asks(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant)
    payee = await payee_of(merchant, user_id)
    body = await confirmed(merchant, order_of(user_id, payee["id"]))
    del stage.signing_keys[merchant.id]
    for path, sent in (
        ("/v1/payouts", body),
        (f"/v1/users/{user_id}/payees", {}),
        ("/v1/payouts/po_01KB5N3E4H6Q8Z2T7V9W0X1Y2R/confirm", {"confirmation_hash": "0" * 64}),
    ):
        request = stage.http.build_request("POST", path, json=sent, headers=merchant.headers(""))
        answer = await stage.http.send(request)
        assert (answer.status_code, answer.json()["code"]) == (401, "SIGNATURE_REQUIRED"), path


async def test_limits_of_payouts_are_those_of_payer_and_account_and_apart_from_payments(stage: Stage) -> None:
    merchant, stranger = await stage.merchant(), await stage.merchant("别家")
    user_id = await funded(stage, merchant, amount_minor=1_000_000)
    payee = await payee_of(merchant, user_id)
    await payout_of(merchant, user_id, payee["id"], amount_minor=300_000)
    left = (await merchant.get(f"/v1/users/{user_id}/payout_limits", payee_id=payee["id"])).json()
    caps, route = stage.policy.payout_user_limits, stage.policy.payout_routes.route("CN-CNY").payee_limits
    assert {(item["subject"], item["window"]): item["remaining_minor"] for item in left["limits"]} == {
        ("user", "transaction"): caps.per_transaction_minor,
        ("user", "day"): caps.per_day_minor - 300_000,
        ("user", "month"): caps.per_month_minor - 300_000,
        ("payee", "transaction"): route.per_transaction_minor,
        ("payee", "day"): route.per_day_minor - 300_000,
        ("payee", "month"): route.per_month_minor - 300_000,
    }
    # The account is one, whoever names it: its limit is used up for other users too.
    other_id = await funded(stage, stranger)
    theirs = await payee_of(stranger, other_id, relation="other")
    shared = (await stranger.get(f"/v1/users/{other_id}/payout_limits", payee_id=theirs["id"])).json()["limits"]
    assert [item["remaining_minor"] for item in shared if (item["subject"], item["window"]) == ("payee", "day")] == [
        route.per_day_minor - 300_000
    ]
    for path in (f"/v1/users/{user_id}/payout_limits", f"/v1/users/{other_id}/payout_limits?payee_id={payee['id']}"):
        assert (await stranger.get(path)).status_code == 404
    unknown = await merchant.get(f"/v1/users/{user_id}/payout_limits", currency="USD")
    assert unknown.json()["code"] == "CURRENCY_NOT_SUPPORTED"
    too_much = order_of(user_id, payee["id"], amount_minor=caps.per_transaction_minor + 1)
    refused = await merchant.post("/v1/payouts/preview", too_much, key=None)
    assert refused.json()["code"] == "LIMIT_PER_TRANSACTION"


async def test_two_payouts_at_once_cannot_together_pass_a_limit_of_a_day(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant, amount_minor=1_000_000)
    payee = await payee_of(merchant, user_id)
    narrow = stage.policy.payout_user_limits.model_copy(update={"per_day_minor": 150_000})
    services = dataclasses.replace(
        stage.services, policy=stage.policy.model_copy(update={"payout_user_limits": narrow})
    )
    async with served(services) as http:
        asking = dataclasses.replace(merchant, http=http)
        bodies = [await confirmed(asking, order_of(user_id, payee["id"], amount_minor=50_001)) for _ in range(4)]
        answers = await asyncio.gather(*(asking.post("/v1/payouts", body) for body in bodies))
    codes = sorted(answer.json().get("code", "accepted") for answer in answers)
    assert codes == ["LIMIT_PER_DAY", "LIMIT_PER_DAY", "accepted", "accepted"]


async def test_each_destination_has_its_own_currency_speeds_and_confirmation(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant)
    await agree_to_export(stage, merchant, user_id)
    payee = await payee_of(merchant, user_id, **HONG_KONG)
    order = order_of(user_id, payee["id"], speed="next_working_day", amount_minor=100_000)
    shown = (await merchant.post("/v1/payouts/preview", order, key=None)).json()
    assert shown["conditions"]["product"] == "payout_cross_border"
    assert "Harbour Bank, Hong Kong branch" in shown["conditions"]["cautions"]["zh"]
    codes = {}
    for field, value in (("currency", "USD"), ("speed", "real_time"), ("speed", "yesterday"), ("amount_minor", 0.5)):
        answer = await merchant.post("/v1/payouts/preview", order | {field: value}, key=None)
        codes[str(value)] = (answer.json()["code"], [error["field"] for error in answer.json()["errors"]])
    assert codes == {
        "USD": ("CURRENCY_NOT_SUPPORTED", ["currency"]),
        "real_time": ("SPEED_NOT_OFFERED", ["speed"]),
        "yesterday": ("REQUEST_INVALID", ["speed"]),
        "0.5": ("REQUEST_INVALID", ["amount_minor"]),
    }
    payout = await payout_of(merchant, user_id, payee["id"], speed="next_working_day", amount_minor=100_000)
    assert (payout["route"], payout["region"], payout["currency"]) == ("HK", "HK", "CNY")
    # There is no balance in another currency to pay it from.
    dollars = await confirmed(merchant, order | {"currency": "HKD", "order_number": "payout-hkd"})
    assert (await merchant.post("/v1/payouts", dollars)).json()["code"] == "INSUFFICIENT_FUNDS"


async def test_the_same_key_is_one_payout_and_so_is_the_same_order(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant)
    payee = await payee_of(merchant, user_id)
    body = await confirmed(merchant, order_of(user_id, payee["id"]))
    answers = await asyncio.gather(*(merchant.post("/v1/payouts", body, key="payout-key-01") for _ in range(5)))
    [payout_id] = {answer.json()["id"] for answer in answers}
    assert is_identifier(payout_id, IdPrefix.PAYOUT)
    again = (await merchant.post("/v1/payouts", body)).json()
    assert (again["code"], again["subject_id"]) == ("PAYOUT_ORDER_EXISTS", payout_id)
    assert len(await stage.rows("SELECT id FROM app.payout")) == 1
    found = (await merchant.get("/v1/payouts", order_number=body["order_number"], user_id=user_id)).json()["items"]
    assert [item["id"] for item in found] == [payout_id]
    assert (await merchant.get("/v1/payouts", user_id="nobody")).json()["items"] == []


async def test_a_payout_shows_no_risk_no_slot_and_nothing_of_the_payee_in_plain(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant)
    payee = await payee_of(merchant, user_id)
    payout = await payout_of(merchant, user_id, payee["id"])
    events = (await merchant.get("/v1/events", type="payout.*")).json()["items"]
    documented = set(stage.openapi()["components"]["schemas"]["Payout"]["properties"])
    assert set(payout) == documented
    assert set(events[0]["data"]) == documented
    assert events[0]["data"]["id"] == payout["id"]
    hidden = ("risk", "review", "slot", "screen", "hold", "source", "张三", "6789", chart.user(user_id, "CNY"))
    assert not [word for word in hidden if word in str(payout) + str(events)]
