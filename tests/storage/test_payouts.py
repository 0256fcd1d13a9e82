"""Accepting and confirming payouts on the real database: only confirmed funds, held at once, within limits."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from domain.errors import ConflictError, DomainError, ErrorCode, NotFoundError
from domain.limits import LimitSet
from ledger.verify import verify
from storage.payouts import PayoutReading
from storage.unattended import find_unattended, find_unfinished
from tests.storage.books import BANK, NOW, OTHER_BANK, Books
from tests.storage.deciders import Deciders
from tests.storage.test_lock_order import another_user, deadlocks

SECOND = timedelta(seconds=1)


async def refused(books: Books, payee_id: str, **changes: Any) -> ErrorCode:
    with pytest.raises(DomainError) as error:
        await books.instructions.accept_payout(books.payout(payee_id, **changes))
    return error.value.code


async def test_amount_and_fee_are_held_from_the_acceptance_on(books: Books) -> None:
    await books.fund(30_000)
    payee_id = await books.known_payee()
    command = books.payout(payee_id, 10_000)
    payout = await books.instructions.accept_payout(command)
    assert await books.instructions.accept_payout(command) == payout
    assert (payout["state"], payout["kind"], payout["bank_code"]) == ("checking", "withdrawal", BANK)
    assert payout["waiting_for"]["reason"] == "process_start"
    assert (payout["confirmation"], payout["return"], payout["predicted_arrival"]) == (None, None, None)
    user = f"user:{books.user_id}:CNY"
    assert (await books.balance(user), await books.held(user)) == (30_000, 10_200)
    assert (await books.balance(f"reserve:{BANK}:CNY"), await books.held(f"reserve:{BANK}:CNY")) == (30_000, 10_000)
    assert await books.value("SELECT used_minor FROM app.limit_usage WHERE window_kind = 'day'") == 10_000
    assert await books.value("SELECT count(*) FROM app.event WHERE type = 'payout.accepted'") == 1
    assert (await verify(books.owner)).is_sound


async def test_money_that_is_not_there_is_never_advanced(books: Books) -> None:
    payee_id = await books.known_payee()
    assert await refused(books, payee_id) is ErrorCode.INSUFFICIENT_FUNDS
    await books.fund(10_100)
    # Enough for the amount, and not for the fee.
    assert await refused(books, payee_id) is ErrorCode.INSUFFICIENT_FUNDS
    payment = await books.instructions.accept_payment(books.payment(payee_kind="user"))
    assert payment["state"] == "awaiting_code"
    assert await refused(books, payee_id) is ErrorCode.INSUFFICIENT_FUNDS
    assert await books.value("SELECT count(*) FROM ledger.transfer WHERE action = 'hold'") == 0
    assert await books.value("SELECT count(*) FROM app.payout") == 0
    assert await books.value("SELECT count(*) FROM app.limit_usage WHERE used_minor > 0 AND subject LIKE 'user:%'") == 2


async def test_the_next_bank_pays_if_the_first_lacks_money_or_is_off(books: Books) -> None:
    await books.open_bank()
    await books.fund(10_200, BANK)
    await books.fund(30_600, OTHER_BANK)
    payee_ids = [await books.known_payee() for _ in range(4)]
    both, caps = (BANK, OTHER_BANK), LimitSet(per_transaction_minor=10**9, per_day_minor=10**9, per_month_minor=10**9)
    sets = [(f"bank:{bank}", caps) for bank in both]
    first = await books.instructions.accept_payout(books.payout(payee_ids[0], banks=both, limit_sets=sets))
    second = await books.instructions.accept_payout(books.payout(payee_ids[1], banks=both, limit_sets=sets))
    assert (first["bank_code"], second["bank_code"]) == (BANK, OTHER_BANK)
    used = await books.value(
        "SELECT jsonb_object_agg(subject, used_minor) FROM app.limit_usage WHERE window_kind = 'day'"
    )
    assert used == {f"bank:{BANK}": 10_000, f"bank:{OTHER_BANK}": 10_000}
    assert await refused(books, payee_ids[2], banks=(BANK,)) is ErrorCode.PAYOUT_BANK_WITHOUT_FUNDS
    await books.run("UPDATE app.partner SET enabled = false")
    assert await refused(books, payee_ids[2], banks=both) is ErrorCode.PARTNER_NOT_AVAILABLE


async def counted(books: Books, payout: dict[str, Any]) -> list[tuple[str, datetime]]:
    """What a rule about a user's earlier payouts counts for this one, in the order of the books, and as of when."""
    rows = await books.value(
        "SELECT jsonb_agg(jsonb_build_array(x.value->>'id', x.value->>'accepted_at') ORDER BY o.accepted_number)"
        " FROM jsonb_array_elements(app.risk_inputs(:id, :at)->'payouts') x JOIN app.payout o ON o.id = x.value->>'id'",
        id=payout["id"], at=NOW,
    )  # fmt: skip
    return [(row[0], datetime.fromisoformat(row[1])) for row in rows or ()]


async def test_of_two_payouts_the_one_that_is_in_the_books_first_counts_for_the_other(books: Books) -> None:
    """Whoever was late for the lock may have looked at the clock earlier; a count of earlier ones misses neither."""
    await books.fund(100_000)
    payee_ids = [await books.known_payee() for _ in range(3)]
    first, second, third = [
        await books.instructions.accept_payout(books.payout(payee_id, now=now))
        for payee_id, now in zip(payee_ids, (NOW, NOW - SECOND, NOW), strict=True)
    ]
    assert await counted(books, first) == []
    assert await counted(books, second) == [(first["id"], NOW - SECOND)]
    assert await counted(books, third) == [(first["id"], NOW), (second["id"], NOW - SECOND)]


async def test_one_clock_that_is_ahead_dates_no_other_payout(books: Books) -> None:
    """Its own payout counts for those after it, and not as later than they are."""
    await books.fund(100_000)
    payee_ids = [await books.known_payee() for _ in range(2)]
    ahead = await books.instructions.accept_payout(books.payout(payee_ids[0], now=NOW + timedelta(hours=1)))
    after = await books.instructions.accept_payout(books.payout(payee_ids[1], now=NOW))
    assert datetime.fromisoformat(after["accepted_at"]) == datetime.fromisoformat(after["state_since"]) == NOW
    assert await counted(books, after) == [(ahead["id"], NOW)]
    assert not [name for name in after if "number" in name and name != "order_number"]


async def test_one_hundred_payouts_at_once_against_funds_for_sixty_are_sixty(books: Books) -> None:
    await books.fund(60 * 10_200)
    payee_ids = [await books.known_payee(most=100) for _ in range(100)]
    caps = LimitSet(per_transaction_minor=10**9, per_day_minor=10**9, per_month_minor=10**9)
    answers = await asyncio.gather(
        *(books.instructions.accept_payout(books.payout(payee, limit_sets=[("user:u", caps)])) for payee in payee_ids),
        return_exceptions=True,
    )
    assert Counter("accepted" if isinstance(a, dict) else str(a) for a in answers) == {
        "accepted": 60, "INSUFFICIENT_FUNDS": 40,
    }  # fmt: skip
    assert await books.held(f"user:{books.user_id}:CNY") == 60 * 10_200
    assert await books.value("SELECT used_minor FROM app.limit_usage WHERE window_kind = 'day'") == 600_000
    assert await books.value("SELECT count(*) FROM app.payout") == 60
    assert (await verify(books.owner)).is_sound


async def test_two_users_cannot_together_exceed_the_limit_of_one_account(books: Books) -> None:
    await books.fund(100_000)
    other_user, _ = await another_user(books)
    await books.run("SELECT ledger.open_accounts(ARRAY[:a])", a=f"user:{other_user}:CNY")
    await books.fund(100_000, user_id=other_user)
    await books.vault.ensure_user_key(other_user)
    payees = {user: await books.known_payee(user_id=user, account_index="one") for user in (books.user_id, other_user)}
    caps = LimitSet(per_transaction_minor=10_000, per_day_minor=10_000, per_month_minor=10_000)
    before = await deadlocks(books)
    answers = await asyncio.gather(
        *(
            books.instructions.accept_payout(books.payout(payee, user_id=user, limit_sets=[("account:one", caps)]))
            for user, payee in payees.items()
        ),
        return_exceptions=True,
    )
    assert Counter("accepted" if isinstance(a, dict) else str(a) for a in answers) == {
        "accepted": 1, "LIMIT_PER_DAY": 1,
    }  # fmt: skip
    assert await deadlocks(books) == before


async def test_a_second_payout_to_one_account_within_a_day_is_confirmed_in_time_or_not_at_all(books: Books) -> None:
    await books.fund(100_000)
    payee_id = await books.known_payee()
    await books.instructions.accept_payout(books.payout(payee_id))
    reading = PayoutReading(books.app)
    facts = await reading.facts_for(books.user_id, payee_id, NOW, books.payout(payee_id).limits)
    assert facts is not None
    assert (facts.confirmation_grounds, facts.used_minor) == (("repeated_payee",), (10_000, 10_000))
    second = await books.instructions.accept_payout(books.payout(payee_id))
    assert second["state"] == "awaiting_confirmation"
    assert second["confirmation"] == {
        "grounds": ["repeated_payee"], "deadline": "2026-11-23T02:15:00.000Z", "confirmed_at": None,
    }  # fmt: skip
    with pytest.raises(ConflictError, match="CONFIRMATION_CHANGED"):
        await books.instructions.confirm_payout(books.confirmation(second["id"], shown="1" * 64))
    confirmed = await books.instructions.confirm_payout(books.confirmation(second["id"], NOW + SECOND))
    assert (confirmed["state"], confirmed["waiting_for"]["reason"]) == ("checking", "risk_check")
    assert (
        await books.instructions.confirm_payout(books.confirmation(second["id"], NOW + timedelta(days=1))) == confirmed
    )
    third = await books.instructions.accept_payout(books.payout(payee_id))
    with pytest.raises(ConflictError, match="CONFIRMATION_EXPIRED"):
        await books.instructions.confirm_payout(books.confirmation(third["id"], NOW + timedelta(minutes=15)))
    with pytest.raises(NotFoundError):
        await books.instructions.confirm_payout(books.confirmation("po_" + "0" * 26))
    later = NOW + timedelta(hours=24)
    assert (await books.instructions.accept_payout(books.payout(payee_id, now=later)))["state"] == "checking"


async def test_a_name_that_differs_is_confirmed_and_refused_where_only_the_own_name_is_paid(books: Books) -> None:
    await books.fund(100_000)
    differs = await books.known_payee(relation="other", name_match="differs")
    assert await refused(books, differs, own_name_only=True) is ErrorCode.PAYEE_NAME_DIFFERS
    payout = await books.instructions.accept_payout(books.payout(differs))
    assert (payout["kind"], payout["confirmation"]["grounds"]) == ("transfer", ["payee_name_differs"])
    unknown = await books.known_payee(name_match="unknown")
    assert await refused(books, unknown, own_name_only=True) is ErrorCode.PAYEE_NAME_DIFFERS
    assert (await books.instructions.accept_payout(books.payout(unknown)))["state"] == "checking"


async def test_an_order_is_paid_out_once_until_it_ends_without_money_having_left(books: Books) -> None:
    await books.fund(100_000)
    payees = [await books.known_payee() for _ in range(3)]
    first = await books.instructions.accept_payout(books.payout(payees[0], order_number="ORDER-1"))
    with pytest.raises(ConflictError) as error:
        await books.instructions.accept_payout(books.payout(payees[1], order_number="ORDER-1"))
    assert (error.value.code, error.value.subject_id) == (ErrorCode.PAYOUT_ORDER_EXISTS, first["id"])
    for _ in range(2):
        await books.run(
            "SELECT app.end_payout(p, 'refused', 'risk_refused', :at, 'process', 'payout.refused') FROM app.payout p",
            at=NOW,
        )
    reading = PayoutReading(books.app)
    ended = await reading.payout(books.merchant_id, first["id"])
    assert ended is not None
    assert (ended["state"], ended["reason"], ended["waiting_for"]) == ("refused", "risk_refused", None)
    assert await books.held(f"user:{books.user_id}:CNY") == 0
    assert await books.value("SELECT max(used_minor) FROM app.limit_usage") == 0
    assert await books.value("SELECT count(*) FROM app.event WHERE type = 'payout.refused'") == 1
    second = await books.instructions.accept_payout(books.payout(payees[1], order_number="ORDER-1"))
    listed = await reading.payouts(books.merchant_id, None, 10, order_number="ORDER-1")
    assert [payout["id"] for payout in listed] == [second["id"], first["id"]]
    assert await reading.payouts(books.merchant_id, None, 10, user_id="usr_another") == []
    assert await reading.payout("mch_another", first["id"]) is None


async def test_what_stands_in_the_way_of_a_payout_refuses_it_at_once(books: Books, deciders: Deciders) -> None:
    await books.fund(100_000)
    payee_id = await books.known_payee()
    assert await refused(books, payee_id, user_id="usr_another") is ErrorCode.USER_NOT_FOUND
    assert await refused(books, "pye_another") is ErrorCode.PAYEE_NOT_FOUND
    order = {"issuer": "court", "number": "1", "demands": "hold", "expires_at": (NOW + timedelta(days=1)).isoformat()}
    await deciders.decide("authority_order.register", books.user_id, detail=order)
    assert await refused(books, payee_id) is ErrorCode.AUTHORITY_HOLD
    await deciders.decide(
        "authority_order.register", books.user_id, detail=order | {"demands": "release", "number": "2"}
    )
    # Lifted: what was refused stays refused, and what is asked anew is taken (A2.5b).
    assert await books.value("SELECT count(*) FROM app.payout") == 0
    await books.instructions.accept_payout(books.payout(payee_id))
    await deciders.decide("merchant.suspend", books.merchant_id)
    assert await refused(books, payee_id) is ErrorCode.MERCHANT_SUSPENDED


async def test_what_a_crash_leaves_of_payouts_is_found_and_what_sleeps_is_not(books: Books) -> None:
    await books.fund(100_000)
    payees = [await books.known_payee() for _ in range(3)]
    ids = [(await books.instructions.accept_payout(books.payout(payee)))["id"] for payee in payees]
    waits = (await books.instructions.accept_payout(books.payout(payees[0])))["id"]
    later, age = NOW + timedelta(seconds=30), timedelta(seconds=8)
    found = await find_unattended(books.app, later, age)
    assert {(item.kind, item.id) for item in found} == {("send_payout", payout) for payout in (*ids, waits)}
    assert found[0].resource["object"] == "payout"
    assert (found[0].merchant_id, found[0].resource["attempt"]) == (books.merchant_id, 0)
    # Nobody starts again and again what waits for its payer; once it is over, it is closed.
    assert waits not in {item.id for item in await find_unattended(books.app, NOW + timedelta(minutes=5), age)}
    assert waits in {item.id for item in await find_unattended(books.app, NOW + timedelta(minutes=16), age)}
    await books.instructions.confirm_payout(books.confirmation(waits))
    assert ("confirmed_payout", waits) in {
        (item.kind, item.id) for item in await find_unattended(books.app, later, age)
    }
    await books.schedule(ids[0], slot_at=NOW + timedelta(days=7))
    await books.run("UPDATE app.payout SET state = 'cooling_off', cool_until = :at WHERE id = :id", id=ids[1],
                    at=NOW + timedelta(days=1))  # fmt: skip
    overdue = {
        days: {item.id for item in await find_unfinished(books.app, NOW + timedelta(days=days), age, "", 100)}
        for days in (0.5, 2, 8)
    }
    assert overdue == {0.5: {ids[2], waits}, 2: {ids[1], ids[2], waits}, 8: {*ids, waits}}
