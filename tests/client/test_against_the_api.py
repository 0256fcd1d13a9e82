"""The async client against the real API: a whole journey, refusals, repeated calls, pages."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client import (
    AsyncLiushui,
    AuthenticationError,
    Binding,
    ConflictError,
    NotFoundError,
    Payment,
    Payout,
    RefusedError,
    RequestInvalidError,
    Retries,
    SigningKey,
    StillWaitingError,
    is_done_or_needs_code,
)
from client.core import World
from client.states import NameMatch, PaymentState, PayoutState, Speed, Verification, WaitReason
from storage import signing_keys
from storage.administration import Act
from tests.api.conftest import ELEMENTS, FakeBank, Merchant, Stage
from tests.api.payouts import ACCOUNT, CNAPS, funded


async def _binding(stage: Stage, liushui: AsyncLiushui) -> tuple[str, str]:
    """A user with an open card, by the client's own methods."""
    user = await liushui.users.create("customer-1")
    agreement = await liushui.users.agreement()
    await liushui.users.consent(
        user.id,
        "agreement",
        agreement.version,
        acted_at=stage.clock.now(),
        content_hash=agreement.content_hash,
        evidence_ref="click:1",
    )
    binding = await liushui.bindings.create(user.id, **ELEMENTS)
    await stage.code_sent("binding", binding.id)
    binding = await liushui.bindings.confirm(user.id, binding.id, FakeBank.right_code)
    assert binding.state == "open"
    return user.id, binding.id


async def _payment(stage: Stage, liushui: AsyncLiushui, whose: tuple[str, str], **order: Any) -> Payment:
    user_id, binding_id = whose
    wanted: dict[str, Any] = {"order_number": "order-1", "amount_minor": 12_800} | order
    preview = await liushui.payments.preview(user_id=user_id, binding_id=binding_id, **wanted)
    expires_at = stage.clock.now() + timedelta(minutes=30)
    return await liushui.payments.pay(preview, order_expires_at=expires_at)


async def test_a_card_is_bound_and_a_payment_collected(stage: Stage, liushui: AsyncLiushui) -> None:
    whose = await _binding(stage, liushui)
    payment = await _payment(stage, liushui, whose)
    assert payment.verification is Verification.CODE
    assert payment.amount_minor == 12_800
    assert payment.waiting_for is not None
    await stage.code_sent("payment", payment.id)
    payment = await liushui.payments.wait(payment.id, until=is_done_or_needs_code)
    assert payment.needs_code
    assert payment.waiting_for is not None
    assert payment.waiting_for.reason is WaitReason.PAYER_CODE
    payment = await liushui.payments.confirm(payment.id, FakeBank.right_code)
    assert payment.state is PaymentState.READY
    [binding] = [found async for found in liushui.bindings.list(whose[0])]
    assert binding.card_last4 == ELEMENTS["card_number"][-4:]


async def test_a_wrong_code_says_how_many_are_left(stage: Stage, liushui: AsyncLiushui) -> None:
    payment = await _payment(stage, liushui, await _binding(stage, liushui))
    await stage.code_sent("payment", payment.id)
    with pytest.raises(RefusedError) as caught:
        await liushui.payments.confirm(payment.id, "000000")
    error = caught.value
    assert (error.code, error.status, error.attempts_left) == ("CODE_WRONG", 422, 4)
    assert error.title_zh == "验证码错误"
    assert error.request_id is not None
    assert error.request_id.startswith("req_")
    assert error.subject_id == payment.id
    assert "000000" not in f"{error!r} {error} {vars(error)}"


async def test_a_refusal_names_the_field_and_what_to_do(liushui: AsyncLiushui) -> None:
    with pytest.raises(RequestInvalidError) as caught:
        await liushui.users.create("customer-1", type="company")
    [fault] = caught.value.errors
    assert (fault.field, fault.code) == ("type", "not_one_of_the_values")
    assert caught.value.action


async def test_the_same_key_is_the_same_instruction_and_another_key_is_not(stage: Stage, liushui: AsyncLiushui) -> None:
    first = await liushui.users.create("customer-1", idempotency_key="key-00000001")
    again = await liushui.users.create("customer-1", idempotency_key="key-00000001")
    assert first == again
    with pytest.raises(ConflictError) as caught:
        await liushui.users.create("customer-1")
    assert caught.value.code == "MERCHANT_USER_EXISTS"
    assert caught.value.subject_id == first.id


class _LosesAnswers(httpx.AsyncBaseTransport):
    """Hands every request on, and loses the answers to the first few."""

    def __init__(self, inner: httpx.AsyncBaseTransport, losses: int) -> None:
        self.inner, self.losses = inner, losses

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        if self.losses == 0:
            return response
        self.losses -= 1
        await response.aread()
        raise httpx.ReadError("")


async def test_a_payment_whose_answer_is_lost_twice_is_one_payment(stage: Stage, merchant: Merchant) -> None:
    whose = await stage.payer(merchant)
    transport = _LosesAnswers(stage.http._transport, 0)
    async with httpx.AsyncClient(transport=transport) as http:
        retries = Retries(first_pause_seconds=0.01)
        liushui = AsyncLiushui("http://liushui.test", merchant.key, http=http, retries=retries)
        preview = await liushui.payments.preview(
            user_id=whose[0], binding_id=whose[1], order_number="order-1", amount_minor=500
        )
        transport.losses = 2
        payment = await liushui.payments.pay(preview, order_expires_at=stage.clock.now() + timedelta(minutes=30))
        assert transport.losses == 0
        assert [found.id async for found in liushui.payments.list()] == [payment.id]


async def test_all_pages_are_gone_through(stage: Stage, merchant: Merchant, liushui: AsyncLiushui) -> None:
    whose = await stage.payer(merchant)
    made = [(await stage.payment(merchant, *whose, amount_minor=100 + number))["id"] for number in range(5)]

    asked: list[str] = []

    async def two_a_page(request: httpx.Request) -> None:
        asked.append(str(request.url))

    small = liushui.core.request
    liushui.core.request = lambda ask, key: small(_two_a_page(ask), key)  # type: ignore[method-assign]
    stage.http.event_hooks["request"].append(two_a_page)
    found = [payment.id async for payment in liushui.payments.list()]
    assert found == made[::-1]
    assert len(asked) == 3
    only = [payment.order_number async for payment in liushui.payments.list(order_number="no such order")]
    assert only == []


def _two_a_page(ask: Any) -> Any:
    from dataclasses import replace

    return replace(ask, query={**ask.query, "limit": 2})


async def test_limits_balances_waiver_and_statements_are_read(
    stage: Stage, merchant: Merchant, liushui: AsyncLiushui
) -> None:
    user_id, _ = await stage.payer(merchant)
    limits = await liushui.users.limits(user_id)
    assert {limit.window for limit in limits.limits} == {"transaction", "day", "month"}
    assert all(limit.remaining_minor == limit.limit_minor for limit in limits.limits)
    assert (await liushui.users.balance(user_id)).available_minor == 0
    assert not (await liushui.waiver.get()).enabled
    application = await liushui.waiver.apply(10_000)
    waiting = (await liushui.waiver.get()).application
    assert waiting is not None
    assert waiting.id == application.id
    balances = (await liushui.balances.get()).balances
    assert {(one.account, one.available_minor) for one in balances} == {("pending", 0), ("available", 0)}
    assert [movement async for movement in liushui.users.statement(user_id)] == []


async def test_a_foreign_payment_does_not_exist_and_a_foreign_key_is_refused(
    stage: Stage, merchant: Merchant, liushui: AsyncLiushui
) -> None:
    other = await stage.merchant("别家")
    payment = await stage.payment(other, *await stage.payer(other))
    with pytest.raises(NotFoundError):
        await liushui.payments.get(payment["id"])
    stranger = AsyncLiushui("http://liushui.test", "lsk_nonsense", http=stage.http)
    with pytest.raises(AuthenticationError):
        await stranger.payments.get(payment["id"])


async def test_waiting_ends_in_time_and_tells_what_it_saw(
    stage: Stage, merchant: Merchant, liushui: AsyncLiushui
) -> None:
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    with pytest.raises(StillWaitingError, match=r"awaiting_code after 0\.3 s, waiting for payer_code") as caught:
        await liushui.payments.wait(payment["id"], within_seconds=0.3)
    assert caught.value.resource.id == payment["id"]


async def test_what_has_no_method_yet_can_still_be_asked(liushui: AsyncLiushui) -> None:
    user = await liushui.request(
        "POST", "/v1/users", {"merchant_user_ref": "c-1", "type": "individual", "region": "CN"}
    )
    assert (await liushui.request("GET", f"/v1/users/{user['id']}"))["merchant_user_ref"] == "c-1"


async def test_events_are_read_oldest_first_and_from_where_one_left_off(
    stage: Stage, merchant: Merchant, liushui: AsyncLiushui
) -> None:
    user_id, binding_id = await stage.payer(merchant)
    first = await liushui.events.page(object_id=binding_id, limit=2)
    assert [event.sequence for event in first.items] == [1, 2]
    rest = await liushui.events.page(object_id=binding_id, cursor=first.resume_cursor)
    assert [event.type for event in rest.items] == ["binding.opened"]
    opened = rest.items[0].resource
    assert isinstance(opened, Binding)
    assert (opened.user_id, opened.state) == (user_id, "open")
    assert [event.sequence async for event in liushui.events.list(object_id=binding_id)] == [1, 2, 3]


async def test_a_webhook_endpoint_is_added_rotated_tested_and_removed(liushui: AsyncLiushui) -> None:
    endpoints = liushui.webhook_endpoints
    made = await endpoints.create(
        "https://shop.example/events", event_types=["payment.*"], idempotency_key="key-00000001"
    )
    assert made.secret is not None
    assert made.secret.startswith("whsec_")
    again = await endpoints.create(
        "https://shop.example/events", event_types=["payment.*"], idempotency_key="key-00000001"
    )
    assert (again.id, again.secret) == (made.id, None)
    rotated = await endpoints.rotate_secret(made.id, overlap_seconds=0)
    assert rotated.secret not in (None, made.secret)
    tested = await endpoints.test(made.id)
    assert [found.id async for found in endpoints.deliveries(made.id)] == [tested.id]
    assert (await endpoints.delivery(made.id, tested.id)).log == ()
    assert (await endpoints.disable(made.id)).state == "disabled"
    assert (await endpoints.enable(made.id)).state == "enabled"
    with pytest.raises(NotFoundError, match="EVENT_NOT_FOUND"):
        await endpoints.replay(made.id, event_id="evt_01KB5N3E4H6Q8Z2T7V9W0X1Y2R")
    assert [found.id async for found in endpoints.list()] == [made.id]
    assert (await endpoints.delete(made.id)).state == "deleted"
    assert [found async for found in endpoints.list()] == []


async def test_a_report_stops_the_users_payments(stage: Stage, merchant: Merchant, liushui: AsyncLiushui) -> None:
    whose = await stage.payer(merchant)
    payment = await _payment(stage, liushui, whose)
    report = await liushui.reports.create(whose[0], payment_id=payment.id)
    assert report.payment_id == payment.id
    assert payment.report_path == f"/v1/users/{whose[0]}/reports"
    with pytest.raises(RefusedError, match="FUNCTION_SUSPENDED"):
        await _payment(stage, liushui, whose, order_number="order-2")


async def test_a_merchant_with_a_signing_key_signs_and_replaces_it(stage: Stage, merchant: Merchant) -> None:
    first, second = (Ed25519PrivateKey.generate() for _ in range(2))
    ulid, act = stage.ids.ulid(), Act("test", stage.clock.now())
    key = SigningKey(f"sgk_{ulid}", first)
    await signing_keys.register(stage.database.owner_engine, act, ulid, merchant.id, key.public_key_pem)
    unsigned = AsyncLiushui("http://liushui.test", merchant.key, http=stage.http)
    with pytest.raises(AuthenticationError, match="SIGNATURE_REQUIRED"):
        await unsigned.users.create("customer-1")
    signed = _at_the_stages_time(stage, AsyncLiushui("http://liushui.test", merchant.key, key, http=stage.http))
    user = await signed.users.create("customer-1")
    public = SigningKey("sgk_new", second).public_key_pem
    registered = await signed.signing_keys.create(public, label="next")
    successor = SigningKey(registered.id, second)
    renewed = _at_the_stages_time(stage, AsyncLiushui("http://liushui.test", merchant.key, successor, http=stage.http))
    assert (await renewed.signing_keys.revoke(key.key_id)).revoked_at is not None
    assert (await renewed.users.get(user.id)) == user
    with pytest.raises(AuthenticationError, match="SIGNING_KEY_UNKNOWN"):
        await signed.users.create("customer-2")
    assert [found.id async for found in renewed.signing_keys.list()] == [registered.id, key.key_id]


async def test_a_balance_is_paid_out_to_an_account_as_the_user_confirmed_it(stage: Stage, merchant: Merchant) -> None:
    user_id = await funded(stage, merchant)
    signing_key = await stage.sign(merchant)
    liushui = _at_the_stages_time(
        stage, AsyncLiushui("http://liushui.test", merchant.key, signing_key, http=stage.http)
    )
    payee = await liushui.payees.create(user_id, name="张三", account_number=ACCOUNT, bank_id=CNAPS)
    assert (payee.name, payee.account, payee.name_match) == ("张*", "****7890", NameMatch.MATCH)
    assert [found.id async for found in liushui.payees.list(user_id)] == [payee.id]
    assert Speed.REAL_TIME in payee.speeds

    order: dict[str, Any] = {"user_id": user_id, "payee_id": payee.id, "amount_minor": 50_000}
    preview = await liushui.payouts.preview(**order, order_number="out-1")
    assert (preview.total_minor, preview.confirmation.needed) == (50_100, False)
    first = await liushui.payouts.pay(preview)
    assert (first.state, first.sent_back) == (PayoutState.CHECKING, None)
    second = await liushui.payouts.pay(await liushui.payouts.preview(**order, order_number="out-2"))
    assert second.needs_confirmation
    assert second.confirmation is not None
    assert second.confirmation.grounds == ("repeated_payee",)
    second = await liushui.payouts.confirm(second.id, second.confirmation_hash)
    assert second.state is PayoutState.CHECKING
    assert [found.id async for found in liushui.payouts.list(user_id=user_id)] == [second.id, first.id]
    left = await liushui.payouts.limits(user_id, payee_id=payee.id)
    assert {item.subject for item in left.limits} == {"user", "payee"}
    with pytest.raises(ConflictError, match="EVIDENCE_NOT_ASKED"):
        await liushui.payouts.give_evidence(first.id, {"invoice": "file:7"})
    [event, *_] = [found async for found in liushui.events.list(object_id=first.id)]
    assert isinstance(event.resource, Payout)

    export = await liushui.payees.data_export()
    await liushui.users.consent(
        user_id, "data_export", export.version, content_hash=export.content_hash, acted_at=stage.clock.now()
    )
    assert (await liushui.payees.remove(payee.id)).state == "removed"
    with pytest.raises(NotFoundError, match="PAYEE_NOT_FOUND"):
        await liushui.payouts.preview(**order, order_number="out-3")


def _at_the_stages_time(stage: Stage, liushui: AsyncLiushui) -> AsyncLiushui:
    core = liushui.core
    core.settings = dataclasses.replace(core.settings, world=World(now=stage.clock.now))
    return liushui
