"""Settling merchants in the real books: nothing is lost or doubled, nothing is below zero, and it is paid once."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import ledger
from domain.errors import ConflictError, DomainError, ErrorCode
from domain.settlements import SettlementStuckError
from ledger.verify import verify
from storage.administration import Act
from storage.settlement_audit import settlement_findings
from storage.settlements import OpsSettlements, SettlementBook, SettlementReading
from tests.conftest import Database
from tests.storage.books import BANK, NOW, OTHER_BANK, Books
from tests.storage.deciders import Deciders
from tests.storage.payout_steps import claim as claim_payout
from tests.storage.payout_steps import settlement as payout_end
from tests.storage.settling import (
    ROUTE,
    SUNDAY,
    TODAY,
    collected,
    of,
    one_report,
    open_account,
    pay,
    proposal,
    refund_ends,
    refunded,
    report,
    shanghai,
    standing,
)

TUESDAY = TODAY + timedelta(days=1)
ACCOUNT_STATE = "SELECT state FROM app.payee WHERE id = :id"


async def balances(books: Books) -> tuple[int, int]:
    account = f"merchant_pending:{books.merchant_id}:CNY"
    return await books.balance(account), await books.held(account)


async def unsound(books: Books) -> list[str] | None:
    """What the audit finds wrong with settlements, if anything."""
    assert (await verify(books.owner)).is_sound
    return await settlement_findings(books.owner) or None


async def end(books: Books, settlement: dict[str, Any], state: str) -> None:
    payout_id = (await standing(books, settlement["id"]))["payout_id"]
    if state != "returned":
        await books.schedule(payout_id)
        await books.instructions.claim_effect(claim_payout(payout_id))
    changes = {"reason": "account_closed"} if state == "failed" else {}
    await books.instructions.settle(payout_end(payout_id, state, **changes))


async def test_a_day_is_added_up_to_the_fen_and_each_payment_is_in_one_settlement(books: Books) -> None:
    # The last moment of Sunday and the first of Monday, in Shanghai.
    late = await collected(books, 10_000, shanghai(SUNDAY, 23, 59, 59, 999_000))
    early = await collected(books, 5_000, shanghai(TODAY, 0))
    first = await one_report(books)
    assert (first["payment_count"], first["gross_minor"], first["fees_minor"], first["net_minor"]) == (
        1,
        10_000,
        60,
        9_940,
    )
    assert (first["state"], first["business_date"], first["through_date"]) == ("reported", "2026-11-23", "2026-11-22")
    assert await report(books) == []
    again = await SettlementBook(books.app).report(of(books), TODAY, SUNDAY, books.new_id("stl"), NOW)
    assert again == first
    second = await one_report(books, TUESDAY, TODAY)
    assert (second["gross_minor"], second["net_minor"]) == (5_000, 4_970)
    reading = SettlementReading(books.app)
    lines = [(await reading.lines(each["id"], None, 10))[0] for each in (first, second)]
    assert [line["subject_id"] for line in lines] == [late["id"], early["id"]]
    assert await books.value("SELECT count(*) FROM app.event WHERE type = 'settlement.reported'") == 2
    assert await unsound(books) is None


async def test_two_workers_at_once_settle_a_day_once(books: Books) -> None:
    for _ in range(3):
        await collected(books)
    await open_account(books)
    found = await asyncio.gather(
        *(SettlementBook(books.app).report(of(books), TODAY, SUNDAY, books.new_id("stl"), NOW) for _ in range(6))
    )
    assert len({str(each) for each in found}) == 1
    assert await books.value("SELECT count(*) FROM app.settlement_line") == 3
    settlement = found[0]
    assert isinstance(settlement, dict)
    assert await asyncio.gather(*(pay(books, settlement["id"]) for _ in range(6))) == [None] * 6
    assert await books.value("SELECT count(*) FROM app.payout") == 1
    assert await balances(books) == (29_820, 29_820)
    assert await unsound(books) is None


async def test_refunds_are_taken_off_from_their_acceptance_on_and_put_back_if_they_fail(books: Books) -> None:
    payments = [await collected(books) for _ in range(4)]
    refunds = [await refunded(books, payments[0], 10_000), await refunded(books, payments[1], 5_000)]
    await refund_ends(books, payments[0], refunds[0], "succeeded")
    # Accepted and failed before the day is settled: of no account.
    gone = await refunded(books, payments[2], 4_000)
    await refund_ends(books, payments[2], gone, "failed")
    first = await one_report(books)
    assert (first["refund_count"], first["refunds_minor"], first["fees_back_minor"]) == (2, 15_000, 90)
    assert first["net_minor"] == 40_000 - 240 - 15_000 + 90
    assert await unsound(books) is None
    # The one that was under way fails, a new one is asked for after its payment was settled.
    await refund_ends(books, payments[1], refunds[1], "failed")
    await refunded(books, payments[3], 1_000)
    second = await one_report(books, TUESDAY, TODAY)
    assert (second["payment_count"], second["refund_count"], second["refunds_minor"]) == (0, 2, 1_000 - 5_000)
    assert second["net_minor"] == 5_000 - 30 - 1_000 + 6
    assert await report(books, TUESDAY + timedelta(days=1), TUESDAY) == []
    assert await unsound(books) is None


async def test_a_shortfall_is_a_receivable_that_the_next_settlement_bears(books: Books) -> None:
    payment = await collected(books)
    first = await one_report(books)
    await open_account(books)
    assert await pay(books, first["id"]) is None
    await end(books, first, "succeeded")
    assert (await standing(books, first["id"]))["state"] == "paid"
    # Refunded out of what is collected later, and not due yet.
    await collected(books, 12_000, shanghai(TODAY, 9))
    await refunded(books, payment, 10_000)
    other_day = date(2026, 11, 21)
    short = await one_report(books, SUNDAY, other_day)
    assert (short["state"], short["net_minor"], short["shortfall_minor"]) == ("carried", -9_940, 9_940)
    assert await pay(books, short["id"]) == "settlement_not_payable"
    third = await one_report(books, TUESDAY, TODAY)
    assert (third["brought_forward_minor"], third["net_minor"]) == (9_940, 11_928 - 9_940)
    assert await books.value("SELECT cleared_by FROM app.merchant_receivable") == third["id"]
    assert await pay(books, third["id"]) is None
    await end(books, third, "succeeded")
    assert await balances(books) == (9_940, 9_940)
    assert await unsound(books) is None


async def test_what_cannot_be_paid_waits_says_so_and_is_paid_by_the_next_run(books: Books, deciders: Deciders) -> None:
    await collected(books)
    settlement = await one_report(books)
    assert await pay(books, settlement["id"]) == "no_settlement_account"
    assert (await standing(books, settlement["id"]))["waiting_for"]["reason"] == "no_settlement_account"
    # Proposed is not in force; two people put it in force, and the newer proposal takes the older one's place.
    proposed = await SettlementReading(books.app).propose_account(await proposal(books))
    assert await pay(books, settlement["id"]) == "no_settlement_account"
    account = await open_account(books, deciders, account_index="one")
    assert await books.value(ACCOUNT_STATE, id=proposed["id"]) == "removed"
    with pytest.raises(DomainError, match="PAYEE_EXISTS"):
        await SettlementReading(books.app).propose_account(await proposal(books, account_index="one"))
    await books.run("UPDATE app.merchant SET state = 'suspended'")
    assert await pay(books, settlement["id"]) == "merchant_suspended"
    await books.run("UPDATE app.merchant SET state = 'active'")
    await books.run("UPDATE app.partner SET enabled = false")
    assert await pay(books, settlement["id"]) == "partner_not_available"
    await books.run("UPDATE app.partner SET enabled = true")
    await books.open_bank()
    elsewhere = ROUTE.model_copy(update={"banks": (OTHER_BANK,)})
    assert await pay(books, settlement["id"], route=elsewhere) == "payout_bank_without_funds"
    assert await SettlementBook(books.app).to_pay(None, 10) == [settlement["id"]]
    assert await pay(books, settlement["id"], route=elsewhere.model_copy(update={"banks": (OTHER_BANK, BANK)})) is None
    payout = await books.value("SELECT bank_code FROM app.payout WHERE payee_id = :id", id=account)
    assert payout == BANK
    reasons = "SELECT array_agg(reason ORDER BY id) FROM app.operation WHERE action = 'pay_settlement'"
    # Each reason once, however often it was tried.
    assert await books.value(reasons) == [
        "no_settlement_account", "merchant_suspended", "partner_not_available", "payout_bank_without_funds", None,
    ]  # fmt: skip
    # Another account replaces the one in force.
    other = await open_account(books, deciders)
    assert [await books.value(ACCOUNT_STATE, id=each) for each in (account, other)] == ["removed", "active"]


@pytest.mark.parametrize("ends", [("failed",), ("succeeded", "returned")])
async def test_a_payout_that_failed_or_came_back_is_paid_anew_once_a_person_says_so(
    books: Books, deciders: Deciders, ends: tuple[str, ...]
) -> None:
    await collected(books)
    await open_account(books)
    settlement = await one_report(books)
    await pay(books, settlement["id"])
    for state in ends:
        await end(books, settlement, state)
    found = await standing(books, settlement["id"])
    assert (found["state"], found["waiting_for"]["reason"]) == ("failed", "operator")
    assert await books.value("SELECT kind FROM app.case_record") == "settlement_unpaid"
    assert await balances(books) == (9_940, 0)
    assert await unsound(books) is None
    # No run pays it by itself.
    assert await pay(books, settlement["id"]) == "settlement_not_payable"
    assert await SettlementBook(books.app).to_pay(None, 10) == []
    ops, act = OpsSettlements(deciders.decisions._engine), Act("operator:tian", NOW, "req_1")
    treasurer = await deciders.enrol("tian", "treasury")
    support = await deciders.enrol("su", "support")
    with pytest.raises(DomainError) as error:
        await ops.pay_again(act, support, settlement["id"], "looked at it")
    assert error.value.code is ErrorCode.PERMISSION_MISSING
    assert (await ops.pay_again(act, treasurer, settlement["id"], "looked at it"))["state"] == "reported"
    assert await pay(books, settlement["id"]) is None
    await end(books, settlement, "succeeded")
    with pytest.raises(ConflictError, match="SETTLEMENT_NOT_PAYABLE"):
        await ops.pay_again(act, treasurer, settlement["id"], "once more")
    assert await pay(books, settlement["id"]) is None
    orders = await books.value("SELECT array_agg(order_number ORDER BY id) FROM app.payout")
    assert orders == [f"{settlement['id']}-1", f"{settlement['id']}-2"]
    assert await balances(books) == (0, 0)
    assert await unsound(books) is None
    events = await books.value(
        "SELECT array_agg(type ORDER BY sequence) FROM app.event WHERE object_id = :id", id=settlement["id"]
    )
    assert (events[0], events[-1]) == ("settlement.reported", "settlement.paid")


async def test_what_is_settled_cannot_be_changed_and_no_day_is_settled_before_it_comes(
    books: Books,
) -> None:
    await collected(books)
    await one_report(books)
    for statement in (
        "UPDATE app.settlement_report SET net_minor = 1, gross_minor = 61", "DELETE FROM app.settlement_line",
        "UPDATE app.settlement_line SET at = now()", "TRUNCATE app.settlement_report CASCADE",
    ):  # fmt: skip
        with pytest.raises(Exception, match="append-only"):
            await books.run(statement)
    with pytest.raises(SettlementStuckError, match="settlement_date_invalid"):
        await SettlementBook(books.app).report(of(books), TUESDAY, TODAY, books.new_id("stl"), NOW)


async def test_the_audit_finds_a_line_that_is_missing(books: Books) -> None:
    await collected(books)
    await collected(books, 7_000)
    await one_report(books)
    assert await unsound(books) is None
    await books.run("ALTER TABLE app.settlement_line DISABLE TRIGGER append_only")
    await books.run("DELETE FROM app.settlement_line WHERE amount_minor = 7000")
    assert "lines" in str(await unsound(books))


async def test_the_command_that_proves_the_ledger_proves_settlements(
    books: Books, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIUSHUI_DATABASE_URL", database.app_url)
    await collected(books)
    await one_report(books)
    sound = await asyncio.to_thread(CliRunner().invoke, ledger.app, ["verify"])
    assert sound.exit_code == 0, sound.output
    await books.run("ALTER TABLE app.settlement_line DISABLE TRIGGER append_only")
    await books.run("DELETE FROM app.settlement_line")
    damaged = await asyncio.to_thread(CliRunner().invoke, ledger.app, ["verify"])
    assert (damaged.exit_code, "settlements: a settlement's lines do not add up" in damaged.output) == (1, True)
