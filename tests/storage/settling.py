"""What tests about settlements need: payments and refunds of a day, an account in force, a run of a day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from domain.business_time import SHANGHAI
from domain.journal import collection, refund_done, refund_failed, refund_holds
from domain.personal_data import PersonalField
from domain.settlement import Settlement
from domain.settlements import MerchantDay, PaySettlement, ProposeSettlementAccount, SettlementRoute
from storage.settlements import SettlementBook, SettlementReading
from tests.storage.books import BANK, NOW, Books
from tests.storage.deciders import Deciders
from tests.storage.test_payments import claim, succeeded

ROUTE = SettlementRoute(code="CN-CNY", region="CN", banks=(BANK,), speed="next_working_day")
# The business date of NOW, a Monday, and what a run of it settles.
TODAY, SUNDAY = date(2026, 11, 23), date(2026, 11, 22)
LAST_WEEK = NOW - timedelta(days=3)
Resource = dict[str, Any]


def shanghai(day: date, hour: int = 12, minute: int = 0, second: int = 0, microsecond: int = 0) -> datetime:
    at = datetime(day.year, day.month, day.day, hour, minute, second, microsecond, tzinfo=SHANGHAI)
    return at.astimezone(UTC)


async def collected(books: Books, amount_minor: int = 10_000, at: datetime = LAST_WEEK, **changes: Any) -> Resource:
    """A payment to the merchant that succeeded at an instant."""
    if not await books.value("SELECT count(*) FROM app.user_waiver"):
        await books.enable_waiver(20_000)
    payment = await books.instructions.accept_payment(books.payment(amount_minor, **changes))
    await books.instructions.claim_effect(claim(payment["id"]))
    account = f"merchant_pending:{books.merchant_id}:CNY"
    transfers = collection(payment["id"], BANK, account, amount_minor, payment["fee_minor"], "CNY", at)
    await books.instructions.settle(succeeded(books, payment, at=at, transfers=transfers))
    return payment


async def refunded(books: Books, payment: Resource, amount_minor: int) -> Resource:
    """A refund that was accepted, and whose money is held."""
    return await books.instructions.accept_refund(books.refund(payment["id"], amount_minor))


async def refund_ends(books: Books, payment: Resource, refund: Resource, state: str) -> None:
    """What its bank says of a refund that was sent."""
    number = f"RF{refund['id'][4:]}"
    await books.instructions.claim_effect(claim(refund["id"], kind="refund", step="RF", request_number=number))
    holds = refund_holds(payment["id"], refund["id"], refund["amount_minor"], refund["fee_back_minor"])
    moves = (refund_done if state == "succeeded" else refund_failed)(payment["id"], holds, NOW)
    await books.instructions.settle(
        Settlement.model_validate({
            "key": f"{refund['id']}:{state}", "kind": "refund", "id": refund["id"], "expect": ("sending", "unknown"),
            "state": state, "at": NOW, "action": "refund", "outcome": "done" if state == "succeeded" else "failed",
            "effect_number": number, "effect_outcome": "succeeded" if state == "succeeded" else "declined",
            "event_type": f"refund.{state}", "transfers": moves,
            **({"bank_reference": "R1", "booked_at": NOW} if state == "succeeded" else {"reason": "account_closed"}),
        })
    )  # fmt: skip


async def proposal(books: Books, **changes: Any) -> ProposeSettlementAccount:
    """The merchant's own account, its name and number sealed."""
    await books.vault.ensure_user_key(books.merchant_id)
    sealed = await books.vault.seal(
        books.merchant_id, {PersonalField.NAME: "示例商户", PersonalField.ACCOUNT_NUMBER: "1001244509200012345"}
    )
    values = {
        "request": books.context(), "now": NOW, "id": books.new_id("pye"), "holder_type": "enterprise", "region": "CN",
        "bank_id_kind": "cnaps", "bank_id": "102100099996", "account_index": books.ids.ulid(),
        "account_last4": "2345", "name_index": "merchant-1",
        "sealed": tuple(item.model_dump(mode="json") for item in sealed),
        "element_tokens": {item.field.value: item.token for item in sealed},
    }  # fmt: skip
    return ProposeSettlementAccount.model_validate(values | changes)


async def open_account(books: Books, deciders: Deciders | None = None, **changes: Any) -> str:
    """An account that is in force; without deciders it is put in force by hand."""
    payee = await SettlementReading(books.app).propose_account(await proposal(books, **changes))
    if deciders is None:
        await books.run("UPDATE app.payee SET state = 'active' WHERE id = :id", id=payee["id"])
    else:
        await deciders.decide("settlement.account", payee["id"], ground="application_reviewed")
    return str(payee["id"])


async def report(
    books: Books, on: date = TODAY, through: date = SUNDAY, *, now: datetime | None = None
) -> list[Resource | None]:
    """A run of a day, merchant by merchant."""
    book = SettlementBook(books.app)
    now = now or max(NOW, shanghai(on))
    found = await book.merchants_to_settle(on, through, None, 100)
    return [await book.report(whose, on, through, books.new_id("stl"), now) for whose in found]


async def one_report(books: Books, on: date = TODAY, through: date = SUNDAY) -> Resource:
    [found] = await report(books, on, through)
    assert found is not None
    return found


async def pay(books: Books, settlement_id: str, now: datetime = NOW, **changes: Any) -> str | None:
    values = {
        "now": now, "settlement_id": settlement_id, "payout_id": books.new_id("po"), "route": ROUTE,
        "agreement_version": "1.0",
    }  # fmt: skip
    return await SettlementBook(books.app).pay(PaySettlement.model_validate(values | changes))


async def standing(books: Books, settlement_id: str) -> Resource:
    found = await SettlementReading(books.app).settlement(books.merchant_id, settlement_id)
    assert found is not None
    return found


def of(books: Books, currency: str = "CNY") -> MerchantDay:
    return MerchantDay(merchant_id=books.merchant_id, currency=currency)
