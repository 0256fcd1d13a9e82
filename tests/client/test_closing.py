"""Closing with the client: asked, blocked, handed over, answered; a dispute; and what a forgotten user's things say."""

from __future__ import annotations

from datetime import date
from typing import Any

import httpx
import pytest

from client import AsyncLiushui, Certificate, Closure, ConflictError, Dispute, FundsRecord, Liushui
from client.models import Binding, User
from client.states import ClosureScope, ClosureState, DisputeReason, ErasureReply, ObstacleKind, WaitReason
from tests.api.closing import answered_closure, booked
from tests.api.conftest import Merchant, Stage
from tests.client.conftest import signing_client

RECORD = FundsRecord("order-1", 12_800, "CNY", date(2026, 11, 19), "青花瓷茶具一套", "王小明")


async def test_an_account_is_closed_step_by_step(stage: Stage, merchant: Merchant) -> None:
    liushui = await signing_client(stage, merchant)
    user_id, binding_id = await stage.payer(merchant)
    await stage.paid(merchant, user_id, binding_id)
    await booked(stage)
    dispute = await liushui.disputes.create(user_id, DisputeReason.NOT_RECEIVED, evidence_ref="chat:1")
    assert dispute == await liushui.disputes.get(dispute.id)
    closure = await liushui.closures.create(
        user_id, identity_method="login", identity_checked_at=stage.clock.now(), identity_evidence_ref="click:1"
    )
    assert (closure.scope, closure.state, closure.due_on) == (
        ClosureScope.ACCOUNT, ClosureState.CLOSING, date(2026, 12, 11)
    )  # fmt: skip
    assert [each.kind for each in closure.obstacles] == [ObstacleKind.DISPUTE, ObstacleKind.RECORDS]
    assert (closure.needs_records, closure.needs_payout) == (True, False)
    assert closure.waiting_for is not None
    assert closure.waiting_for.reason is WaitReason.OBSTACLES
    handed_over = await liushui.closures.hand_over(closure.id, [RECORD])
    assert [each.subject_id for each in handed_over.obstacles] == [dispute.id]
    assert handed_over == await liushui.closures.get(closure.id)
    assert [each.id async for each in liushui.closures.list(user_id=user_id, state="closing")] == [closure.id]
    assert [each.id async for each in liushui.disputes.list(state="open")] == [dispute.id]
    with pytest.raises(ConflictError, match="CLOSURE_NOT_ANSWERED"):
        await liushui.closures.certificate(closure.id)
    assert RECORD.description not in repr(RECORD)


async def test_the_answer_is_read_as_a_value_and_as_a_page(stage: Stage, merchant: Merchant) -> None:
    liushui = await signing_client(stage, merchant)
    user_id, binding_id = await stage.payer(merchant)
    closure_id = await answered_closure(stage, merchant, user_id)
    assert (await liushui.closures.wait(closure_id)).state is ClosureState.COMPLETED
    replied = await liushui.closures.reply(closure_id, ErasureReply.ERASED)
    assert [each.reply for each in replied.notices if each.kind == "merchant"] == [ErasureReply.ERASED]
    certificate = await liushui.closures.certificate(closure_id)
    assert isinstance(certificate, Certificate)
    assert (certificate.outcome, certificate.agreement_ended_on) == ("completed", date(2026, 11, 20))
    page = await liushui.closures.certificate_page(closure_id)
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    user, binding = await liushui.users.get(user_id), await liushui.bindings.get(user_id, binding_id)
    assert (user.merchant_user_ref, binding.card_last4) == (None, None)
    resources = [event.resource async for event in liushui.events.list()]
    assert {Closure, User, Binding} >= {type(each) for each in resources if each is not None} - {Dispute}
    assert None not in resources


async def test_a_longer_retention_has_a_last_day(stage: Stage, merchant: Merchant, liushui: AsyncLiushui) -> None:
    user_id = await stage.user(merchant)
    consent = await liushui.users.consent(
        user_id, "longer_retention", "keep-1", acted_at=stage.clock.now(), until_on=date(2040, 1, 1)
    )
    assert consent.until_on == date(2040, 1, 1)


def test_the_sync_client_asks_the_same() -> None:
    seen: list[tuple[str, str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path, request.headers["accept"].partition(",")[0]))
        empty: dict[str, Any] = {"object": "list", "items": [], "next_cursor": None}
        return httpx.Response(200, json=empty) if "certificate" not in request.url.path else httpx.Response(200)

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        liushui = Liushui("https://api.example", "lsk_x", http=http)
        assert [*liushui.closures.list(), *liushui.disputes.list()] == []
        assert liushui.closures.certificate_page("cls_1") == ""
    assert seen == [
        ("GET", "/v1/closures", "application/json"),
        ("GET", "/v1/disputes", "application/json"),
        ("GET", "/v1/closures/cls_1/certificate", "text/html"),
    ]
