"""Foreign currency with the client: a number, a remittance, a mandate, a conversion, and one that was refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from client import ConflictError, Conversion, FxMandate, Inbound, Liushui, ReceivingAccount
from client.fx_models import FxRate
from client.states import FxState, ReceivingAccountState, WaitReason
from tests.api.conftest import Merchant, Stage
from tests.api.fx import HOLDER, allow_export, arrived, converted, receiving, refused_fx
from tests.api.payouts import agree_to_export
from tests.api.test_fx import quote_of
from tests.client.conftest import signing_client


async def test_a_number_is_opened_and_what_arrives_is_read(stage: Stage, merchant: Merchant) -> None:
    liushui = await signing_client(stage, merchant)
    user_id, _ = await stage.payer(merchant)
    await allow_export(stage)
    await agree_to_export(stage, merchant, user_id)
    asked = await liushui.receiving_accounts.create(user_id, holder_name=HOLDER, currency="HKD")
    assert (asked.state, asked.account_number) == (ReceivingAccountState.OPENING, None)
    opened = await receiving(stage, merchant, user_id)
    account = await liushui.receiving_accounts.wait(opened["id"])
    assert (account.state, account.account_number) == (ReceivingAccountState.OPEN, opened["number"])
    assert [each.id async for each in liushui.receiving_accounts.list(user_id)] == [account.id, asked.id]
    received = await arrived(stage, user_id, opened["number"])
    [inbound] = [each async for each in liushui.inbounds.list(user_id=user_id)]
    assert inbound == await liushui.inbounds.get(str(received.inbound_id))
    assert (inbound.remitter, inbound.value_date.isoformat()) == ("A***", "2026-11-20")
    assert (await liushui.users.balance(user_id, currency="USD")).available_minor == 1_000_000
    balances = (await liushui.users.balances(user_id)).balances
    assert {each.currency: each.posted_minor for each in balances} == {"CNY": 0, "USD": 1_000_000}
    assert [item.change_minor async for item in liushui.users.statement(user_id, currency="USD")] == [1_000_000]


async def test_a_conversion_is_shown_confirmed_and_followed(stage: Stage, merchant: Merchant) -> None:
    liushui = await signing_client(stage, merchant)
    user_id, _ = await stage.payer(merchant)
    await arrived(stage, user_id, (await receiving(stage, merchant, user_id))["number"])
    stage.banks["HBRB"].quote = quote_of(stage)
    order: dict[str, Any] = {"user_id": user_id, "order_number": "fx-1", "amount_minor": 100_000, "currency": "USD"}
    order |= {"purpose_code": "121010", "is_trade": True, "evidence": {"contract": "file:8"}, "over_quota": "hold"}
    preview = await liushui.fx.preview(**order)
    assert preview.rate is not None
    assert (preview.rate.rate, preview.cny_minor, preview.fee_minor) == (Decimal("7.1234"), 712_340, 0)
    fx = await liushui.fx.convert(preview)
    assert (fx.state, fx.evidence[0].reference) == (FxState.WAITING, "file:8")
    assert fx.waiting_for is not None
    assert fx.waiting_for.reason is WaitReason.PROCESS_START
    with pytest.raises(ConflictError, match="FX_ORDER_EXISTS"):
        await liushui.fx.create(**order, confirmation_hash=str(preview.confirmation_hash))
    await converted(stage, fx.id, delivered=True)
    settled = await liushui.fx.wait(fx.id)
    assert settled.rate is not None
    assert (settled.state, settled.rate.rate) == (FxState.SETTLED, Decimal("7.1234"))
    assert [each.id async for each in liushui.fx.list(user_id=user_id, state="settled")] == [fx.id]
    *_, event = [each async for each in liushui.events.list(object_id=fx.id)]
    assert isinstance(event.resource, Conversion)
    # Events carry the rate as the books do; the client reads it as the same number.
    assert isinstance(event.resource.rate, FxRate)
    assert event.resource.rate.rate == Decimal("7.1234")


async def test_a_mandate_begins_conversions_and_a_refused_one_goes_back(stage: Stage, merchant: Merchant) -> None:
    liushui = await signing_client(stage, merchant)
    user_id, _ = await stage.payer(merchant)
    account = await receiving(stage, merchant, user_id)
    mandate = await liushui.fx_mandates.create(
        user_id=user_id, currency="USD", purpose_code="121010", mandate_reference="mandate-1"
    )
    assert mandate == await liushui.fx_mandates.get(mandate.id)
    begun = [(await arrived(stage, user_id, account["number"])).fx_id for _ in range(2)]
    first, second = (str(fx_id) for fx_id in begun)
    for fx_id in (first, second):
        await refused_fx(stage, fx_id)
    refused = await liushui.fx.wait(first)
    assert refused.needs_disposal
    assert (await liushui.fx.send_back(first)).state is FxState.RETURNING
    assert (await liushui.fx.release(second)).state is FxState.RELEASED
    assert (await liushui.fx_mandates.end(mandate.id)).state == "ended"
    assert [each.id async for each in liushui.fx_mandates.list(user_id=user_id, state="ended")] == [mandate.id]
    resources = {type(event.resource) async for event in liushui.events.list()}
    assert {Conversion, FxMandate, Inbound, ReceivingAccount} <= resources


def test_the_sync_client_asks_the_same() -> None:
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path))
        return httpx.Response(200, json={"object": "list", "items": [], "next_cursor": None})

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        liushui = Liushui("https://api.example", "lsk_x", http=http)
        for found in (liushui.fx.list(), liushui.fx_mandates.list(), liushui.inbounds.list()):
            assert list(found) == []
        assert list(liushui.receiving_accounts.list("usr_1")) == []
    assert [path for _, path in seen] == [
        "/v1/fx", "/v1/fx_mandates", "/v1/inbounds", "/v1/users/usr_1/receiving_accounts"
    ]  # fmt: skip
