"""Accepting, claiming and settling payments on the real database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

import pytest

from domain.errors import (
    ConflictError,
    DomainError,
    EffectRefusedError,
    ErrorCode,
    RefusedError,
    SettlementRefusedError,
)
from domain.instructions import ClaimEffect
from domain.journal import collection
from domain.limits import LimitSet
from domain.settlement import Settlement
from domain.waiver import liability_standard
from tests.storage.books import BANK, NOW, Books


def claim(payment_id: str, **changes: object) -> ClaimEffect:
    values = {"now": NOW, "kind": "payment", "id": payment_id, "step": "DB", "request_number": f"DB{payment_id[4:]}"}
    return ClaimEffect.model_validate(values | changes)


def succeeded(books: Books, payment: dict[str, object], **changes: object) -> Settlement:
    pid = str(payment["id"])
    amount, fee = int(str(payment["amount_minor"])), int(str(payment["fee_minor"]))
    values = {
        "key": f"{pid}:succeeded", "kind": "payment", "id": pid, "expect": ("sending", "unknown"), "state": "succeeded",
        "at": NOW, "action": "debit", "outcome": "done", "bank_reference": "REF1", "booked_at": NOW,
        "effect_number": f"DB{pid[4:]}", "effect_outcome": "succeeded", "event_type": "payment.succeeded",
        "transfers": collection(pid, BANK, f"merchant_pending:{books.merchant_id}:CNY", amount, fee, "CNY", NOW),
    }  # fmt: skip
    return Settlement.model_validate(values | changes)


async def paid(books: Books, amount_minor: int = 10_000) -> dict[str, object]:
    """A payment that went all the way."""
    await books.enable_waiver(20_000) if not await books.value("SELECT count(*) FROM app.user_waiver") else None
    payment = await books.instructions.accept_payment(books.payment(amount_minor))
    await books.instructions.claim_effect(claim(payment["id"]))
    await books.instructions.settle(succeeded(books, payment))
    return payment


async def test_an_accepted_payment_waits_for_its_code_and_says_so(books: Books) -> None:
    payment = await books.instructions.accept_payment(books.payment())
    assert payment["state"] == "awaiting_code"
    assert payment["verification"] == "code"
    assert payment["waiting_for"]["reason"] == "process_start"
    assert payment["waiting_for"]["deadline"] == payment["order_expires_at"]
    assert await books.value("SELECT count(*) FROM app.event WHERE type = 'payment.accepted'") == 1


async def test_a_settled_payment_is_in_the_ledger_the_log_and_the_outbox_once(books: Books) -> None:
    payment = await paid(books)
    assert await books.instructions.settle(succeeded(books, payment)) == "succeeded"
    assert await books.balance(f"reserve:{BANK}:CNY") == 10_000
    assert await books.balance(f"merchant_pending:{books.merchant_id}:CNY") == 9_940
    assert await books.balance("fee_income:CNY") == 60
    kinds = await books.value(
        "SELECT array_agg(type ORDER BY sequence) FROM app.event WHERE object_id = :p", p=payment["id"]
    )
    assert kinds == ["payment.accepted", "payment.succeeded"]
    body = await books.value("SELECT body->>'state' FROM app.event WHERE type = 'payment.succeeded'")
    assert body == "succeeded"
    outcome = await books.value("SELECT outcome FROM app.effect WHERE subject_id = :p", p=payment["id"])
    assert outcome == "succeeded"


async def test_a_settlement_that_does_not_balance_its_books_changes_nothing(books: Books) -> None:
    await books.enable_waiver(20_000)
    payment = await books.instructions.accept_payment(books.payment())
    await books.instructions.claim_effect(claim(payment["id"]))
    broken = succeeded(books, payment)
    wrong = broken.transfers[0].model_copy(update={"debit": "reserve:NONE:CNY"})
    with pytest.raises(SettlementRefusedError, match="account_not_found"):
        await books.instructions.settle(broken.model_copy(update={"transfers": (wrong,)}))
    assert await books.value("SELECT state FROM app.payment") == "sending"
    assert await books.value("SELECT count(*) FROM ledger.transfer") == 0


async def test_one_bad_settlement_hurts_no_other_in_its_batch(books: Books) -> None:
    await books.enable_waiver(20_000)
    payments = [await books.instructions.accept_payment(books.payment()) for _ in range(5)]
    for payment in payments:
        await books.instructions.claim_effect(claim(payment["id"]))
    settlements = [succeeded(books, payment) for payment in payments]
    settlements[2] = settlements[2].model_copy(update={"expect": ("ready",)})
    wrong = settlements[3].transfers[0].model_copy(update={"amount": 10**13, "currency": "USD"})
    settlements[3] = settlements[3].model_copy(update={"transfers": (wrong,)})
    answers = await asyncio.gather(*(books.instructions.settle(s) for s in settlements), return_exceptions=True)
    assert [a if isinstance(a, str) else type(a).__name__ for a in answers] == [
        "succeeded", "succeeded", "SettlementRefusedError", "SettlementRefusedError", "succeeded",
    ]  # fmt: skip
    assert await books.balance(f"reserve:{BANK}:CNY") == 30_000


async def test_the_same_settlement_fifty_times_at_once_books_once(books: Books) -> None:
    await books.enable_waiver(20_000)
    payment = await books.instructions.accept_payment(books.payment())
    await books.instructions.claim_effect(claim(payment["id"]))
    answers = await asyncio.gather(
        *(books.instructions.settle(succeeded(books, payment)) for _ in range(50)), return_exceptions=True
    )
    refused = [a for a in answers if not isinstance(a, str)]
    assert all(isinstance(a, SettlementRefusedError) and a.error == "try_again" for a in refused)
    assert await books.balance(f"reserve:{BANK}:CNY") == 10_000
    assert await books.value("SELECT count(*) FROM app.event WHERE type = 'payment.succeeded'") == 1


async def test_one_hundred_payments_at_once_stay_within_the_day_limit(books: Books) -> None:
    caps = LimitSet(per_transaction_minor=10_000, per_day_minor=600_000, per_month_minor=5_000_000)
    answers = await asyncio.gather(
        *(books.instructions.accept_payment(books.payment(10_000, limit_set=caps)) for _ in range(100)),
        return_exceptions=True,
    )
    refused = [a for a in answers if isinstance(a, RefusedError)]
    assert len(refused) == 40
    assert {a.code for a in refused} == {ErrorCode.LIMIT_PER_DAY}
    assert await books.value("SELECT used_minor FROM app.limit_usage WHERE window_kind = 'day'") == 600_000
    assert (
        await books.value("SELECT count(*) FROM app.operation WHERE action = 'accept_payment' AND outcome = 'refused'")
        == 40
    )


async def test_a_failed_payment_gives_its_limit_back_once(books: Books) -> None:
    payment = await books.instructions.accept_payment(books.payment(10_000))
    failed = Settlement(
        key=f"{payment['id']}:failed", kind="payment", id=payment["id"], expect=("awaiting_code",), state="failed",
        at=NOW, action="collect_payment", outcome="failed", reason="code_declined", release_limits=True,
        event_type="payment.failed",
    )  # fmt: skip
    await books.instructions.settle(failed)
    await books.instructions.settle(failed)
    assert await books.value("SELECT sum(used_minor) FROM app.limit_usage") == 0


async def test_an_order_is_paid_once_and_a_failed_payment_frees_it(books: Books) -> None:
    first = await books.instructions.accept_payment(books.payment(order_number="order-1"))
    with pytest.raises(ConflictError) as conflict:
        await books.instructions.accept_payment(books.payment(order_number="order-1"))
    assert conflict.value.code is ErrorCode.ORDER_IN_PROGRESS
    assert conflict.value.subject_id == first["id"]
    await books.run("UPDATE app.payment SET state = 'failed'")
    assert (await books.instructions.accept_payment(books.payment(order_number="order-1")))["id"] != first["id"]


async def test_twenty_payments_of_one_order_at_once_become_one(books: Books) -> None:
    answers = await asyncio.gather(
        *(books.instructions.accept_payment(books.payment(order_number="order-1")) for _ in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(a, dict) for a in answers) == 1
    assert {a.code for a in answers if isinstance(a, DomainError)} == {ErrorCode.ORDER_IN_PROGRESS}


@pytest.mark.parametrize(("amount", "verification"), [(5_000, "waived"), (5_001, "code"), (1, "waived")])
async def test_equal_to_the_limit_is_free_of_a_code_and_one_fen_more_is_not(
    books: Books, amount: int, verification: str
) -> None:
    """A3.11c."""
    await books.enable_waiver(5_000)
    payment = await books.instructions.accept_payment(books.payment(amount, fee_minor=0))
    assert payment["verification"] == verification


async def test_a_waived_payment_is_marked_with_the_higher_standard_of_fault(books: Books) -> None:
    """A3.11f: the database and `domain.waiver` say the same of each payment."""
    await books.enable_waiver(5_000)
    for amount in (5_000, 5_001):
        payment = await books.instructions.accept_payment(books.payment(amount, fee_minor=0))
        kept = await books.value("SELECT liability_standard FROM app.payment WHERE id = :id", id=payment["id"])
        assert kept == liability_standard(payment["verification"])
    assert await books.value("SELECT count(DISTINCT liability_standard) FROM app.payment") == 2


async def test_the_law_caps_a_merchant_limit_that_is_higher(books: Books) -> None:
    """Q7: min(merchant, issuer, law)."""
    await books.enable_waiver(50_000)
    over = await books.instructions.accept_payment(books.payment(20_001))
    assert over["verification"] == "code"


async def test_a_code_is_needed_even_for_one_fen_without_the_users_authorisation(books: Books) -> None:
    """A3.11b."""
    await books.enable_waiver()
    await books.run("UPDATE app.user_waiver SET authorised_version = NULL")
    assert (await books.instructions.accept_payment(books.payment(1, fee_minor=0)))["verification"] == "code"


async def test_the_first_waived_payment_without_a_recorded_notice_is_refused(books: Books) -> None:
    """A3.11d."""
    await books.enable_waiver()
    await books.run("UPDATE app.user_waiver SET noticed_version = NULL")
    with pytest.raises(RefusedError) as refused:
        await books.instructions.accept_payment(books.payment(100, fee_minor=0))
    assert refused.value.code is ErrorCode.WAIVER_NOTICE_REQUIRED


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ("UPDATE app.merchant SET state = 'suspended'", ErrorCode.MERCHANT_SUSPENDED),
        ("UPDATE app.merchant SET contract_until = '2026-01-01'", ErrorCode.MERCHANT_SUSPENDED),
        ("UPDATE app.end_user SET state = 'suspended'", ErrorCode.USER_NOT_ACTIVE),
        ("UPDATE app.end_user SET region = 'KP'", ErrorCode.REGION_NOT_SERVED),
        ("UPDATE app.agreement_version SET in_force_until = '2026-11-01'", ErrorCode.AGREEMENT_REQUIRED),
        ("UPDATE app.binding SET state = 'unbinding'", ErrorCode.BINDING_NOT_OPEN),
        ("UPDATE app.partner SET enabled = false", ErrorCode.PARTNER_NOT_AVAILABLE),
    ],
)
async def test_what_stands_in_the_way_refuses_a_payment_and_is_recorded(
    books: Books, spoil: str, code: ErrorCode
) -> None:
    await books.run(spoil)
    with pytest.raises(DomainError) as refused:
        await books.instructions.accept_payment(books.payment())
    assert refused.value.code is code
    assert await books.value("SELECT count(*) FROM app.payment") == 0
    assert await books.value("SELECT count(*) FROM app.limit_usage") == 0
    recorded = await books.value("SELECT reason FROM app.operation WHERE outcome = 'refused'")
    assert recorded == code.value.lower()


async def test_a_debit_is_claimed_once_and_a_second_claim_is_told_so(books: Books) -> None:
    await books.enable_waiver(20_000)
    payment = await books.instructions.accept_payment(books.payment())
    answers = await asyncio.gather(*(books.instructions.claim_effect(claim(payment["id"])) for _ in range(20)))
    assert sorted(a.already for a in answers) == [False] + [True] * 19
    opened = await books.bank_vault.open_agreement(books.user_id, answers[0].sealed)
    assert opened == "AG-1"


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        ("UPDATE app.end_user SET state = 'suspended'", "user_not_active"),
        ("UPDATE app.partner SET enabled = false", "partner_not_available"),
        ("UPDATE app.payment SET order_expires_at = '2026-01-01'", "order_expired"),
        ("UPDATE app.payment SET state = 'failed'", "state_conflict"),
    ],
)
async def test_the_send_claim_is_refused_by_what_stands_in_the_way(books: Books, spoil: str, error: str) -> None:
    await books.enable_waiver(20_000)
    payment = await books.instructions.accept_payment(books.payment())
    await books.run(spoil)
    with pytest.raises(EffectRefusedError, match=error):
        await books.instructions.claim_effect(claim(payment["id"]))
    assert await books.value("SELECT count(*) FROM app.effect") == 0


async def test_a_final_state_does_not_change_even_for_the_owner(books: Books) -> None:
    await paid(books)
    with pytest.raises(Exception, match="illegal step"):
        await books.run("UPDATE app.payment SET state = 'failed'")


async def test_two_refunds_at_once_never_give_back_more_than_was_paid(books: Books) -> None:
    payment = await paid(books)
    await paid(books)
    answers = await asyncio.gather(
        *(books.instructions.accept_refund(books.refund(str(payment["id"]), 3_000)) for _ in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(a, dict) for a in answers) == 3
    assert {a.code for a in answers if isinstance(a, DomainError)} == {ErrorCode.REFUND_EXCEEDS_PAYMENT}
    held = await books.value(
        "SELECT b.held FROM ledger.balance b JOIN ledger.account a ON a.id = b.account_id WHERE a.code = :c",
        c=f"merchant_pending:{books.merchant_id}:CNY",
    )
    fees = await books.value("SELECT sum(fee_back_minor) FROM app.refund")
    assert held + fees == 9_000
    assert fees == 60 * 9_000 // 10_000


async def test_a_full_refund_gives_the_whole_fee_back(books: Books) -> None:
    payment = await paid(books)
    for part in (3_333, 3_333, 3_334):
        await books.instructions.accept_refund(books.refund(str(payment["id"]), part))
    assert await books.value("SELECT sum(fee_back_minor) FROM app.refund") == 60


async def test_a_refund_of_money_that_was_not_received_is_refused(books: Books) -> None:
    payment = await books.instructions.accept_payment(books.payment())
    with pytest.raises(ConflictError) as refused:
        await books.instructions.accept_refund(books.refund(str(payment["id"]), 1))
    assert refused.value.code is ErrorCode.PAYMENT_NOT_REFUNDABLE


async def test_limits_of_another_day_are_counted_apart(books: Books) -> None:
    caps = LimitSet(per_transaction_minor=10_000, per_day_minor=10_000, per_month_minor=15_000)
    await books.instructions.accept_payment(books.payment(10_000, limit_set=caps))
    tomorrow = NOW + timedelta(days=1)
    with pytest.raises(RefusedError) as refused:
        await books.instructions.accept_payment(books.payment(10_000, limit_set=caps, now=tomorrow))
    assert refused.value.code is ErrorCode.LIMIT_PER_MONTH
    assert await books.value("SELECT count(*) FROM app.limit_usage WHERE window_start = '2026-11-24'") == 0


async def test_the_app_role_cannot_write_past_the_functions(books: Books) -> None:
    import sqlalchemy as sa

    tables = await books.value("SELECT array_agg(tablename ORDER BY tablename) FROM pg_tables WHERE schemaname = 'app'")
    assert len(tables) > 10
    for table in tables:
        for statement in (
            f"DELETE FROM app.{table}",  # noqa: S608 - a table's name
            f"TRUNCATE app.{table}",
            f"INSERT INTO app.{table} DEFAULT VALUES",
        ):
            with pytest.raises(Exception, match="permission denied"):
                async with books.app.begin() as connection:
                    await connection.execute(sa.text(statement))


async def test_records_cannot_be_changed_even_by_the_owner(books: Books) -> None:
    for table in ("operation", "consent", "bank_callback"):
        await books.instructions.accept_payment(books.payment())
        with pytest.raises(Exception, match="append-only"):
            await books.run(f"TRUNCATE app.{table}")
    with pytest.raises(Exception, match="append-only"):
        await books.run("DELETE FROM app.operation")


async def test_the_database_and_the_domain_agree_on_the_legal_steps(books: Books) -> None:
    from domain import states

    rows = await books.value("SELECT jsonb_agg(jsonb_build_array(subject, from_state, to_state)) FROM app.legal_step")
    steps: dict[str, Mapping[StrEnum, frozenset[StrEnum]]] = {
        kind: getattr(states, f"{kind}_steps".upper()) for kind in {row[0] for row in rows}
    }
    assert len(steps) == 10
    wanted = {(kind, a.value, b.value) for kind, table in steps.items() for a, after in table.items() for b in after}
    assert {tuple(row) for row in rows} == wanted
