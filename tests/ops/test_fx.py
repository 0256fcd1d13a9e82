"""Foreign currency as operators see it and decide about it: queues, suspense, positions, quota, exports."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from domain.calendars import Closure, LoadedCalendars
from domain.case_texts import CASE_TEXTS, explain_case
from domain.fx import DoubtfulInbound
from domain.identifiers import BankStep
from ops.fx_desks import desks_in_view
from tests.api.conftest import ELEMENTS
from tests.ops.conftest import POLICY, Person
from tests.ops.currency import ABROAD, DESK, NUMBER, REMITTER, Currency, receiver
from tests.ops.test_looking import UNKNOWN, House, house

__all__ = ["house"]
CNY = 712_340


@pytest.fixture
async def currency(house: House) -> Currency:
    return await receiver(house.api, house.merchant)


async def decide(kind: str, subject: str, first: Person, second: Person, **detail: Any) -> Any:
    body = {"kind": kind, "subject_id": subject, "ground": "evidence", "reason": "银行来函确认", "detail": detail}
    asked = await first.post("/decisions", body)
    assert asked.status_code == 201, asked.text
    return await second.post(f"/decisions/{asked.json()['id']}/approve")


# What waits, and why


async def test_conversions_are_listed_by_what_they_wait_for_and_shown_with_all_that_belongs_to_them(
    house: House, currency: Currency
) -> None:
    su = await house.ops.operator("support")
    _, waits = await currency.arrive()
    _, dealt = await currency.arrive(amount_minor=200_000)
    assert waits is not None
    assert dealt is not None
    for each in (waits, dealt):
        await currency.plan(each)
    await currency.deal(dealt, 2 * CNY)
    [listed] = (await su.get("/fx", state="waiting", desk=DESK, user_id=currency.user_id)).json()["items"]
    assert (listed["id"], listed["merchant_id"]) == (waits, house.merchant.id)
    assert (await su.get("/fx", waiting_for="fx_delivery")).json()["items"][0]["id"] == dealt
    assert (await su.get("/fx", merchant_id=f"mch_{UNKNOWN}")).json()["items"] == []
    page = (await su.get("/fx", limit=1)).json()
    assert [page["items"][0]["id"], page["next_cursor"] is None] == [dealt, False]
    full = (await su.get(f"/fx/{dealt}")).json()
    assert [(quote["rate"], quote["dealt"]) for quote in full["quotes"]] == [("7.1234", True)]
    assert [effect["request_number"] for effect in full["effects"]] == [f"FX{dealt[3:]}"]
    assert full["process"]["workflow_id"] == f"settle-fx/{dealt}"
    looked = await house.api.records(action="look_at_fx", subject_id=dealt)
    assert [record["actor"] for record in looked] == [su.actor]
    for wrong in (f"fx_{UNKNOWN}", "fx_1", "pay_1"):
        assert (await su.get(f"/fx/{wrong}")).json()["code"] == "INSTRUCTION_NOT_FOUND"
    assert (await su.get("/fx", state="nonsense")).status_code == 400


async def test_foreign_currency_is_looked_at_and_found_as_payments_are(house: House, currency: Currency) -> None:
    su = await house.ops.operator("support")
    inbound_id, fx_id = await currency.arrive()
    assert fx_id is not None
    await house.ops.rows("UPDATE app.fx SET order_number = 'FX-ORDER-1' WHERE id = :id", id=fx_id)
    [found] = (await su.get("/instructions", order_number="FX-ORDER-1")).json()["items"]
    assert (found["id"], found["object"]) == (fx_id, "fx")
    [found] = (await su.get("/instructions", bank_reference=inbound_id[4:])).json()["items"]
    assert (found["id"], found["object"]) == (inbound_id, "inbound")
    shown = (await su.get(f"/instructions/{fx_id}")).json()
    assert shown["waiting_for"]["reason"] == "process_start"
    assert "accept_fx" in {record["action"] for record in shown["records"]}
    shown = (await su.get(f"/instructions/{inbound_id}")).json()
    assert shown["process"]["workflow_id"] == f"receive-inbound/{ABROAD}-{inbound_id[4:]}"
    [account] = await house.ops.rows("SELECT id FROM app.receiving_account")
    shown = (await su.get(f"/instructions/{account['id']}")).json()
    assert (shown["state"], shown["process"]["workflow_id"]) == ("open", f"open-receiving-account/{account['id']}")


async def test_a_desk_is_asked_again_and_about_what_it_settled(house: House, currency: Currency) -> None:
    tian = await house.ops.operator("treasury")
    _, fx_id = await currency.arrive()
    assert fx_id is not None
    await currency.plan(fx_id)
    assert (await tian.post(f"/instructions/{fx_id}/ask-bank")).json()["code"] == "BANK_NOT_TO_ASK"
    number = await currency.send(fx_id)
    assert (await tian.post(f"/instructions/{fx_id}/ask-bank")).json()["how"] == "told"
    assert house.api.processes.told[-1] == ("settle-fx", fx_id, "notice")
    house.api.processes.takes_notices = False
    assert (await tian.post(f"/instructions/{fx_id}/ask-bank")).json()["how"] == "revived"
    assert house.api.processes.started[-1][0] == f"revive settle-fx {fx_id}"
    dealt = {"rate_e8": 712_340_000, "cny_minor": CNY, "booked_at": house.api.clock.now()}
    ended = {"effect_number": number, "effect_outcome": "succeeded", "delivered_at": house.api.clock.now()}
    await currency.settle(fx_id, "settled", ("sending",), **dealt, **ended)
    assert (await tian.post(f"/instructions/{fx_id}/ask-bank")).json()["how"] == "correcting"
    assert house.api.processes.started[-1][0] == "learn_excess"


async def test_what_only_a_person_can_bring_on_is_among_the_matters_once(house: House, currency: Currency) -> None:
    su = await house.ops.operator("support")
    inbound_id, _ = await currency.arrive(known=False)
    ids = [(await currency.arrive())[1] for _ in range(3)]
    change = "UPDATE app.fx SET state_since = state_since, wait_reason = :why WHERE id = :id"
    await house.ops.rows(change, why="freeze", id=ids[0])
    for fx_id in ids[1:]:
        await house.ops.rows(change, why="authority_rate", id=fx_id)
    found = (await su.get("/matters")).json()["items"]
    assert {(item["kind"], item["why"], item["subject_id"]) for item in found} == {
        ("case", "inbound_unmatched", inbound_id),
        ("stopped", "freeze", ids[0]),
        ("stopped", "authority_rate", "USD"),
    }
    [case] = [item for item in found if item["kind"] == "case"]
    assert (case["merchant_id"], case["says"]) == ("", explain_case("inbound_unmatched"))
    [listed] = (await su.get("/cases", state="open")).json()["items"]
    assert (listed["kind"], listed["subject_id"], listed["merchant_id"]) == ("inbound_unmatched", inbound_id, "")
    assert listed["says"]["en"].startswith("Foreign currency has arrived")


async def test_money_that_its_bank_describes_absurdly_is_among_the_matters_with_what_to_do(
    house: House, currency: Currency
) -> None:
    su, now = await house.ops.operator("support"), house.api.clock.now()
    subject = f"{ABROAD}-IN0000009001"
    about = DoubtfulInbound(
        now=now, case_id=currency.id("case"), bank_code=ABROAD, reference="IN0000009001", reason="ANSWER_MISMATCH",
        fields=("purpose_code",),
    )  # fmt: skip
    for _ in range(2):
        assert await currency.book.doubt_inbound(about) is None
    [matter] = (await su.get("/matters")).json()["items"]
    assert (matter["kind"], matter["why"], matter["subject_id"]) == ("case", "inbound_unreadable", subject)
    assert matter["says"] == explain_case("inbound_unreadable")
    chen = await house.ops.operator("compliance")
    [record] = (await chen.get("/records", subject_id=subject)).json()["items"]
    assert (record["reason"], record["detail"]["fields"]) == ("unreadable", ["purpose_code"])


def test_every_case_of_foreign_currency_says_in_both_languages_what_to_do() -> None:
    kinds = {"inbound_unmatched", "inbound_differs", "inbound_return_failed", "user_receivable", "reversal_refused"}
    assert kinds | {"excess_of_exempt", "fx_without_window", "inbound_unreadable"} <= CASE_TEXTS.keys()
    assert all(zh and en for zh, en in CASE_TEXTS.values())
    assert explain_case("cash_out") is None


# Suspense


async def test_money_in_suspense_is_seen_masked_and_assigned_by_two_people(house: House, currency: Currency) -> None:
    tian, tao = await house.ops.operator("treasury"), await house.ops.operator("treasury")
    inbound_id, _ = await currency.arrive(known=False)
    [listed] = (await tian.get("/inbounds", state="suspense")).json()["items"]
    assert (listed["id"], listed["reason"], listed["merchant_id"]) == (inbound_id, "receiver_unknown", None)
    answer = await tian.get(f"/inbounds/{inbound_id}")
    assert set(answer.json()["elements"]) == {"remitter", "receiver", "account"}
    assert answer.json()["elements"]["account"] == "****0001"
    assert not [value for value in (REMITTER, ELEMENTS["name"], NUMBER) if value in answer.text]
    own = await decide("inbound.assign", inbound_id, tian, tian, user_id=currency.user_id)
    assert own.json()["code"] == "SECOND_PERSON_REQUIRED"
    [asked] = (await tian.get("/decisions", state="requested", kind="inbound.assign")).json()["items"]
    done = await tao.post(f"/decisions/{asked['id']}/approve")
    assert (done.status_code, done.json()["state"]) == (200, "committed"), done.text
    shown = (await tian.get(f"/inbounds/{inbound_id}")).json()
    assert (shown["state"], shown["user_id"], shown["decided_by"]) == ("credited", currency.user_id, asked["id"])
    # The user's mandate converts it: nobody has to say so again.
    assert shown["fx_ids"] == [f"fx_{asked['id'][4:]}"]
    assert (await tian.get("/matters")).json()["items"] == []
    again = await tian.post("/decisions", {
        "kind": "inbound.return", "subject_id": inbound_id, "ground": "evidence", "reason": "重复", "detail": {},
    })  # fmt: skip
    assert again.json()["code"] == "DECISION_NOT_APPLICABLE"


async def test_money_in_suspense_is_returned_by_treasury_and_compliance(house: House, currency: Currency) -> None:
    tian, chen = await house.ops.operator("treasury"), await house.ops.operator("compliance")
    inbound_id, _ = await currency.arrive(known=False)
    done = await decide("inbound.return", inbound_id, tian, chen)
    assert done.status_code == 200, done.text
    [back] = (await tian.get("/inbound_returns", state="ready")).json()["items"]
    assert (back["inbound_id"], back["merchant_id"], back["amount_minor"]) == (inbound_id, None, 100_000)
    shown = (await tian.get(f"/inbounds/{inbound_id}")).json()
    assert [(each["id"], shown["state"]) for each in shown["returns"]] == [(back["id"], "returning")]
    looked = (await tian.get(f"/instructions/{back['id']}")).json()
    assert (looked["merchant_id"], looked["waiting_for"]["reason"]) == (None, "process_start")
    assert looked["process"]["workflow_id"] == f"return-inbound/{back['id']}"


async def test_who_may_not_decide_about_suspense_and_what_cannot_be_decided_is_refused(
    house: House, currency: Currency
) -> None:
    tian, rui = await house.ops.operator("treasury"), await house.ops.operator("risk")
    inbound_id, _ = await currency.arrive(known=False)
    body = {"kind": "inbound.return", "subject_id": inbound_id, "ground": "suspected_fraud", "reason": "可疑"}
    assert (await rui.post("/decisions", body)).json()["code"] == "PERMISSION_MISSING"
    assert (await tian.post("/decisions", body | {"subject_id": f"inb_{UNKNOWN}"})).json()[
        "code"
    ] == "SUBJECT_NOT_FOUND"
    assert (await tian.post("/decisions", body | {"ground": "duplicate"})).json()["code"] == "GROUND_UNKNOWN"
    for detail, fault in (({}, "missing"), ({"user_id": "usr_1"}, "invalid"), ({"user": "x"}, "missing")):
        answer = await tian.post(
            "/decisions", body | {"kind": "inbound.assign", "detail": detail, "ground": "evidence"}
        )
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, fault), detail
    other = {"kind": "inbound.assign", "detail": {"user_id": f"usr_{UNKNOWN}"}, "ground": "evidence"}
    assert (await tian.post("/decisions", body | other)).json()["code"] == "DECISION_NOT_APPLICABLE"


async def test_a_conversion_is_withdrawn_before_it_is_sent_and_never_declared_dealt(
    house: House, currency: Currency
) -> None:
    tian, rui = await house.ops.operator("treasury"), await house.ops.operator("risk")
    chen = await house.ops.operator("compliance")
    _, withdrawn = await currency.arrive()
    _, unknown = await currency.arrive()
    assert withdrawn is not None
    assert unknown is not None
    body = {"kind": "instruction.withdraw", "subject_id": withdrawn, "ground": "suspected_fraud", "reason": "用户报案"}
    asked = (await tian.post("/decisions", body)).json()
    assert (await rui.post(f"/decisions/{asked['id']}/approve")).json()["process_told"]
    assert house.api.processes.told[-1] == ("decision", withdrawn, asked["id"])
    await currency.plan(unknown)
    await currency.send(unknown)
    await currency.settle(unknown, "unknown", ("sending",), wait_reason="operator")
    [parked] = [item for item in (await tian.get("/matters")).json()["items"] if item["kind"] == "parked"]
    assert parked["subject_id"] == unknown
    conclude = {"kind": "instruction.conclude", "subject_id": unknown, "ground": "evidence", "reason": "银行对账单"}
    dealt = {"outcome": "succeeded", "bank_reference": "HB1", "evidence_ref": "statement:1"}
    assert (await tian.post("/decisions", conclude | {"detail": dealt})).json()["code"] == "DECISION_NOT_APPLICABLE"
    done = await decide("instruction.conclude", unknown, tian, chen, outcome="failed", evidence_ref="statement:1")
    assert done.json()["process_told"], done.text


async def test_another_desk_takes_over_when_a_bank_is_switched_off(house: House) -> None:
    tian = await house.ops.operator("treasury")
    body = {"kind": "partner.disable", "subject_id": DESK, "ground": "technical", "reason": "系统故障"}
    assert (await tian.post("/decisions", body)).json()["state"] == "committed"
    assert house.api.processes.started[-1] == ("replan_fx", 1)
    desks = (await tian.get("/fx_desks")).json()["offices"]
    assert {each["bank_code"]: each["enabled"] for each in desks if each["kind"] == "desk"} == {
        DESK: False,
        "WLWB": True,
    }


async def test_the_function_fx_can_be_suspended_and_what_it_stopped_is_woken(house: House, currency: Currency) -> None:
    rui, ren = await house.ops.operator("risk"), await house.ops.operator("risk")
    _, fx_id = await currency.arrive()
    body = {"kind": "user.suspend", "subject_id": currency.user_id, "ground": "security_concern", "reason": "设备遗失"}
    asked = (await rui.post("/decisions", body | {"detail": {"function": "fx"}})).json()
    assert (await ren.post(f"/decisions/{asked['id']}/approve")).json()["state"] == "committed"
    await house.ops.rows("UPDATE app.fx SET wait_reason = 'freeze' WHERE id = :id", id=fx_id)
    resume = body | {"kind": "user.resume", "ground": "resolved", "detail": {}}
    asked = (await rui.post("/decisions", resume)).json()
    await ren.post(f"/decisions/{asked['id']}/approve")
    assert ("fx", fx_id, "look_again") in house.api.processes.told


# Positions, quota, rates, exports, desks


async def test_positions_are_what_was_dealt_and_not_delivered_and_come_back_to_nought(
    house: House, currency: Currency
) -> None:
    tian = await house.ops.operator("treasury")
    await currency.arrive(known=False, amount_minor=7_000)
    _, fx_id = await currency.arrive()
    assert fx_id is not None
    await currency.plan(fx_id)
    await currency.deal(fx_id, CNY)

    async def balances() -> dict[str, dict[str, Any]]:
        found = (await tian.get("/fx_positions")).json()["balances"]
        assert all(each["agrees"] is not False for each in found)
        return {each["account"]: each for each in found}

    shown = await balances()
    assert shown[f"fx_position:{DESK}:USD"]["posted_minor"] == 100_000
    assert shown[f"fx_position:{DESK}:USD"]["deals"] == 1
    assert shown["suspense:USD"]["posted_minor"] == 7_000
    [deal] = (await tian.get("/fx_positions")).json()["open_deals"]
    assert (deal["id"], deal["amount_minor"]) == (fx_id, 100_000)
    await currency.deliver(fx_id)
    shown = await balances()
    assert (shown[f"fx_position:{DESK}:USD"]["posted_minor"], shown[f"fx_position:{DESK}:CNY"]["posted_minor"]) == (
        0,
        0,
    )
    assert (await tian.get("/fx_positions")).json()["open_deals"] == []


async def test_a_persons_quota_is_seen_by_few_across_merchants_and_each_look_is_recorded(
    house: House, currency: Currency
) -> None:
    chen, su = await house.ops.operator("compliance"), await house.ops.operator("support")
    other = await receiver_elsewhere(house)
    _, here = await currency.arrive()
    _, there = await other.arrive(amount_minor=30_000)
    assert here is not None
    assert there is not None
    await currency.plan(here)
    await other.plan(there)
    await currency.deal(here, CNY)
    shown = (await chen.get(f"/fx_quotas/{here}")).json()
    assert (shown["used_usd_minor"], shown["reserved_usd_minor"], shown["year"]) == (100_000, 30_000, 2026)
    assert (shown["quota_usd_minor"], shown["left_usd_minor"]) == (5_000_000, 4_870_000)
    assert {(entry["fx_id"], entry["merchant_id"]) for entry in shown["entries"]} == {
        (here, currency.merchant.id),
        (there, other.merchant.id),
    }
    assert (await chen.get(f"/fx_quotas/{other.user_id}", year=2026)).json()["used_usd_minor"] == 100_000
    assert (await chen.get(f"/fx_quotas/{other.user_id}", year=2025)).json()["entries"] == []
    assert (await su.get(f"/fx_quotas/{here}")).json()["code"] == "PERMISSION_MISSING"
    assert (await chen.get(f"/fx_quotas/usr_{UNKNOWN}")).json()["code"] == "USER_NOT_FOUND"
    assert (await chen.get(f"/fx_quotas/{here}", year="1999")).status_code == 400
    first, *_ = await house.api.records(action="read_fx_quota", outcome="done")
    assert (first["actor"], first["subject_id"], first["detail"]) == (
        chen.actor,
        here,
        {"user_id": currency.user_id, "year": 2026},
    )


async def receiver_elsewhere(house: House) -> Currency:
    """The same person at another merchant."""
    merchant = await house.api.merchant("山茶书店")
    user_id, _ = await house.api.payer(merchant)
    return await Currency(house.api, merchant, user_id, "OSPB880000007352").opened()


async def test_an_excess_is_shown_with_its_reversal_and_what_the_user_owes(house: House, currency: Currency) -> None:
    chen = await house.ops.operator("compliance")
    _, fx_id = await currency.arrive()
    assert fx_id is not None
    await currency.plan(fx_id)
    await currency.deal(fx_id, CNY)
    await currency.deliver(fx_id)
    reversal_id = await currency.exceed(fx_id, 40_000)
    await currency.plan(reversal_id)
    await currency.deal(reversal_id, 284_936, step=BankStep.FX_REVERSAL)
    shown = (await chen.get(f"/fx/{fx_id}")).json()
    [reversal] = shown["reversals"]
    assert (reversal["id"], reversal["amount_minor"], reversal["rate"]) == (reversal_id, 40_000, "7.1234")
    assert (shown["reversed_minor"], reversal["shortfall_minor"], shown["receivables"]) == (40_000, 0, [])
    found = (await chen.get("/fx_positions")).json()["balances"]
    [position] = [each for each in found if each["account"] == f"fx_position:{DESK}:CNY"]
    assert (position["posted_minor"], position["agrees"]) == (284_936, True)
    assert (await chen.get(f"/fx_quotas/{fx_id}")).json()["left_usd_minor"] == 0


_DISCLOSURE = (
    "INSERT INTO vault.disclosure SELECT (jsonb_populate_record(NULL::vault.disclosure, jsonb_build_object("
    "'disclosure_id', md5('1')::uuid, 'user_id', CAST(:user AS text), 'recipient', CAST(:to AS text),"
    "'role', 'overseas_bank', 'operation', 'receiving_account', 'fields', jsonb_build_array('name'),"
    "'purpose', 'fx_settlement', 'ground', 'necessary_for_service', 'request_number', 'RA1', 'cross_border', true,"
    "'at', CAST(:now AS timestamptz)))).*"
)


async def test_rates_in_force_and_exports_stand_beside_what_they_rest_on(house: House) -> None:
    chen = await house.ops.operator("compliance")
    found = (await chen.get("/authority_rates")).json()["items"]
    in_force = {(each["currency"], each["month"], each["usd"]) for each in found if each["in_force"]}
    assert in_force == {("HKD", "2026-11", "0.1285"), ("JPY", "2026-11", "0.00661")}
    [unused] = (await chen.get("/exports")).json()["items"]
    assert (unused["recipient"], unused["persons"], unused["in_force"]) == (ABROAD, 0, True)
    await house.ops.rows(_DISCLOSURE, user=house.user_id, to=ABROAD, now=house.api.clock.now())
    [counted] = (await chen.get("/exports", year=2026)).json()["items"]
    assert (counted["persons"], counted["disclosures"], counted["fields"]) == (1, 1, ["name"])
    assert counted["valid_until"] == "2028-02-01"
    [record, *_] = await house.api.records(action="read_exports", outcome="done")
    assert record["actor"] == chen.actor


async def test_desks_say_whether_they_are_open_and_what_waits_for_them(house: House, currency: Currency) -> None:
    su = await house.ops.operator("support")
    _, fx_id = await currency.arrive()
    _, unplanned = await currency.arrive()
    assert fx_id is not None
    assert unplanned is not None
    await currency.plan(fx_id)
    await currency.plan(unplanned, desk=None)
    shown = (await su.get("/fx_desks")).json()
    offices = {office["code"]: office for office in shown["offices"]}
    assert offices.keys() == {"FX-SAFE", "FX-HBRB", "FX-WLWB"}
    harbour = offices["FX-HBRB"]
    assert (harbour["is_open"], harbour["open_until"], harbour["enabled"]) == (True, "2026-11-20T08:30:00+00:00", True)
    [queue] = harbour["waiting"]
    assert (queue["wait_reason"], queue["currency"], queue["conversions"]) == ("fx_desk_window", "USD", 1)
    [waits] = shown["unplanned"]
    assert (waits["wait_reason"], waits["conversions"]) == ("partner", 1)
    # 12:00 in Shanghai is this desk's pause.
    assert (offices["FX-WLWB"]["is_open"], offices["FX-WLWB"]["opens_at"]) == (False, "2026-11-20T05:30:00+00:00")


NOTHING: dict[str, Any] = {"waiting": [], "at_desks": [], "enabled": {}}


def test_a_desk_is_open_by_its_own_days_and_closures() -> None:
    # The make-up Saturday of 10 October 2026: the authority and the willow's desk work, the harbour's does not.
    saturday = datetime(2026, 10, 10, 2, 0, tzinfo=UTC)
    offices = {each["code"]: each for each in _seen(LoadedCalendars(0), saturday)["offices"]}
    assert [offices[code]["is_open"] for code in ("FX-SAFE", "FX-WLWB", "FX-HBRB")] == [True, True, False]
    closure = Closure(bank_code="FX-WLWB", from_at=saturday, until_at=saturday + timedelta(hours=1))
    closed = {each["code"]: each for each in _seen(LoadedCalendars(1, closures=(closure,)), saturday)["offices"]}
    assert (closed["FX-WLWB"]["is_open"], closed["FX-WLWB"]["opens_at"]) == (False, "2026-10-10T03:00:00+00:00")
    centres = {each["currency"]: each["works_today"] for each in _seen(LoadedCalendars(0), saturday)["centres"]}
    assert centres == {"USD": False, "HKD": False, "JPY": False}
    shut = LoadedCalendars(2, days={"FX-SAFE": {date(2026, 10, 10): False}})
    assert not _seen(shut, saturday)["offices"][0]["is_open"]


def _seen(loaded: LoadedCalendars, now: datetime) -> dict[str, Any]:
    return desks_in_view(POLICY.fx, loaded, NOTHING, now)
