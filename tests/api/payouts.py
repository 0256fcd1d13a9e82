"""What tests about payouts need: a user with a balance, a payee, a payout as the user confirmed it."""

from __future__ import annotations

from itertools import count
from typing import Any

from domain import chart
from domain.journal import collection
from domain.settlement import Settlement
from tests.api.conftest import Merchant, Stage

# 工商银行总行清算中心's number and a card number that belongs to nobody.
CNAPS = "102100099996"
ACCOUNT = "9901010000000007890"
OWN_ACCOUNT = {
    "relation": "own",
    "holder_type": "individual",
    "region": "CN",
    "bank_id": {"kind": "cnaps", "value": CNAPS},
    "name": "张三",
    "account_number": ACCOUNT,
}
HONG_KONG = {
    "relation": "other",
    "holder_type": "enterprise",
    "region": "HK",
    "bank_id": {"kind": "hk_clearing", "value": "004"},
    "name": "Crab Apple Trading (HK) Ltd.",
    "account_number": "123456789012",
}
_numbers = count(1)


async def funded(
    stage: Stage, merchant: Merchant, payer: tuple[str, str] | None = None, amount_minor: int = 1_000_000
) -> str:
    """A user whose balance holds an amount that was collected from the own card."""
    user_id, binding_id = payer or await stage.payer(merchant)
    paid = await stage.payment(merchant, user_id, binding_id, payee_kind="user", amount_minor=amount_minor)
    confirmed = await merchant.post(f"/v1/payments/{paid['id']}/code", {"code": "482913"})
    assert confirmed.json()["state"] == "ready", confirmed.text
    number = await stage.debit_sent(paid["id"])
    account = chart.user(user_id, "CNY")
    at = stage.clock.now()
    transfers = collection(paid["id"], paid["bank_code"], account, amount_minor, 0, "CNY", at)
    await stage.instructions.settle(
        Settlement(
            key=f"{paid['id']}:succeeded",
            kind="payment",
            id=paid["id"],
            expect=("sending", "unknown"),
            state="succeeded",
            at=at,
            action="settle_payment",
            outcome="done",
            effect_number=number,
            effect_outcome="succeeded",
            release_limits=False,
            event_type="payment.succeeded",
            transfers=transfers,
        )
    )
    return user_id


async def payee_of(merchant: Merchant, user_id: str, **other: Any) -> dict[str, Any]:
    answer = await merchant.post(f"/v1/users/{user_id}/payees", OWN_ACCOUNT | other)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def order_of(user_id: str, payee_id: str, **other: Any) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "payee_id": payee_id,
        "order_number": f"payout-{next(_numbers):06d}",
        "amount_minor": 50_000,
        "currency": "CNY",
        "speed": "real_time",
    } | other


async def confirmed(merchant: Merchant, order: dict[str, Any]) -> dict[str, Any]:
    """The payout as the user confirmed it after a preview."""
    preview = await merchant.post("/v1/payouts/preview", order, key=None)
    assert preview.status_code == 200, preview.text
    return order | {"confirmation_hash": preview.json()["confirmation_hash"]}


async def payout_of(merchant: Merchant, user_id: str, payee_id: str, **other: Any) -> dict[str, Any]:
    answer = await merchant.post("/v1/payouts", await confirmed(merchant, order_of(user_id, payee_id, **other)))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def agree_to_export(stage: Stage, merchant: Merchant, user_id: str) -> None:
    export = stage.policy.data_export.model_dump()
    recorded = await stage.consent(merchant, user_id, "data_export", **export)
    assert recorded.status_code == 201, recorded.text
