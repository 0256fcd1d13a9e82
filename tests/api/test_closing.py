"""Closing by a merchant's word: what stops, what goes on, what is handed over and kept, what is answered (P4.5)."""

from __future__ import annotations

import logging
from datetime import date
from typing import Any

import pytest

from domain.due_dates import due_date
from tests.api.closing import (
    COUNTERPARTY,
    DESCRIPTION,
    answered_closure,
    booked,
    closure_body,
    closure_of,
    dispute_of,
    looked_at,
    record,
    records_body,
    refused,
)
from tests.api.conftest import ELEMENTS, Merchant, Stage
from tests.api.fx import arrived, fx_order_of, receiving
from tests.api.payouts import OWN_ACCOUNT, funded, payee_of, payout_of


async def _obstacles(merchant: Merchant, closure_id: str) -> list[tuple[str, str | None]]:
    closure = (await merchant.get(f"/v1/closures/{closure_id}")).json()
    return [(each["kind"], each["subject_id"]) for each in closure["obstacles"]]


async def test_from_the_request_on_nothing_new_is_taken_but_what_empties_the_account(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    await funded(stage, merchant, (user_id, binding_id), amount_minor=50_000)
    await booked(stage)
    payment = await stage.payment(merchant, user_id, binding_id)
    order = await stage.confirmed(merchant, stage.order(user_id, binding_id))
    closure = await closure_of(stage, merchant, user_id)
    assert (closure["state"], closure["scope"], closure["channel"]) == ("closing", "account", "merchant")
    assert closure["identity"] == {"method": "login", "checked_at": "2026-11-20T04:00:00.000Z"}
    assert stage.processes.started[-1][0] == "close_account"
    started = stage.processes.started[-1][1]
    assert (started.closure_id, started.merchant_id, started.user_id) == (closure["id"], merchant.id, user_id)
    kinds = [("instruction", payment["id"]), ("balance", None), ("records", None)]
    assert await _obstacles(merchant, closure["id"]) == kinds
    for path, body in (
        ("/v1/payments", order),
        (f"/v1/users/{user_id}/bindings", ELEMENTS | {"card_number": "9901010000000000026"}),
    ):
        assert (await merchant.post(path, body)).json()["code"] == "ACCOUNT_CLOSING", path
    # What would be refused is not shown to be confirmed either.
    assert await _previewed(stage, merchant, user_id, binding_id) == (422, "ACCOUNT_CLOSING")
    shown = await merchant.post("/v1/fx/preview", fx_order_of(user_id), key=None)
    assert shown.json()["code"] == "ACCOUNT_CLOSING", shown.text
    # What was accepted finishes; the balance leaves by an ordinary payout, to an account that may be named only now.
    code = await merchant.post(f"/v1/payments/{payment['id']}/code", {"code": "482913"})
    assert code.json()["state"] == "ready", code.text
    payee = await payee_of(merchant, user_id)
    payout = await payout_of(merchant, user_id, payee["id"], amount_minor=40_000)
    assert ("instruction", payout["id"]) in await _obstacles(merchant, closure["id"])


async def test_it_is_due_within_fifteen_working_days_of_the_calendar_in_force(stage: Stage) -> None:
    merchant = await stage.merchant()
    closure = await closure_of(stage, merchant, await stage.user(merchant))
    calendar = await stage.services.calendars.calendar("CN")
    due = due_date(stage.clock.now(), stage.policy.closing, calendar)
    assert (closure["due_on"], closure["due_is_provisional"]) == (due.due_on.isoformat(), due.provisional)
    assert closure["due_on"] == "2026-12-11"
    assert closure["waiting_for"]["deadline"] == "2026-12-11T16:00:00.000Z"


async def _previewed(stage: Stage, merchant: Merchant, user_id: str, binding_id: str) -> tuple[int, str]:
    """What a payment's preview is refused with."""
    answer = await merchant.post("/v1/payments/preview", stage.order(user_id, binding_id), key=None)
    return answer.status_code, answer.json().get("code", answer.text)


async def test_a_preview_while_quick_pay_closes_says_what_the_payment_would(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    closure = await closure_of(stage, merchant, user_id, scope="quick_pay")
    assert await _previewed(stage, merchant, user_id, binding_id) == (422, "QUICK_PAY_CLOSING")
    await refused(stage, closure["id"])
    assert (await _previewed(stage, merchant, user_id, binding_id))[0] == 200


async def test_quick_pay_alone_ends_cards_and_leaves_the_account(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    closure_id = await answered_closure(stage, merchant, user_id, scope="quick_pay")
    found = (await merchant.get(f"/v1/closures/{closure_id}")).json()
    assert (found["state"], found["ended_on"], found["waiting_for"]) == ("completed", "2026-11-20", None)
    assert (await merchant.get(f"/v1/users/{user_id}/bindings/{binding_id}")).json()["state"] == "unbound"
    assert (await merchant.get(f"/v1/users/{user_id}")).json()["state"] == "active"
    assert await stage.open_binding(merchant, user_id) != binding_id


@pytest.mark.parametrize("what", ["ask", "hand_over"])
async def test_nobody_closes_or_hands_over_without_a_signature(stage: Stage, what: str) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    path, body = f"/v1/users/{user_id}/closures", closure_body(stage)
    if what == "hand_over":
        path, body = f"/v1/closures/{(await closure_of(stage, merchant, user_id))['id']}/records", records_body()
    answer = await stage.http.post(path, json=body, headers=merchant.headers(""))
    assert (answer.status_code, answer.json()["code"]) == (401, "SIGNATURE_REQUIRED")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"scope": "deletion"}, {"field": "scope", "code": "not_one_of_the_values"}),
        ({"identity_check": {"method": "id_number", "checked_at": "2026-11-20T04:00:00Z"}}, "identity_check.method"),
        ({"identity_check": {"method": "login"}}, "identity_check.checked_at"),
        ({"note": "x"}, {"field": "note", "code": "unknown_field"}),
    ],
)
async def test_a_request_that_is_not_clear_is_refused_by_field(
    stage: Stage, change: dict[str, Any], fault: dict[str, str] | str
) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    answer = await merchant.post(f"/v1/users/{user_id}/closures", closure_body(stage) | change)
    [error] = answer.json()["errors"]
    assert error == fault if isinstance(fault, dict) else error["field"] == fault


async def test_the_same_request_again_is_the_same_closure(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, body = await stage.user(merchant), closure_body(stage)
    first = await merchant.post(f"/v1/users/{user_id}/closures", body, key="close-00001")
    again = await merchant.post(f"/v1/users/{user_id}/closures", body, key="close-00001")
    assert (again.status_code, again.json()) == (201, first.json())
    other = await merchant.post(f"/v1/users/{user_id}/closures", body)
    assert (other.status_code, other.json()["subject_id"]) == (409, first.json()["id"])
    assert [name for name, _ in stage.processes.started].count("close_account") == 1


# Records of where the funds came from


async def _leaving(stage: Stage) -> tuple[Merchant, str, str]:
    """A user who has paid once, and whose account closes."""
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    await stage.paid(merchant, user_id, binding_id)
    await booked(stage)
    return merchant, user_id, (await closure_of(stage, merchant, user_id))["id"]


async def test_records_are_sealed_at_once_and_are_nowhere_else(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    merchant, user_id, closure_id = await _leaving(stage)
    assert await _obstacles(merchant, closure_id) == [("records", None)]
    records = [record(), record(order_number="x" * 64, traded_on="2025-12-31")]
    answer = await merchant.post(f"/v1/closures/{closure_id}/records", records_body(*records), key="records-001")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["obstacles"], answer.json()["records_received_at"]) == ([], "2026-11-20T04:00:00.000Z")
    assert stage.processes.told[-1] == ("closure", closure_id, "look_again")
    kept = await stage.services.retention.kept(user_id)
    # What is older than what it explains is kept as long as that.
    assert [(line.kind, line.event_year, line.records) for line in kept] == [("source_of_funds", 2026, 2)]
    assert (await merchant.post(f"/v1/closures/{closure_id}/records", records_body(*records), key="records-001")).json()
    said = answer.text + caplog.text
    for table in await stage.rows(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables"
        " WHERE schemaname IN ('app', 'vault', 'ledger', 'retention')"
    ):
        said += str(await stage.rows(f"SELECT t::text FROM {table['name']} t"))  # noqa: S608
    assert not [text for text in (DESCRIPTION, COUNTERPARTY, "order-8812") if text in said]


async def test_an_order_is_kept_once_as_it_was_told_first(stage: Stage) -> None:
    merchant, user_id, closure_id = await _leaving(stage)
    for body in (records_body(), records_body(record(amount_minor=1), record(order_number="order-2"))):
        assert (await merchant.post(f"/v1/closures/{closure_id}/records", body)).status_code == 200
    assert sum(line.records for line in await stage.services.retention.kept(user_id)) == 2


async def test_the_account_stays_open_until_the_last_of_them(stage: Stage) -> None:
    merchant, _, closure_id = await _leaving(stage)
    path = f"/v1/closures/{closure_id}/records"
    many = [record(order_number=f"order-{number}", description="d", counterparty="c") for number in range(400)]
    first = await merchant.post(path, records_body(*many, complete=False))
    assert first.status_code == 200, first.text
    assert [each["kind"] for each in first.json()["obstacles"]] == ["records"]
    assert (await looked_at(stage, closure_id))["state"] == "closing"
    assert (await merchant.post(path, records_body(record(order_number="last")))).json()["obstacles"] == []
    assert (await looked_at(stage, closure_id))["state"] == "unsigning"
    [row] = await stage.rows("SELECT records_count FROM app.closure")
    assert row["records_count"] == 401


@pytest.mark.parametrize(
    ("records", "field", "fault"),
    [
        ([], "records", "invalid"),
        ([record(), record()], "records.1.order_number", "repeated"),
        ([record(traded_on="2026-11-21")], "records.0.traded_on", "out_of_range"),
        ([record(traded_on="1999-12-31")], "records.0.traded_on", "out_of_range"),
        ([record(traded_on="2026-02-30")], "records.0.traded_on", "wrong_format"),
        ([record(traded_on="2026-11-19T00:00:00Z")], "records.0.traded_on", "wrong_format"),
        ([record(traded_on=20261119)], "records.0.traded_on", "wrong_format"),
        ([record(amount_minor=0)], "records.0.amount_minor", "out_of_range"),
        ([record(description="长" * 201)], "records.0.description", "invalid"),
        ([record(counterparty="")], "records.0.counterparty", "invalid"),
        ([record(order_number=ELEMENTS["id_number"])], "records.0.order_number", "personal_data"),
        ([record(buyer="x")], "records.0.buyer", "unknown_field"),
        ([record(order_number=f"{n}", description="d", counterparty="c") for n in range(501)], "records", "invalid"),
    ],
)
async def test_records_that_are_not_clear_are_refused_by_place_and_none_is_kept(
    stage: Stage, records: list[dict[str, Any]], field: str, fault: str
) -> None:
    merchant, user_id, closure_id = await _leaving(stage)
    answer = await merchant.post(f"/v1/closures/{closure_id}/records", {"records": records, "complete": True})
    assert answer.json()["errors"] == [{"field": field, "code": fault}]
    assert await stage.services.retention.kept(user_id) == []


async def test_records_of_another_merchants_closure_are_neither_taken_nor_kept(stage: Stage) -> None:
    _, user_id, closure_id = await _leaving(stage)
    stranger = await stage.merchant("别家")
    answer = await stranger.post(f"/v1/closures/{closure_id}/records", records_body())
    assert (answer.status_code, answer.json()["code"]) == (404, "CLOSURE_NOT_FOUND")
    assert await stage.services.retention.kept(user_id) == []


# Disputes


async def test_an_open_dispute_is_in_the_way_until_it_is_resolved(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    payment = await stage.payment(merchant, user_id, binding_id)
    dispute = await dispute_of(merchant, user_id, subject_id=payment["id"], evidence_ref="chat:1")
    assert (dispute["state"], dispute["subject_id"], dispute["evidence_ref"]) == ("open", payment["id"], "chat:1")
    closure = await closure_of(stage, merchant, user_id, scope="quick_pay")
    assert await _obstacles(merchant, closure["id"]) == [("dispute", dispute["id"]), ("instruction", payment["id"])]
    about_the_account = await dispute_of(merchant, user_id, reason="other")
    assert about_the_account["subject_id"] == user_id
    listed = (await merchant.get("/v1/disputes", user_id=user_id, state="open")).json()["items"]
    assert [each["id"] for each in listed] == [about_the_account["id"], dispute["id"]]
    assert (await merchant.get("/v1/disputes", state="resolved")).json()["items"] == []
    assert (await merchant.get("/v1/disputes", state="closed")).status_code == 400
    [event] = await stage.rows("SELECT type, body FROM app.event WHERE object_id = :id", id=dispute["id"])
    assert (event["type"], event["body"]["reason"]) == ("dispute.opened", "not_received")


async def test_closures_are_listed_by_user_and_state(stage: Stage) -> None:
    merchant = await stage.merchant()
    users = [await stage.user(merchant) for _ in range(3)]
    made = [(await closure_of(stage, merchant, user_id))["id"] for user_id in users]
    first = (await merchant.get("/v1/closures", limit=2)).json()
    second = (await merchant.get("/v1/closures", limit=2, cursor=first["next_cursor"])).json()
    assert [each["id"] for each in first["items"] + second["items"]] == made[::-1]
    of_user = (await merchant.get("/v1/closures", user_id=users[0], state="closing")).json()["items"]
    assert [each["id"] for each in of_user] == made[:1]
    assert (await merchant.get("/v1/closures", state="completed")).json()["items"] == []
    assert (await (await stage.merchant("别家")).get("/v1/closures")).json()["items"] == []


# The answer


async def test_the_certificate_is_a_page_to_print_and_json_if_asked_for(stage: Stage) -> None:
    merchant = await stage.merchant("海棠书店")
    path = f"/v1/closures/{await answered_closure(stage, merchant, await stage.user(merchant))}"
    page = await merchant.get(f"{path}/certificate")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "海棠书店" in page.text
    assert 'lang="zh-CN"' in page.text
    assert 'lang="en"' in page.text
    found = await _certificate(merchant, path)
    assert (found["outcome"], found["agreement_ended_on"]) == ("completed", "2026-11-20")
    [told] = found["told"]
    assert (told["recipient"], told["told_at"], told["reply"]) == (merchant.id, "2026-11-20T04:00:00Z", "none")
    replied = await merchant.post(f"{path}/erasure_reply", {"outcome": "kept", "reason": "law"})
    assert [(each["reply"], each["reply_reason"]) for each in replied.json()["notices"]] == [("kept", "law")]
    assert [each["reply"] for each in (await _certificate(merchant, path))["told"]] == ["kept"]


async def _certificate(merchant: Merchant, path: str) -> dict[str, Any]:
    headers = merchant.headers(None) | {"Accept": "application/json, application/problem+json"}
    found: dict[str, Any] = (await merchant.http.get(f"{path}/certificate", headers=headers)).json()
    return found


@pytest.mark.parametrize(("ground", "told"), [("rights_of_others", "rights_of_others"), ("criminal_proceedings", None)])
async def test_a_refusal_says_why_where_it_may_and_where_to_complain(
    stage: Stage, ground: str, told: str | None
) -> None:
    merchant = await stage.merchant()
    closure = await closure_of(stage, merchant, await stage.user(merchant))
    await refused(stage, closure["id"], ground)
    path = f"/v1/closures/{closure['id']}"
    assert (await merchant.get(path)).json()["reason"] == told
    answer = await _certificate(merchant, path)
    assert (answer["outcome"], answer["refusal_ground"], answer["destroyed"]) == ("refused", told, None)
    page = (await merchant.get(f"{path}/certificate")).text
    assert stage.policy.contact.complaint_zh in page
    assert "criminal" not in page


@pytest.mark.parametrize(
    "body",
    [{"outcome": "kept"}, {"outcome": "erased", "reason": "law"}, {"outcome": "kept", "reason": "because"}],
    ids=["no reason", "a reason for nothing", "no such reason"],
)
async def test_a_reply_names_its_reason_with_kept_alone(stage: Stage, body: dict[str, str]) -> None:
    merchant = await stage.merchant()
    path = f"/v1/closures/{await answered_closure(stage, merchant, await stage.user(merchant))}/erasure_reply"
    assert [error["field"] for error in (await merchant.post(path, body)).json()["errors"]] == ["reason"]


# Afterwards


async def test_what_was_a_users_can_still_be_read_and_says_nothing_of_the_person(stage: Stage) -> None:
    merchant, user_id, binding_id, payee_id = await _gone(stage)
    user = (await merchant.get(f"/v1/users/{user_id}")).json()
    assert (user["state"], user["merchant_user_ref"]) == ("closed", None)
    binding = (await merchant.get(f"/v1/users/{user_id}/bindings/{binding_id}")).json()
    assert (binding["state"], binding["card_last4"]) == ("unbound", None)
    payee = (await merchant.get(f"/v1/payees/{payee_id}")).json()
    assert (payee["state"], payee["name"], payee["account"]) == ("removed", "****", "****")
    [account] = (await merchant.get(f"/v1/users/{user_id}/receiving_accounts")).json()["items"]
    assert (account["state"], account["holder"], account["account_number"]) == ("closed", None, None)
    events = (await merchant.get("/v1/events", limit=100)).json()["items"]
    bodies = [event["data"] for event in events if event["data"].get("user_id", event["data"]["id"]) == user_id]
    assert {data[name] for data in bodies for name in ("card_last4", "merchant_user_ref") if name in data} == {None}
    assert "receiving_account.closed" in {event["type"] for event in events}


async def test_nothing_is_accepted_or_collected_any_more(stage: Stage) -> None:
    merchant, user_id, binding_id, _ = await _gone(stage)
    before = await stage.rows("SELECT count(*) AS n FROM vault.item")
    answers = [
        await merchant.post(f"/v1/users/{user_id}/bindings", ELEMENTS),
        await merchant.post(f"/v1/users/{user_id}/payees", OWN_ACCOUNT),
        await stage.consent(merchant, user_id),
        await merchant.post(f"/v1/users/{user_id}/closures", closure_body(stage)),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(422, "USER_NOT_ACTIVE")] * 4
    assert await _previewed(stage, merchant, user_id, binding_id) == (422, "USER_NOT_ACTIVE")
    assert await stage.rows("SELECT count(*) AS n FROM vault.item") == before
    # What happened before may still be disputed (P4.5c), and the same person may come back as somebody new.
    assert (await dispute_of(merchant, user_id))["state"] == "open"
    assert await stage.open_binding(merchant, await stage.user(merchant))


async def _gone(stage: Stage) -> tuple[Merchant, str, str, str]:
    """Somebody who had a bit of everything, and has been forgotten."""
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    payee = await payee_of(merchant, user_id)
    await receiving(stage, merchant, user_id)
    await answered_closure(stage, merchant, user_id)
    await stage.services.vault.destroy_user_key(user_id, "process:close_account", "account_closed")
    return merchant, user_id, binding_id, payee["id"]


# A longer retention


async def test_a_user_may_let_data_be_kept_longer_through_a_day(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    for until in ("2026-11-21", "2056-11-20"):
        answer = await stage.consent(merchant, user_id, "longer_retention", version="keep-1", until_on=until)
        assert (answer.status_code, answer.json()["until_on"]) == (201, until), answer.text
    rows = await stage.rows("SELECT until_on FROM app.consent WHERE kind = 'longer_retention' ORDER BY id")
    assert [row["until_on"] for row in rows] == [date(2026, 11, 21), date(2056, 11, 20)]


@pytest.mark.parametrize("until", ["2026-11-20", "2026-11-19", "2056-11-21", "9999-12-31"])
async def test_a_longer_retention_ends_on_a_day_ahead_and_within_thirty_years(stage: Stage, until: str) -> None:
    merchant = await stage.merchant()
    answer = await stage.consent(merchant, await stage.user(merchant), "longer_retention", until_on=until)
    assert answer.json()["code"] == "RETENTION_END_INVALID"
    assert [error["field"] for error in answer.json()["errors"]] == ["until_on"]


@pytest.mark.parametrize(
    ("kind", "until", "fault"),
    [
        ("longer_retention", None, "missing"),
        ("longer_retention", "soon", "wrong_format"),
        ("longer_retention", "2026-13-01", "wrong_format"),
        ("capacity_statement", "2027-01-01", "goes_with_longer_retention"),
    ],
)
async def test_a_last_day_goes_with_a_longer_retention_alone(
    stage: Stage, kind: str, until: str | None, fault: str
) -> None:
    merchant = await stage.merchant()
    answer = await stage.consent(merchant, await stage.user(merchant), kind, until_on=until)
    assert answer.json()["errors"] == [{"field": "until_on", "code": fault}]


async def test_money_that_arrives_in_mid_closing_is_in_the_way_again(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    account = await receiving(stage, merchant, user_id)
    closure = await closure_of(stage, merchant, user_id)
    assert await _obstacles(merchant, closure["id"]) == []
    await arrived(stage, user_id, account["number"], 100_000)
    found = (await merchant.get(f"/v1/closures/{closure['id']}")).json()["obstacles"]
    assert [(each["kind"], each["detail"]) for each in found] == [("balance", "USD 100000"), ("records", None)]
