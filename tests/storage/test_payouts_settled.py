"""Claiming and settling payouts on the real database: sent once, booked once, released once, taken back once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from domain.errors import DomainError, EffectRefusedError, SettlementRefusedError
from domain.personal_data import PersonalField
from ledger.verify import verify
from storage.payouts import PayoutReading
from storage.unattended import find_unattended
from tests.storage.books import BANK, NOW, Books
from tests.storage.deciders import Deciders
from tests.storage.payout_steps import claim, number_of, scheduled, sent, settlement
from tests.storage.test_lock_order import deadlocks
from tests.storage.test_payments import claim as claim_payment
from tests.storage.test_payments import succeeded as payment_succeeded

RESERVE = f"reserve:{BANK}:CNY"


async def blocked(books: Books, payout_id: str, **changes: Any) -> str:
    with pytest.raises(EffectRefusedError) as error:
        await books.instructions.claim_effect(claim(payout_id, **changes))
    return error.value.error


async def state_of(books: Books, payout_id: str) -> str:
    return str(await books.value("SELECT state FROM app.payout WHERE id = :id", id=payout_id))


async def money(books: Books) -> dict[str, tuple[int, int]]:
    """Posted and held, of the user, at the bank and of fees."""
    codes = {"user": f"user:{books.user_id}:CNY", "bank": RESERVE, "fees": "fee_income:CNY"}
    return {name: (await books.balance(code), await books.held(code)) for name, code in codes.items()}


async def test_a_claim_hands_out_what_the_bank_needs_once_and_is_on_record(books: Books) -> None:
    await books.fund(30_000)
    payout_id = await scheduled(books)
    claimed = await books.instructions.claim_effect(claim(payout_id))
    assert (claimed.already, claimed.state, claimed.amount_minor, claimed.currency) == (False, "sending", 10_000, "CNY")
    assert (claimed.region, claimed.bank_id_kind, claimed.bank_id) == ("CN", "cnaps", "102100099996")
    assert {row["field"] for row in claimed.sealed} == {PersonalField.NAME, PersonalField.ACCOUNT_NUMBER}
    read = await books.value("SELECT purpose || ' ' || actor FROM vault.access")
    assert read == f"payout process:{payout_id}"
    again = await books.instructions.claim_effect(claim(payout_id))
    assert (again.already, again.sealed, again.claimed_at) == (True, (), claimed.claimed_at)
    resent = await books.instructions.claim_effect(claim(payout_id, resend=True, now=NOW + timedelta(minutes=1)))
    assert (resent.already, len(resent.sealed), resent.state) == (True, 2, "sending")
    forgotten = {"resend": True, "remembered_since": NOW + timedelta(minutes=1)}
    assert await blocked(books, payout_id, **forgotten) == "resend_window_over"
    assert await books.value("SELECT count(*) FROM app.effect") == 1


async def test_nothing_is_sent_outside_its_slot_or_under_a_second_number(books: Books) -> None:
    await books.fund(30_000)
    payout_id = await scheduled(books)
    await books.schedule(payout_id, slot_at=NOW + timedelta(hours=1))
    assert await blocked(books, payout_id) == "too_early"
    await books.run("UPDATE app.payout SET slot_at = NULL")
    assert await blocked(books, payout_id) == "too_early"
    # Its worker slept through the bank's hours: it is planned anew.
    await books.run("UPDATE app.payout SET slot_at = :at, release_until = :at", at=NOW)
    assert await blocked(books, payout_id) == "too_early"
    await books.run("UPDATE app.payout SET release_until = :at", at=NOW + timedelta(minutes=1))
    await books.run("UPDATE app.payout SET state = 'checking'")
    assert await blocked(books, payout_id) == "state_conflict"
    await books.schedule(payout_id)
    await books.instructions.claim_effect(claim(payout_id))
    assert await blocked(books, payout_id, attempt=1) == "state_conflict"
    assert await blocked(books, "po_" + "0" * 26) == "not_found"


async def test_what_people_decided_stops_a_payout_at_the_last_moment(books: Books, deciders: Deciders) -> None:
    await books.fund(30_000)
    payout_id = await scheduled(books)
    await deciders.decide("partner.disable", BANK)
    assert await blocked(books, payout_id) == "partner_not_available"
    await deciders.decide("partner.enable", BANK)
    await deciders.decide("user.suspend", books.user_id, detail={"function": "payout"})
    assert await blocked(books, payout_id) == "function_suspended"
    standing = await books.instructions.payout_standing(payout_id, NOW)
    assert standing is not None
    assert (standing.state, standing.obstacle) == ("scheduled", "function_suspended")
    await deciders.decide("user.suspend", books.user_id)
    assert await blocked(books, payout_id) == "user_not_active"
    await deciders.decide("user.resume", books.user_id)
    review = {"review_at": (NOW + timedelta(days=1)).isoformat()}
    await deciders.decide("funds.freeze", books.user_id, detail=review)
    assert await blocked(books, payout_id) == "funds_frozen"
    await deciders.decide("funds.release", books.user_id)
    order = {"issuer": "court", "number": "1", "demands": "hold", "expires_at": (NOW + timedelta(days=1)).isoformat()}
    await deciders.decide("authority_order.register", books.user_id, detail=order)
    assert await blocked(books, payout_id) == "authority_hold"
    await deciders.decide(
        "authority_order.register", books.user_id, detail=order | {"number": "2", "demands": "release"}
    )
    # The bank was switched off and on meanwhile: what was planned before that is planned anew.
    assert await blocked(books, payout_id) == "too_early"
    await books.schedule(payout_id)
    # What was accepted is finished, whatever becomes of the merchant (A0.3).
    await deciders.decide("merchant.suspend", books.merchant_id)
    assert (await books.instructions.claim_effect(claim(payout_id))).state == "sending"
    assert await books.value("SELECT claimed_at IS NOT NULL FROM app.payout")


async def test_a_withdrawal_and_a_claim_at_the_same_instant_are_one_or_the_other(
    books: Books, deciders: Deciders
) -> None:
    await books.fund(12 * 10_200)
    payouts = [await scheduled(books) for _ in range(12)]
    asked = [await deciders.ask("instruction.withdraw", payout) for payout in payouts]

    async def approve(decision_id: str) -> Any:
        try:
            return (await deciders.approve(decision_id))["state"]
        except DomainError as error:
            return error.code.value

    before = await deadlocks(books)
    pairs = await asyncio.gather(
        *(
            asyncio.gather(
                books.instructions.claim_effect(claim(payout)), approve(decision["id"]), return_exceptions=True
            )
            for payout, decision in zip(payouts, asked, strict=True)
        )
    )
    outcomes = {(getattr(claimed, "error", None) or getattr(claimed, "state", None), done) for claimed, done in pairs}
    assert outcomes <= {("sending", "ALREADY_SENT"), ("withdrawn", "committed")}
    assert await deadlocks(books) == before


async def test_a_success_is_booked_once_with_its_fee(books: Books) -> None:
    await books.fund(30_000)
    payout_id = await sent(books)
    assert await books.instructions.settle(settlement(payout_id, "unknown")) == "unknown"
    assert await books.instructions.settle(settlement(payout_id, "succeeded")) == "succeeded"
    assert await books.instructions.settle(settlement(payout_id, "succeeded")) == "succeeded"
    assert await money(books) == {"user": (19_800, 0), "bank": (20_000, 0), "fees": (200, 0)}
    types = await books.value("SELECT array_agg(type ORDER BY sequence) FROM app.event WHERE object_id LIKE 'po%'")
    assert types == ["payout.accepted", "payout.unknown", "payout.succeeded"]
    assert await books.value("SELECT outcome FROM app.effect") == "succeeded"
    # The limits stay taken: the money has left.
    assert await books.value("SELECT used_minor FROM app.limit_usage WHERE window_kind = 'day'") == 10_000
    assert (await verify(books.owner)).is_sound


async def test_transfers_that_a_process_names_for_a_payout_count_for_nothing(books: Books) -> None:
    await books.fund(30_000)
    payout_id = await sent(books)
    forged = payment_succeeded(books, {"id": "pay_" + "0" * 26, "amount_minor": 5_000, "fee_minor": 0}).transfers
    await books.instructions.settle(settlement(payout_id, "succeeded", transfers=forged))
    assert await money(books) == {"user": (19_800, 0), "bank": (20_000, 0), "fees": (200, 0)}


@pytest.mark.parametrize("is_sent", [True, False])
async def test_what_ends_without_money_having_left_is_free_again_with_its_limits(books: Books, is_sent: bool) -> None:
    await books.fund(30_000)
    payout_id = await (sent if is_sent else scheduled)(books)
    ended = settlement(payout_id, "failed", reason="name_mismatch" if is_sent else "withdrawn")
    for _ in range(2):
        assert await books.instructions.settle(ended) == "failed"
    assert await money(books) == {"user": (30_000, 0), "bank": (30_000, 0), "fees": (0, 0)}
    assert await books.value("SELECT max(used_minor) FROM app.limit_usage") == 0
    shown = await PayoutReading(books.app).payout(books.merchant_id, payout_id)
    assert shown is not None
    assert (shown["state"], shown["reason"]) == ("failed", ended.reason)
    with pytest.raises(SettlementRefusedError, match="state_conflict"):
        await books.instructions.settle(settlement(payout_id, "succeeded"))
    assert (await verify(books.owner)).is_sound


async def test_only_what_was_sent_succeeds_and_what_was_sent_is_ended_by_the_bank_alone(books: Books) -> None:
    await books.fund(30_000)
    payout_id = await scheduled(books)
    with pytest.raises(SettlementRefusedError, match="state_conflict"):
        await books.instructions.settle(settlement(payout_id, "succeeded", expect=("scheduled",)))
    await books.instructions.claim_effect(claim(payout_id))
    statement = (
        "SELECT app.end_payout(p, 'refused', 'risk_refused', :at, 'process', 'payout.refused') FROM app.payout p"
    )
    with pytest.raises(sa.exc.DBAPIError, match="already_sent"):
        await books.run(statement, at=NOW)
    assert await state_of(books, payout_id) == "sending"
    assert await books.held(RESERVE) == 10_000


@pytest.mark.parametrize("state", ["succeeded", "failed"])
async def test_what_was_sent_ends_only_with_the_banks_word(books: Books, state: str) -> None:
    await books.fund(30_000)
    payout_id, other = await sent(books), await sent(books)
    before = await money(books)
    for word in (
        {"effect_outcome": None},
        {"effect_number": None},
        {"effect_number": number_of(other)},
        {"effect_outcome": "declined" if state == "succeeded" else "succeeded"},
    ):
        with pytest.raises(SettlementRefusedError, match="bank_word_missing"):
            await books.instructions.settle(settlement(payout_id, state).model_copy(update=word))
    assert await money(books) == before
    assert await state_of(books, payout_id) == "sending"


async def test_a_return_days_later_is_a_transfer_of_its_own_and_leaves_the_fee(books: Books) -> None:
    await books.fund(30_000)
    payout_id = await sent(books)
    with pytest.raises(SettlementRefusedError, match="state_conflict"):
        await books.instructions.settle(settlement(payout_id, "returned"))
    await books.instructions.settle(settlement(payout_id, "succeeded"))
    for _ in range(2):
        assert (
            await books.instructions.settle(settlement(payout_id, "returned", at=NOW + timedelta(days=5))) == "returned"
        )
    assert await money(books) == {"user": (29_800, 0), "bank": (30_000, 0), "fees": (200, 0)}
    shown = await PayoutReading(books.app).payout(books.merchant_id, payout_id)
    assert shown is not None
    assert shown["return"] == {"reference": "RET1", "at": "2026-11-23T02:00:00.000Z"}
    assert shown["bank_reference"] == "REF1"
    # Money that came back is money to pay out again; the order itself is used up.
    assert await books.value("SELECT count(*) FROM ledger.transfer WHERE kind = 'payout_return'") == 1
    assert (await verify(books.owner)).is_sound


async def test_a_bank_that_was_closed_is_tried_again_under_the_next_number(books: Books, deciders: Deciders) -> None:
    await books.fund(30_000)
    payout_id = await sent(books)
    unproven = settlement(payout_id, "scheduled", effect_number=None, effect_outcome=None)
    with pytest.raises(SettlementRefusedError, match="bank_word_missing"):
        await books.instructions.settle(unproven)
    turned_away = settlement(payout_id, "scheduled", reason="bank_closed", wait_until=NOW + timedelta(minutes=5))
    assert await books.instructions.settle(turned_away) == "scheduled"
    assert await books.value("SELECT earliest_at FROM app.payout") == NOW + timedelta(minutes=5)
    assert await books.held(RESERVE) == 10_000
    assert await books.value("SELECT reason FROM app.effect") == "bank_closed"
    found = await PayoutReading(books.app).payout_for_process(payout_id)
    assert found is not None
    assert (found[1]["attempt"], found[1]["state"]) == (1, "scheduled")
    # Nothing of it is at the bank, so that the institution may still withdraw it.
    asked = await deciders.ask("instruction.withdraw", payout_id)
    claimed = await books.instructions.claim_effect(claim(payout_id, attempt=1))
    assert (claimed.already, claimed.state) == (False, "sending")
    with pytest.raises(DomainError, match="ALREADY_SENT"):
        await deciders.approve(asked["id"])
    assert await books.instructions.settle(settlement(payout_id, "succeeded", 1)) == "succeeded"
    assert await books.value("SELECT array_agg(outcome ORDER BY request_number) FROM app.effect") == [
        "declined", "succeeded",
    ]  # fmt: skip


async def test_payouts_payments_and_refunds_settle_in_one_batch(books: Books) -> None:
    await books.fund(100_000)
    await books.enable_waiver(20_000)
    payments = [await books.instructions.accept_payment(books.payment()) for _ in range(3)]
    for payment in payments:
        await books.instructions.claim_effect(claim_payment(payment["id"]))
    payouts = [await sent(books) for _ in range(4)]
    answers = await asyncio.gather(
        books.instructions.settle(settlement(payouts[0], "succeeded")),
        books.instructions.settle(payment_succeeded(books, payments[0])),
        books.instructions.settle(settlement(payouts[1], "failed", reason="account_closed")),
        books.instructions.settle(settlement(payouts[2], "returned")),
        books.instructions.settle(payment_succeeded(books, payments[1])),
        books.instructions.settle(settlement("po_" + "0" * 26, "failed")),
        return_exceptions=True,
    )
    assert [a if isinstance(a, str) else a.error for a in answers if isinstance(a, str | SettlementRefusedError)] == [
        "succeeded", "succeeded", "failed", "state_conflict", "succeeded", "not_found",
    ]  # fmt: skip
    assert await money(books) == {"user": (89_800, 20_400), "bank": (110_000, 20_000), "fees": (320, 0)}
    assert (await verify(books.owner)).is_sound


async def test_a_merchants_own_settlement_is_sealed_under_the_merchant_and_needs_no_user(books: Books) -> None:
    await books.run("SELECT ledger.open_accounts(ARRAY[:a])", a=f"merchant_available:{books.merchant_id}:CNY")
    await books.fund(1)
    await books.vault.ensure_user_key(books.merchant_id)
    payee = await books.payee(user_id=books.merchant_id)
    rows = sa.text("SELECT vault.store_items(:rows)").bindparams(sa.bindparam("rows", type_=JSONB))
    payout_id = books.new_id("po")
    transfer = {
        "action": "post", "key": f"{payout_id}:fund", "kind": "collection", "direction": "in", "debit": RESERVE,
        "credit": f"merchant_available:{books.merchant_id}:CNY", "currency": "CNY", "amount": 50_000,
        "instruction": payout_id, "reference": payout_id, "booked_at": NOW.isoformat(),
    }  # fmt: skip
    row = {
        "id": payout_id, "merchant_id": books.merchant_id, "payee_id": payee.id, "kind": "merchant_settlement",
        "order_number": "2026-11-22", "region": "CN", "route": "CN", "amount_minor": 50_000, "currency": "CNY",
        "source_account": f"merchant_available:{books.merchant_id}:CNY", "fee_minor": 0, "fee_rule": "none",
        "confirmation_hash": "", "agreement_version": "1.0", "origin": "standing_mandate", "speed": "next_working_day",
        "limit_reservations": [], "state": "checking", "accepted_at": NOW.isoformat(),
    }  # fmt: skip
    async with books.owner.begin() as connection:
        await connection.execute(rows, {"rows": list(payee.sealed)})
        await connection.execute(
            sa.text(
                "INSERT INTO app.payee (id, merchant_id, relation, holder_type, region, bank_id_kind, bank_id,"
                " account_index, account_last4, name_index, element_tokens, name_match, created_at) VALUES"
                " (:id, :m, 'own', 'enterprise', 'CN', 'cnaps', :bank, 'a', '1234', 'n', :tokens, 'match', :at)"
            ).bindparams(sa.bindparam("tokens", type_=JSONB)),
            {"id": payee.id, "m": books.merchant_id, "bank": payee.bank_id, "tokens": payee.element_tokens, "at": NOW},
        )
        apply = sa.text("SELECT error FROM ledger.apply(:items)").bindparams(sa.bindparam("items", type_=JSONB))
        assert await connection.scalar(apply, {"items": [{"item": 0, "transfers": [transfer]}]}) is None
    place = sa.text(
        "SELECT (app.place_payout(jsonb_populate_record(NULL::app.payout, :row), :banks)).state"
    ).bindparams(sa.bindparam("row", type_=JSONB), sa.bindparam("banks", type_=JSONB))
    async with books.owner.begin() as connection:
        assert await connection.scalar(place, {"row": row, "banks": [BANK]}) == "checking"
    await books.schedule(payout_id)
    claimed = await books.instructions.claim_effect(claim(payout_id))
    assert (claimed.user_id, len(claimed.sealed)) == (books.merchant_id, 2)
    await books.instructions.settle(settlement(payout_id, "succeeded"))
    assert await books.balance(f"merchant_available:{books.merchant_id}:CNY") == 0


async def test_what_people_conclude_of_a_parked_payout_is_told_until_it_is_done(
    books: Books, deciders: Deciders
) -> None:
    await books.fund(30_000)
    payout_id = await sent(books)
    await books.instructions.settle(settlement(payout_id, "unknown"))
    parked = {"key": f"{payout_id}:parked", "expect": ("unknown",), "state": None, "wait_reason": "operator"}
    await books.instructions.settle(settlement(payout_id, "unknown").model_copy(update=parked))
    detail = {"outcome": "failed", "evidence_ref": "LETTER-1"}
    decision = await deciders.decide("instruction.conclude", payout_id, detail=detail)
    # Nothing more is sent of what people have said the end of.
    assert await blocked(books, payout_id, resend=True) == "concluded_by_operators"
    later, age = NOW + timedelta(seconds=30), timedelta(seconds=8)
    found = await find_unattended(books.app, later, age)
    assert [(item.kind, item.id, item.attempt_id) for item in found] == [("decision", payout_id, decision["id"])]
    assert (await books.instructions.check_decision(payout_id, decision["id"], NOW)).holds
    await books.instructions.settle(settlement(payout_id, "failed", reason="evidence"))
    assert await find_unattended(books.app, later, age) == []


CALLBACK = sa.text("SELECT app.record_callback(:item)").bindparams(sa.bindparam("item", type_=JSONB))


async def test_a_bank_that_contradicts_what_ended_makes_a_case_and_a_return_is_none(books: Books) -> None:
    await books.fund(40_000)
    paid, declined = await sent(books), await sent(books)
    await books.instructions.settle(settlement(paid, "succeeded"))
    word = {"effect_number": number_of(declined), "effect_outcome": "declined", "reason": "account_closed"}
    await books.instructions.settle(settlement(declined, "failed").model_copy(update=word))

    async def says(payout_id: str, announces: str) -> dict[str, Any]:
        item = {
            "now": NOW.isoformat(), "bank_code": BANK, "notice_id": books.ids.ulid(),
            "request_number": number_of(payout_id), "announces": announces,
        }  # fmt: skip
        async with books.app.begin() as connection:
            answer: dict[str, Any] = await connection.scalar(CALLBACK, {"item": item})
        return answer

    answer = await says(paid, "returned")
    assert (answer["step"], answer["subject_id"], answer["state"], answer["outcome"]) == (
        "PO", paid, "succeeded", "succeeded",
    )  # fmt: skip
    assert await books.value("SELECT count(*) FROM app.case_record") == 0
    await says(paid, "declined")
    await says(declined, "returned")
    cases = await books.value("SELECT array_agg(subject_id ORDER BY subject_id) FROM app.case_record")
    assert cases == sorted([paid, declined])


async def test_what_a_bank_turned_away_and_says_to_have_paid_is_not_sent_again_until_somebody_has_looked(
    books: Books, deciders: Deciders
) -> None:
    await books.fund(20_000)
    payout_id = await sent(books)
    await books.instructions.settle(settlement(payout_id, "scheduled", reason="bank_closed"))
    item = {
        "now": NOW.isoformat(), "bank_code": BANK, "notice_id": "late", "request_number": number_of(payout_id),
        "announces": "succeeded",
    }  # fmt: skip
    async with books.app.begin() as connection:
        await connection.execute(CALLBACK, {"item": item})
    assert await blocked(books, payout_id, attempt=1) == "bank_contradicts_itself"
    standing = await books.instructions.payout_standing(payout_id, NOW)
    assert standing is not None
    assert standing.obstacle == "bank_contradicts_itself"
    [case] = await books.value("SELECT array_agg(id) FROM app.case_record")
    await deciders.decide("case.resolve", case)
    assert not (await books.instructions.claim_effect(claim(payout_id, 1))).already
