"""Callbacks of banks, the service's own pages, and what is answered when a part of it is down."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from domain.identifiers import BankStep, request_number
from domain.instructions import ClaimEffect
from storage.batcher import StorageUnavailableError
from tests.api.conftest import FakeBank, Stage
from tests.api.fx import asked_for, claimed, converted, funded_usd, fx_of, refused_of_remittance, sent_to_a_desk
from tests.api.payouts import funded, payee_of, payout_of
from tests.api.refusals import change

SIGNED = {"X-Test-Signature": "right"}


async def callback(
    stage: Stage, notice_id: str, number: str, bank: str = "HBRB", announces: str = ""
) -> httpx.Response:
    content = f"{notice_id} {number} {announces}".encode()
    return await stage.http.post(f"/bank-callbacks/{bank}", content=content, headers=SIGNED)


async def sent_payment(stage: Stage) -> dict[str, Any]:
    merchant = await stage.merchant()
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    await merchant.post(f"/v1/payments/{payment['id']}/code", {"code": FakeBank.right_code})
    await stage.debit_sent(payment["id"])
    stage.processes.told.clear()
    stage.processes.started.clear()
    return payment | {"merchant": merchant}


async def test_a_callback_wakes_the_process_and_changes_nothing_itself(stage: Stage) -> None:
    payment = await sent_payment(stage)
    number = request_number(BankStep.DEBIT, payment["id"])
    assert (await callback(stage, "n1", number)).status_code == 200
    await stage.services.work.wait_until_done()
    assert stage.processes.told == [("collect-payment", payment["id"], "notice")]
    assert (await payment["merchant"].get(f"/v1/payments/{payment['id']}")).json()["state"] == "sending"


async def test_a_callback_wakes_nobody_when_the_answer_it_tells_of_was_under_way(stage: Stage) -> None:
    payment = await sent_payment(stage)
    number = request_number(BankStep.DEBIT, payment["id"])
    assert (await callback(stage, "n1", number)).status_code == 200
    await stage.settle_payment(payment["merchant"], payment, "succeeded")
    assert (await callback(stage, "n2", number)).status_code == 200
    await stage.services.work.wait_until_done()
    assert stage.processes.told == []


async def test_a_repeated_callback_is_taken_and_recorded_as_a_duplicate(stage: Stage) -> None:
    payment = await sent_payment(stage)
    number = request_number(BankStep.DEBIT, payment["id"])
    assert [(await callback(stage, "n1", number)).status_code for _ in range(3)] == [200, 200, 200]
    records = await stage.records(action="bank_callback")
    assert [record["reason"] for record in records] == [None, "duplicate", "duplicate"]


async def test_a_callback_of_another_bank_does_not_speak_for_this_one(stage: Stage) -> None:
    payment = await sent_payment(stage)
    await callback(stage, "n1", request_number(BankStep.DEBIT, payment["id"]), bank="WLWB")
    await stage.services.work.wait_until_done()
    assert stage.processes.told == []
    [record] = await stage.records(action="bank_callback")
    assert record["reason"] == "request_number_unknown"


@pytest.mark.parametrize("bank", ["HBRB", "NOBANK", "%00", "hbrb"])
async def test_a_callback_that_is_not_authentic_is_rejected_and_recorded(stage: Stage, bank: str) -> None:
    signature = {"X-Test-Signature": "wrong"} if bank == "HBRB" else SIGNED
    answer = await stage.http.post(f"/bank-callbacks/{bank}", content=b"n1 x", headers=signature)
    assert (answer.status_code, answer.json()["code"]) == (401, "CALLBACK_REJECTED")
    [record] = await stage.records(outcome="denied")
    assert record["reason"] == ("signature_invalid" if bank == "HBRB" else "bank_unknown")


async def test_a_callback_about_a_failed_payment_starts_its_correction(stage: Stage) -> None:
    payment = await sent_payment(stage)
    await stage.settle_payment(payment["merchant"], payment, "failed")
    number = request_number(BankStep.DEBIT, payment["id"])
    assert (await callback(stage, "n1", number)).status_code == 200
    [(name, order)] = stage.processes.started
    assert (name, order.payment_id) == ("correct_payment", payment["id"])


async def test_a_bank_is_asked_to_call_again_while_a_correction_cannot_be_started(stage: Stage) -> None:
    payment = await sent_payment(stage)
    await stage.settle_payment(payment["merchant"], payment, "failed")
    number = request_number(BankStep.DEBIT, payment["id"])
    stage.processes.answers = False
    assert (await callback(stage, "n1", number)).status_code == 503
    stage.processes.answers = True
    assert (await callback(stage, "n1", number)).status_code == 200
    assert [name for name, _ in stage.processes.started] == ["correct_payment", "correct_payment"]


async def test_a_callback_about_a_refund_wakes_its_process(stage: Stage) -> None:
    merchant = await stage.merchant()
    payment = await stage.paid(merchant, *await stage.payer(merchant))
    body = {"amount_minor": 100, "reason_code": "other"}
    refund = (await merchant.post(f"/v1/payments/{payment['id']}/refunds", body)).json()
    from domain.instructions import ClaimEffect

    number = request_number(BankStep.REFUND, refund["id"])
    await stage.instructions.claim_effect(
        ClaimEffect(now=stage.clock.now(), kind="refund", id=refund["id"], step="RF", request_number=number)
    )
    stage.processes.told.clear()
    await callback(stage, "n1", number)
    await stage.services.work.wait_until_done()
    assert stage.processes.told == [("refund-payment", refund["id"], "notice")]


async def test_the_documents_are_one_page_that_loads_nothing_from_elsewhere(stage: Stage) -> None:
    page = await stage.http.get("/docs")
    assert page.status_code == 200
    assert re.findall(r"""(?:src|href)=["'](?!#|/openapi\.json)[^"']*""", page.text) == []
    for path in stage.openapi()["paths"]:
        assert path in page.text


async def test_every_route_with_a_body_shows_an_example_that_is_taken(stage: Stage) -> None:
    from api import schemas

    bodies = {
        operation["requestBody"]["content"]["application/json"]["schema"]["title"]: operation["requestBody"]["content"][
            "application/json"
        ]["example"]
        for methods in stage.openapi()["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    }
    ours = (model for model in _below(schemas.Body) if model.__module__.startswith("api.") and model.model_fields)
    models = {model.__name__: model for model in ours}
    assert set(bodies) == set(models)
    for title, example in bodies.items():
        assert schemas.read_as(models[title], example)


def _below(model: type[Any]) -> list[type[Any]]:
    return [found for child in model.__subclasses__() for found in (child, *_below(child))]


async def test_the_answers_have_the_documented_fields(stage: Stage) -> None:
    from api import resources

    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    payment = await stage.paid(merchant, user_id, binding_id)
    body = {"amount_minor": 100, "reason_code": "other"}
    refund = await merchant.post(f"/v1/payments/{payment['id']}/refunds", body)
    order = stage.order(user_id, binding_id)
    answers: list[tuple[type[resources.Resource], httpx.Response]] = [
        (resources.User, await merchant.get(f"/v1/users/{user_id}")),
        (resources.Limits, await merchant.get(f"/v1/users/{user_id}/limits")),
        (resources.Consent, await stage.consent(merchant, user_id)),
        (resources.Binding, await merchant.get(f"/v1/users/{user_id}/bindings/{binding_id}")),
        (resources.PageOfBindings, await merchant.get(f"/v1/users/{user_id}/bindings")),
        (resources.Payment, await merchant.get(f"/v1/payments/{payment['id']}")),
        (resources.PaymentPreview, await merchant.post("/v1/payments/preview", order, key=None)),
        (resources.Refund, refund),
        (resources.PageOfRefunds, await merchant.get(f"/v1/payments/{payment['id']}/refunds")),
        (resources.Balances, await merchant.get("/v1/balances")),
        (resources.AccountBalance, await merchant.get(f"/v1/users/{user_id}/balance")),
        (resources.PageOfMovements, await merchant.get("/v1/statement", account="pending")),
        (resources.AgreementInForce, await merchant.get("/v1/agreement")),
        (resources.Waiver, await merchant.get("/v1/waiver")),
    ]
    for model, answer in answers:
        assert model.model_validate(answer.json(), strict=True)
        assert set(answer.json()) == set(model.model_fields), model.__name__


async def test_a_failure_shows_no_trace_and_names_its_type_in_the_log_only(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret detail")

    merchant = await stage.merchant()
    monkeypatch.setattr(stage.services.reading, "merchant_balances", broken)
    answer = await merchant.get("/v1/balances")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "secret" not in answer.text + caplog.text
    [record] = [r for r in caplog.records if r.message == "request failed"]
    assert record.reason == "ZeroDivisionError"  # type: ignore[attr-defined]


async def test_without_the_database_the_answer_is_to_try_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*_: Any, **__: Any) -> Any:
        raise StorageUnavailableError("gone")

    merchant = await stage.merchant()
    for name in ("begin", "record_operation", "record_answer"):
        monkeypatch.setattr(stage.services.requests, name, unreachable)
    body = {"merchant_user_ref": "x", "type": "individual", "region": "CN"}
    answers = [await merchant.get("/v1/balances"), await merchant.post("/v1/users", body)]
    answers.append(await stage.http.get("/v1/balances"))
    assert [answer.status_code for answer in answers] == [503, 503, 401]
    assert answers[0].headers["retry-after"] == "2"


async def test_health_and_readiness_say_what_is_well(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await stage.http.get("/health")).json() == {"status": "ok"}
    assert (await stage.http.get("/ready")).json() == {"status": "ok", "parts": {"database": "ok"}}

    async def broken() -> bool:
        raise ConnectionError

    stage.services.ready["database"] = broken  # type: ignore[index]
    failing = await stage.http.get("/ready")
    assert (failing.status_code, failing.json()["parts"]) == (503, {"database": "failing"})


def test_the_table_of_codes_for_merchants_is_that_of_the_program() -> None:
    from api.error_table import DOCUMENT, with_table

    document = DOCUMENT.read_text(encoding="utf-8")
    assert with_table(document) == document
    assert "`CODE_WRONG` | 422" in document


async def test_a_callback_about_a_payout_wakes_it_while_it_is_out_and_has_it_taken_back_once_it_was_paid(
    stage: Stage,
) -> None:
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant)
    payout_id = (await payout_of(merchant, user_id, (await payee_of(merchant, user_id))["id"]))["id"]
    number, now = request_number(BankStep.PAYOUT, payout_id), stage.clock.now()
    await change(stage, "UPDATE app.payout SET state = 'scheduled', slot_at = accepted_at")
    claim = ClaimEffect(now=now, kind="payout", id=payout_id, step=BankStep.PAYOUT.value, request_number=number)
    await stage.instructions.claim_effect(claim)
    stage.processes.told.clear()
    assert (await callback(stage, "n1", number)).status_code == 200
    await stage.services.work.wait_until_done()
    assert stage.processes.told == [("send-payout", payout_id, "notice")]
    assert "return_payout" not in [name for name, _ in stage.processes.started]
    # A return is looked after by itself: the process may have the answer "paid" already, and would ask no more.
    assert (await callback(stage, "n1b", number, announces="returned")).status_code == 200
    name, order = stage.processes.started[-1]
    assert (name, order.payout_id) == ("return_payout", payout_id)
    stage.processes.started.clear()

    await change(stage, "UPDATE app.payout SET state = 'succeeded'")
    assert (await callback(stage, "n2", number)).status_code == 200
    name, order = stage.processes.started[-1]
    assert (name, order.payout_id) == ("return_payout", payout_id)
    # What could not be started is not forgotten: the bank is told to call again.
    stage.processes.answers = False
    assert (await callback(stage, "n3", number)).status_code == 503
    assert (await merchant.get(f"/v1/payouts/{payout_id}")).json()["state"] == "succeeded"


async def test_an_announced_remittance_is_kept_and_the_bank_asked_and_the_announcement_alone_is_nothing(
    stage: Stage,
) -> None:
    for notice_id in ("n1", "n1", "n2"):
        answer = await callback(stage, notice_id, "REMIT20261120", bank="OSPB", announces="inbound")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    await stage.services.work.wait_until_done()
    # As often as it is announced, until the bank was asked: the process starts once under its id.
    assert stage.processes.started == [("receive_inbound", ("OSPB", "REMIT20261120"))] * 3
    records = await stage.records(action="bank_callback")
    assert [record["reason"] for record in records] == [None, "duplicate", None]
    assert await stage.rows("SELECT id FROM app.inbound") == []
    assert await stage.rows("SELECT key FROM ledger.transfer") == []


async def test_an_announcement_that_cannot_be_followed_now_is_kept_for_the_sweeper(stage: Stage) -> None:
    stage.processes.answers = False
    assert (await callback(stage, "n1", "REMIT20261120", bank="OSPB", announces="inbound")).status_code == 200
    [kept] = await stage.rows("SELECT bank_code, reference, outcome FROM app.inbound_notice")
    assert kept == {"bank_code": "OSPB", "reference": "REMIT20261120", "outcome": None}


async def test_a_remittance_that_is_booked_is_not_asked_about_again(stage: Stage) -> None:
    merchant = await stage.merchant()
    _, _, inbound_id = await funded_usd(stage, merchant)
    [found] = await stage.rows("SELECT reference FROM app.inbound WHERE id = :id", id=inbound_id)
    await change(
        stage,
        "INSERT INTO app.inbound_notice (bank_code, reference, received_at, looked_at, outcome)"
        " SELECT b.bank_code, b.reference, now(), now(), 'received' FROM app.inbound b",
    )
    stage.processes.started.clear()
    assert (await callback(stage, "n9", found["reference"], bank="OSPB", announces="inbound")).status_code == 200
    await stage.services.work.wait_until_done()
    assert stage.processes.started == []


async def test_a_forged_announcement_of_a_remittance_leaves_nothing_but_its_record(stage: Stage) -> None:
    forged = {"X-Test-Signature": "wrong"}
    answer = await stage.http.post("/bank-callbacks/OSPB", content=b"n1 REMIT20261120 inbound", headers=forged)
    assert (answer.status_code, answer.json()["code"]) == (401, "CALLBACK_REJECTED")
    assert await stage.rows("SELECT reference FROM app.inbound_notice") == []
    assert stage.processes.started == []
    [record] = await stage.records(outcome="denied")
    assert record["reason"] == "signature_invalid"


async def test_a_callback_about_a_deal_wakes_its_process_while_it_is_not_over(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    fx = await fx_of(merchant, user_id)
    number = await converted(stage, fx["id"], delivered=False)
    stage.processes.told.clear()
    assert (await callback(stage, "n1", number)).status_code == 200
    await stage.services.work.wait_until_done()
    assert stage.processes.told == [("settle-fx", fx["id"], "notice")]


@pytest.mark.parametrize("delivered", [False, True])
async def test_an_excess_that_a_desk_has_found_is_learned_and_not_forgotten(stage: Stage, delivered: bool) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    fx = await fx_of(merchant, user_id)
    number = await converted(stage, fx["id"], delivered=delivered)
    stage.processes.started.clear()
    stage.processes.answers = False
    assert (await callback(stage, "n1", number, announces="excess")).status_code == 503
    stage.processes.answers = True
    assert (await callback(stage, "n1", number, announces="excess")).status_code == 200
    assert stage.processes.started == [("learn_excess", (fx["id"],))] * 2
    # What is over, and has nothing new to it, wakes nobody.
    stage.processes.started.clear()
    stage.processes.told.clear()
    assert (await callback(stage, "n2", number)).status_code == 200
    await stage.services.work.wait_until_done()
    assert stage.processes.started == []
    assert stage.processes.told == ([] if delivered else [("settle-fx", fx["id"], "notice")])


async def test_an_excess_that_is_told_before_the_deal_is_booked_is_learned_all_the_same(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    fx = await fx_of(merchant, user_id)
    number = await sent_to_a_desk(stage, fx["id"])
    stage.processes.started.clear()
    assert (await callback(stage, "n1", number, announces="excess")).status_code == 200
    await stage.services.work.wait_until_done()
    assert stage.processes.started == [("learn_excess", (fx["id"],))]
    assert ("settle-fx", fx["id"], "notice") in stage.processes.told


async def test_callbacks_about_a_return_and_a_receiving_account_wake_their_processes(stage: Stage) -> None:
    merchant = await stage.merchant()
    fx_id = await refused_of_remittance(stage, merchant)
    assert (await merchant.post(f"/v1/fx/{fx_id}/disposal", {"action": "return"})).status_code == 200
    [returned] = await stage.rows("SELECT id FROM app.inbound_return")
    numbers = [await claimed(stage, "inbound_return", returned["id"], BankStep.INBOUND_RETURN)]
    user_id = (await merchant.get(f"/v1/fx/{fx_id}")).json()["user_id"]
    account = await asked_for(stage, merchant, user_id, currency="HKD")
    numbers.append(await claimed(stage, "receiving_account", account["id"], BankStep.RECEIVING_ACCOUNT))
    stage.processes.told.clear()
    for notice, number in enumerate(numbers):
        assert (await callback(stage, f"n{notice}", number, bank="OSPB")).status_code == 200
    await stage.services.work.wait_until_done()
    assert stage.processes.told == [
        ("return-inbound", returned["id"], "notice"),
        ("open-receiving-account", account["id"], "notice"),
    ]
