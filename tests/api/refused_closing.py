"""How requests come to be refused around closing and disputes."""

from __future__ import annotations

from domain.error_codes import ErrorCode
from tests.api.closing import answered_closure, closure_body, closure_of, dispute_of, records_body
from tests.api.conftest import ELEMENTS, Stage
from tests.api.refusals import Ask, refused_with, signing_merchant

C = ErrorCode
ULID = "01KB5N3E4H6Q8Z2T7V9W0X1Y2R"


@refused_with(C.ACCOUNT_CLOSING)
async def a_card_of_somebody_who_is_leaving(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    user_id = await stage.user(merchant)
    await closure_of(stage, merchant, user_id)
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", ELEMENTS)


@refused_with(C.QUICK_PAY_CLOSING)
async def payment_while_quick_pay_closes(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    user_id, binding_id = await stage.payer(merchant)
    order = await stage.confirmed(merchant, stage.order(user_id, binding_id))
    await closure_of(stage, merchant, user_id, scope="quick_pay")
    return lambda: merchant.post("/v1/payments", order)


@refused_with(C.CLOSURE_EXISTS)
async def a_second_closure(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    user_id, _ = await stage.payer(merchant)
    await closure_of(stage, merchant, user_id, scope="quick_pay")
    return lambda: merchant.post(f"/v1/users/{user_id}/closures", closure_body(stage))


@refused_with(C.CLOSURE_NOT_FOUND)
async def records_of_a_closure_that_never_was(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    return lambda: merchant.post(f"/v1/closures/cls_{ULID}/records", records_body())


@refused_with(C.CLOSURE_NOT_ANSWERED)
async def certificate_too_early(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    closure = await closure_of(stage, merchant, await stage.user(merchant))
    return lambda: merchant.get(f"/v1/closures/{closure['id']}/certificate")


@refused_with(C.QUICK_PAY_NOT_OPEN)
async def quick_pay_of_somebody_without_a_card(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    user_id = await stage.user(merchant)
    return lambda: merchant.post(f"/v1/users/{user_id}/closures", closure_body(stage, scope="quick_pay"))


@refused_with(C.IDENTITY_CHECK_INVALID)
async def identity_checked_the_day_before(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    user_id, body = await stage.user(merchant), closure_body(stage)
    stage.clock.advance(hours=24, seconds=1)
    return lambda: merchant.post(f"/v1/users/{user_id}/closures", body)


@refused_with(C.RECORDS_NOT_AWAITED)
async def records_for_quick_pay(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    user_id, _ = await stage.payer(merchant)
    closure = await closure_of(stage, merchant, user_id, scope="quick_pay")
    return lambda: merchant.post(f"/v1/closures/{closure['id']}/records", records_body())


@refused_with(C.ERASURE_NOT_ASKED)
async def reply_to_what_nobody_has_asked(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    closure = await closure_of(stage, merchant, await stage.user(merchant))
    return lambda: merchant.post(f"/v1/closures/{closure['id']}/erasure_reply", {"outcome": "erased"})


@refused_with(C.ERASURE_REPLIED)
async def another_reply(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    path = f"/v1/closures/{await answered_closure(stage, merchant, await stage.user(merchant))}/erasure_reply"
    assert (await merchant.post(path, {"outcome": "erased"})).status_code == 200
    return lambda: merchant.post(path, {"outcome": "kept", "reason": "law"})


@refused_with(C.DISPUTE_EXISTS)
async def the_same_dispute_again(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    await dispute_of(merchant, user_id)
    return lambda: merchant.post(f"/v1/users/{user_id}/disputes", {"reason": "other"})


@refused_with(C.DISPUTE_NOT_FOUND)
async def dispute_that_never_was(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.get(f"/v1/disputes/dsp_{ULID}")


@refused_with(C.DISPUTE_SUBJECT_NOT_FOUND)
async def dispute_about_somebody_elses_payment(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    user_id = await stage.user(merchant)
    body = {"reason": "other", "subject_id": payment["id"]}
    return lambda: merchant.post(f"/v1/users/{user_id}/disputes", body)


@refused_with(C.RETENTION_END_INVALID)
async def longer_retention_that_is_over(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    return lambda: stage.consent(merchant, user_id, "longer_retention", until_on="2026-11-20")
