"""Somebody between merchant and API, who sees a signed instruction and would make something else of it."""

from __future__ import annotations

import httpx

from client import Payment
from client.core import Ask
from client.models import Plain
from demo.stage import Stage
from domain.money import format_amount


async def altered_on_the_way(stage: Stage, payment: Payment, signed_minor: int, altered_minor: int) -> str:
    """A refund that the merchant signed for one amount arrives with another; what the API says to it."""
    seen = _signed_refund(stage, payment, signed_minor, f"altered-{stage.number}")
    body = seen.content.replace(str(signed_minor).encode(), str(altered_minor).encode())
    return _said(await _send(stage, seen, body=body))


async def sent_again(stage: Stage, payment: Payment, amount_minor: int) -> str:
    """A signed refund as it was, then under another key, then once more as it was; and what went back in the end."""
    seen = _signed_refund(stage, payment, amount_minor, f"sent-again-{stage.number}")
    first = await _send(stage, seen)
    renamed = await _send(stage, seen, idempotency_key=f"renamed-{stage.number}")
    again = await _send(stage, seen)
    if first.is_success:
        await stage.merchant.refunds.wait(first.json()["id"])
    left = await stage.merchant.payments.get(payment.id)
    back = format_amount(left.refunded_minor + left.refunding_minor, left.currency)
    refused = f"{_said(renamed)}, {_said(again).removeprefix('refused: ')}"
    return f"{'taken' if first.is_success else _said(first)}, then {refused}; {back} given back"


def _signed_refund(stage: Stage, payment: Payment, amount_minor: int, key: str) -> httpx.Request:
    body = {"amount_minor": amount_minor, "reason_code": "other"}
    ask = Ask("POST", f"/v1/payments/{payment.id}/refunds", Plain, body, is_command=True)
    return stage.merchant.core.request(ask, key)


async def _send(
    stage: Stage, seen: httpx.Request, *, body: bytes | None = None, idempotency_key: str | None = None
) -> httpx.Response:
    headers = {name: value for name, value in seen.headers.items() if name != "content-length"}
    if idempotency_key is not None:
        headers["idempotency-key"] = idempotency_key
    return await stage.line.request(seen.method, seen.url, headers=headers, content=body or seen.content)


def _said(answer: httpx.Response) -> str:
    if answer.is_success:
        return "not refused"
    found = answer.json()
    return f"refused: {found.get('code', answer.status_code)}"
