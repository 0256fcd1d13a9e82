"""What tests about foreign currency need: a user with a receiving account, with money on it, with a conversion."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import count
from typing import Any

import sqlalchemy as sa

from domain.fx import ClaimFxEffect, FxEntry, FxSubject, ReceivedInbound, ReceiveInbound
from domain.identifiers import BankStep, request_number
from domain.personal_data import PersonalField
from domain.rates import convert
from storage.fx import FxBook
from tests.api.conftest import Merchant, Stage
from tests.api.payouts import agree_to_export
from vault.indexing import IndexKind

HOLDER, REMITTER = "Zhang San", "Acme Trading Ltd."
BANK = "OSPB"
RATE_E8 = 712_340_000
_numbers = count(1)
# What a plan and a send claim leave; tests of the books make both.
_SENT_TO_A_DESK = (
    "INSERT INTO app.fx_quote"
    " (bank_code, quote_id, currency, side, rate_e8, publisher, published_at, valid_until, asked_at) VALUES"
    " ('HBRB', :quote, 'USD', 'buys', :rate, 'Harbour Bank', :now, CAST(:now AS timestamptz) + interval '1 min', :now)",
    "UPDATE app.fx SET state = 'sending', desk = 'HBRB', quote_id = :quote, claimed_at = :now WHERE id = :id",
    "INSERT INTO app.effect (request_number, subject_id, step, bank_code, partner_role, claimed_at)"
    " VALUES (:number, :id, 'FX', 'HBRB', 'domestic_bank', :now)",
)


async def allow_export(stage: Stage) -> None:
    """A contract with the bank abroad is in force, whatever the configuration says."""
    async with stage.database.owner_engine.begin() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO app.export_contract"
                " (bank_code, recipient, contract, ground, purpose, fields, encryption, access, valid_until)"
                " VALUES ('OSPB', 'Ocean Span Bank', 'c', 'g', 'p', '{name}', 'e', '{a}', '2028-01-01')"
                " ON CONFLICT (bank_code) DO NOTHING"
            )
        )


async def asked_for(stage: Stage, merchant: Merchant, user_id: str, **other: Any) -> dict[str, Any]:
    """A receiving account that the bank has not opened yet."""
    await allow_export(stage)
    await agree_to_export(stage, merchant, user_id)
    body = {"currency": "USD", "holder_name": HOLDER} | other
    answer = await merchant.post(f"/v1/users/{user_id}/receiving_accounts", body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def claimed(stage: Stage, kind: FxSubject, subject_id: str, step: BankStep, **more: Any) -> str:
    """The send claim of a step; answers its request number."""
    number = request_number(step, subject_id)
    command = ClaimFxEffect(
        now=stage.clock.now(), kind=kind, id=subject_id, step=step.value, request_number=number, **more
    )
    await FxBook(stage.engine).claim(command)
    return number


async def receiving(stage: Stage, merchant: Merchant, user_id: str, **other: Any) -> dict[str, Any]:
    """An open one, as its process would have left it; `number` is what the bank has told."""
    account = await asked_for(stage, merchant, user_id, **other)
    number = f"{BANK}{next(_numbers):012d}"
    vault, book = stage.services.vault, FxBook(stage.engine)
    [item] = await vault.seal(user_id, {PersonalField.ACCOUNT_NUMBER: number})
    asked = await claimed(stage, "receiving_account", account["id"], BankStep.RECEIVING_ACCOUNT)
    entry = FxEntry(
        key=f"{account['id']}:open",
        kind="receiving_account",
        id=account["id"],
        expect=("opening",),
        state="open",
        at=stage.clock.now(),
        action="open_receiving_account",
        outcome="done",
        event_type="receiving_account.opened",
        effect_number=asked,
        effect_outcome="succeeded",
        account_index=vault.blind_index(IndexKind.RECEIVING_ACCOUNT, number),
        account_last4=number[-4:],
        account_token=item.token,
        sealed=(item.model_dump(mode="json"),),
    )
    assert await book.settle(entry) == "open"
    return account | {"number": number}


async def arrived(
    stage: Stage, user_id: str, number: str, amount_minor: int = 1_000_000, **other: Any
) -> ReceivedInbound:
    """A remittance, as the bank has told of it when it was asked."""
    vault = stage.services.vault
    [item] = await vault.seal(user_id, {PersonalField.NAME: REMITTER})
    given = {
        "now": stage.clock.now(),
        "id": f"inb_{stage.ids.ulid()}",
        "fx_id": f"fx_{stage.ids.ulid()}",
        "bank_code": BANK,
        "reference": f"REMIT{next(_numbers):08d}",
        "amount_minor": amount_minor,
        "currency": "USD",
        "value_date": date(2026, 11, 20),
        "booked_at": stage.clock.now(),
        "purpose_code": "121010",
        "remitter_country": "US",
        "account_index": vault.blind_index(IndexKind.RECEIVING_ACCOUNT, number),
        "receiver_index": vault.blind_index(IndexKind.RECEIVER_NAME, HOLDER),
        "sealed": (item.model_dump(mode="json"),),
        "sealed_under": user_id,
        "element_tokens": {"remitter": item.token},
    } | other
    received = await FxBook(stage.engine).receive_inbound(ReceiveInbound(**given))
    assert received.error is None
    return received


async def funded_usd(stage: Stage, merchant: Merchant, amount_minor: int = 1_000_000) -> tuple[str, str, str]:
    """A user whom a bank has confirmed, with USD: the user, the receiving account and the remittance."""
    user_id, _ = await stage.payer(merchant)
    account = await receiving(stage, merchant, user_id)
    received = await arrived(stage, user_id, account["number"], amount_minor)
    assert received.state == "credited"
    return user_id, account["id"], str(received.inbound_id)


def fx_order_of(user_id: str, **other: Any) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "order_number": f"fx-{next(_numbers):06d}",
        "amount_minor": 100_000,
        "currency": "USD",
        "purpose_code": "121010",
    } | other


async def confirmed_fx(merchant: Merchant, order: dict[str, Any]) -> dict[str, Any]:
    """The conversion as the user confirmed it after a preview."""
    preview = await merchant.post("/v1/fx/preview", order, key=None)
    assert preview.status_code == 200, preview.text
    return order | {"confirmation_hash": preview.json()["confirmation_hash"]}


async def fx_of(merchant: Merchant, user_id: str, **other: Any) -> dict[str, Any]:
    answer = await merchant.post("/v1/fx", await confirmed_fx(merchant, fx_order_of(user_id, **other)))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def mandate_body(user_id: str, **other: Any) -> dict[str, Any]:
    mandate = {"user_id": user_id, "currency": "USD", "purpose_code": "121010", "mandate_reference": "mandate-1"}
    return mandate | other


async def mandate_of(merchant: Merchant, user_id: str, **other: Any) -> dict[str, Any]:
    answer = await merchant.post("/v1/fx_mandates", mandate_body(user_id, **other))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refused_fx(stage: Stage, fx_id: str, reason: str = "fx_quota_exceeded") -> None:
    """The quota, or a desk, has said no: the money is still held."""
    entry = FxEntry(
        key=f"{fx_id}:refused",
        kind="fx",
        id=fx_id,
        expect=("waiting",),
        state="refused",
        at=stage.clock.now(),
        action="settle_fx",
        outcome="refused",
        reason=reason,
        event_type="fx.refused",
    )
    assert await FxBook(stage.engine).settle(entry) == "refused"


async def sent_to_a_desk(stage: Stage, fx_id: str) -> str:
    """At Harbour Bank's desk, which has not answered yet; answers the request number."""
    now, number = stage.clock.now(), request_number(BankStep.FX_CONVERSION, fx_id)
    values = {"id": fx_id, "number": number, "now": now, "quote": f"QUOTE{next(_numbers):08d}", "rate": RATE_E8}
    async with stage.database.owner_engine.begin() as connection:
        for statement in _SENT_TO_A_DESK:
            await connection.execute(sa.text(statement), values)
    return number


async def converted(stage: Stage, fx_id: str, *, delivered: bool) -> str:
    """Dealt at 7.1234 by Harbour Bank's desk, and perhaps delivered; answers the request number."""
    now, number = stage.clock.now(), await sent_to_a_desk(stage, fx_id)
    [fx] = await stage.rows("SELECT amount_minor, currency FROM app.fx WHERE id = :id", id=fx_id)
    state = "settled" if delivered else "converted"
    entry = FxEntry(
        key=f"{fx_id}:{state}",
        kind="fx",
        id=fx_id,
        expect=("sending",),
        state=state,
        at=now,
        action="settle_fx",
        outcome="done",
        booked_at=now,
        bank_reference="DEAL00000001",
        wait_reason=None if delivered else "fx_delivery",
        effect_number=number,
        effect_outcome="succeeded",
        event_type=f"fx.{state}",
        rate_e8=RATE_E8,
        cny_minor=convert(fx["amount_minor"], fx["currency"], RATE_E8, "half_up").minor,
        delivered_at=now if delivered else None,
        delivery_reference="DELIVERY0001" if delivered else None,
    )
    assert await FxBook(stage.engine).settle(entry) == state
    return number


async def refused_of_remittance(stage: Stage, merchant: Merchant) -> str:
    """A conversion that a mandate has begun with a remittance, and that was refused; its id."""
    user_id, _ = await stage.payer(merchant)
    account = await receiving(stage, merchant, user_id)
    await mandate_of(merchant, user_id)
    received = await arrived(stage, user_id, account["number"])
    assert received.fx_id is not None
    await refused_fx(stage, received.fx_id)
    return received.fx_id


def in_a_year(stage: Stage) -> str:
    return (stage.clock.now() + timedelta(days=365)).isoformat()
