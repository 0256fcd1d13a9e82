"""Transfers, holds, replays and refusals, both when a batch is written at once and item by item."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tests.ledger.conftest import ALICE, BOB, DOLLARS, MERCHANT, RESERVE, Books, end, hold, pay_in, post


async def test_money_paid_in_is_at_the_bank_and_owed_to_the_user(books: Books) -> None:
    await books.must(pay_in("in", 100))
    assert await books.balances() == {RESERVE: (100, 0), ALICE: (100, 0)}


async def test_the_same_transfer_again_changes_nothing_and_says_so(books: Books) -> None:
    await books.must(pay_in("in", 100))
    assert await books.apply([pay_in("in", 100) | {"booked_at": "2026-11-23T00:00:00Z"}]) == [
        (None, {"replayed": True})
    ]
    assert await books.balances() == {RESERVE: (100, 0), ALICE: (100, 0)}


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 101},
        {"credit": BOB},
        {"instruction": "pay_other"},
        {"direction": "internal"},
        {"kind": "suspense"},
        {"reference": "new"},
        {"action": "hold"},
        {"credit": "user:nobody:CNY"},
    ],
)
async def test_a_key_used_for_other_content_is_refused(books: Books, change: dict[str, Any]) -> None:
    await books.must(pay_in("in", 100))
    ((error, detail),) = await books.apply([pay_in("in", 100) | change])
    assert (error, detail["key"]) == ("key_reused", "in")
    assert await books.count() == 1


@pytest.mark.parametrize(
    ("change", "error", "detail"),
    [
        ({"instruction": None}, "invalid_transfer", {"field": "instruction"}),
        ({"instruction": ""}, "invalid_transfer", {"field": "instruction"}),
        ({"kind": "gift"}, "invalid_transfer", {"field": "kind"}),
        ({"kind": "fee"}, "invalid_transfer", {"field": "reference"}),
        ({"kind": "reversal"}, "invalid_transfer", {"field": "reference"}),
        ({"direction": "sideways"}, "invalid_transfer", {"field": "direction"}),
        ({"action": "delete"}, "invalid_transfer", {"field": "action"}),
        ({"key": None}, "invalid_transfer", {"field": "key"}),
        ({"key": "k" * 101}, "invalid_transfer", {"field": "key"}),
        ({"reference": "张三 free text"}, "invalid_transfer", {"field": "reference"}),
        ({"booked_at": "infinity"}, "invalid_transfer", {"field": "booked_at"}),
        ({"booked_at": "2026-02-30T00:00:00Z"}, "invalid_transfer", {"field": "booked_at"}),
        ({"booked_at": "2026-02-20T00:00:00"}, "invalid_transfer", {"field": "booked_at"}),
        ({"surprise": 1}, "invalid_transfer", {"field": "unknown_field"}),
        ({"credit": RESERVE}, "invalid_transfer", {"field": "debit"}),
        ({"amount": 0}, "invalid_amount", {}),
        ({"amount": -1}, "invalid_amount", {}),
        ({"amount": 1.5}, "invalid_amount", {}),
        ({"amount": "7"}, "invalid_amount", {}),
        ({"amount": None}, "invalid_amount", {}),
        ({"amount": 10**13 + 1}, "invalid_amount", {}),
        ({"amount": 10**40}, "invalid_amount", {}),
        ({"credit": "user:nobody:CNY"}, "account_not_found", {"account": "user:nobody:CNY"}),
        ({"credit": DOLLARS}, "currency_mismatch", {"account": DOLLARS}),
        ({"currency": "USD"}, "currency_mismatch", {"account": RESERVE}),
    ],
)
@pytest.mark.parametrize("set_based", [True, False])
async def test_a_transfer_that_is_not_right_is_refused_by_code(
    books: Books, change: dict[str, Any], error: str, detail: dict[str, Any], set_based: bool
) -> None:
    answers = await books.apply([pay_in("good", 5)], [pay_in("bad", 100) | change], set_based=set_based)
    assert answers[0] == (None, None)
    assert answers[1][0] == error
    assert answers[1][1].items() >= detail.items()
    assert await books.balances() == {RESERVE: (5, 0), ALICE: (5, 0)}


@pytest.mark.parametrize("transfers", [None, 7, "x", {}, [None], [7], [[]], [{}]])
async def test_an_item_of_no_shape_at_all_hurts_no_other(books: Books, transfers: Any) -> None:
    answers = await books.apply_raw(
        [{"item": 0, "transfers": transfers}, {"item": 1, "transfers": [pay_in("in", 1)]}, {"item": 2, "transfers": []}]
    )
    assert [error for error, _ in answers] == ["invalid_transfer", None, None]


async def test_an_item_of_more_than_a_hundred_transfers_is_refused(books: Books) -> None:
    many = [pay_in(f"in{number}", 1) for number in range(101)]
    assert await books.apply(many) == [("too_many_transfers", {})]
    assert await books.apply(many[:100]) == [(None, None)]


async def test_the_transfers_of_an_item_happen_all_or_not_at_all(books: Books) -> None:
    await books.must(pay_in("in", 100))
    answers = await books.apply(
        [post("a", 60), post("b", 60)],
        [post("c", 100)],
        [post("d", 1, BOB, ALICE), post("a", 1)],
    )
    assert answers[0] == ("insufficient_funds", {"account": ALICE, "key": "b", "transfer": 1})
    assert answers[1:] == [(None, None), (None, None)]
    assert await books.balances() == {RESERVE: (100, 0), ALICE: (0, 0), BOB: (100, 0)}


async def test_an_item_replayed_in_part_adds_only_what_is_new(books: Books) -> None:
    await books.must(pay_in("in", 100))
    assert await books.apply([pay_in("in", 100), post("a", 10)]) == [(None, None)]
    assert await books.balances() == {RESERVE: (100, 0), ALICE: (90, 0), BOB: (10, 0)}


async def test_a_reserve_cannot_be_overdrawn_either(books: Books) -> None:
    await books.open("reserve:WLWB:CNY")
    await books.must(pay_in("in", 100))
    ((error, detail),) = await books.apply([post("out", 1, ALICE, "reserve:WLWB:CNY", kind="payout", direction="out")])
    assert (error, detail["account"]) == ("insufficient_funds", "reserve:WLWB:CNY")


async def test_what_is_held_cannot_be_spent_and_is_held_at_the_bank_too(books: Books) -> None:
    await books.must(pay_in("in", 100))
    await books.must(hold("h", 70))
    assert await books.balances() == {RESERVE: (100, 70), ALICE: (100, 70)}
    answers = await books.apply([post("much", 31)], [post("fits", 30)])
    assert [error for error, _ in answers] == ["insufficient_funds", None]


async def test_posting_a_part_of_a_hold_releases_the_rest(books: Books) -> None:
    await books.must(pay_in("in", 100))
    await books.must(hold("h", 70))
    await books.must(end("post_hold", "p", "h", 50))
    assert await books.balances() == {RESERVE: (50, 0), ALICE: (50, 0)}


async def test_posting_a_hold_without_an_amount_posts_all_of_it(books: Books) -> None:
    await books.must(pay_in("in", 100))
    await books.must(hold("h", 70))
    await books.must(end("post_hold", "p", "h"))
    assert await books.apply([end("post_hold", "p", "h", 70)]) == [(None, {"replayed": True})]
    assert await books.balances() == {RESERVE: (30, 0), ALICE: (30, 0)}


async def test_releasing_a_hold_gives_everything_back(books: Books) -> None:
    await books.must(pay_in("in", 100))
    await books.must(hold("h", 100))
    await books.must(end("release_hold", "r", "h"))
    assert await books.balances() == {RESERVE: (100, 0), ALICE: (100, 0)}


@pytest.mark.parametrize("first", ["post_hold", "release_hold"])
@pytest.mark.parametrize("second", ["post_hold", "release_hold"])
@pytest.mark.parametrize("set_based", [True, False])
async def test_a_hold_ends_once(books: Books, first: str, second: str, set_based: bool) -> None:
    await books.must(pay_in("in", 100))
    await books.must(hold("h", 70))
    await books.must(end(first, "one", "h"))
    ((error, _),) = await books.apply([end(second, "two", "h")], set_based=set_based)
    assert error == "hold_already_ended"


async def test_a_hold_may_begin_and_end_in_one_batch_and_in_one_item(books: Books) -> None:
    await books.must(pay_in("in", 100))
    answers = await books.apply(
        [hold("h", 70)], [end("post_hold", "p", "h", 20)], [hold("g", 80), end("release_hold", "r", "g")]
    )
    assert answers == [(None, None)] * 3
    assert await books.balances() == {RESERVE: (80, 0), ALICE: (80, 0)}


@pytest.mark.parametrize(
    ("transfer", "error"),
    [
        (end("post_hold", "x", "h", 71), "amount_exceeds_hold"),
        (end("post_hold", "x", "h", 0), "invalid_amount"),
        (end("release_hold", "x", "h", 5), "invalid_amount"),
        (end("post_hold", "x", "in"), "hold_not_found"),
        (end("post_hold", "x", "never"), "hold_not_found"),
        (end("post_hold", "x", "h") | {"debit": ALICE}, "invalid_transfer"),
    ],
)
async def test_a_hold_ends_only_as_it_may(books: Books, transfer: dict[str, Any], error: str) -> None:
    await books.must(pay_in("in", 100))
    await books.must(hold("h", 70))
    assert (await books.apply([transfer]))[0][0] == error
    assert await books.balances() == {RESERVE: (100, 70), ALICE: (100, 70)}


async def test_a_hold_needs_funds(books: Books) -> None:
    await books.must(pay_in("in", 100))
    assert (await books.apply([hold("h", 101)]))[0][0] == "insufficient_funds"


async def test_a_closed_account_takes_nothing_any_more(books: Books) -> None:
    await books.must(pay_in("in", 100))
    close = sa.text("SELECT ledger.close_account(:code)")
    with pytest.raises(DBAPIError, match="balance_check"):
        await books.connection.execute(close, {"code": ALICE})
    for _ in range(2):
        await books.connection.execute(close, {"code": BOB})
    answers = await books.apply([post("a", 1)], [post("b", 1, ALICE, MERCHANT)])
    assert answers[0] == ("account_closed", {"account": BOB, "key": "a", "transfer": 0})
    assert answers[1] == (None, None)


async def test_opening_an_account_twice_keeps_the_first(books: Books) -> None:
    await books.must(pay_in("in", 100))
    await books.open(ALICE, RESERVE, ALICE)
    assert await books.balances() == {RESERVE: (100, 0), ALICE: (100, 0)}


@pytest.mark.parametrize(
    "code",
    ["gift:CNY", "user:CNY", "user:a:b:CNY", "user:a:cny", "fee_income:x:CNY", "user:a b:CNY", "", "reserve:CNY"],
)
async def test_an_account_that_the_chart_does_not_know_cannot_be_opened(books: Books, code: str) -> None:
    with pytest.raises(DBAPIError):
        await books.open(code)


async def test_a_balance_beyond_any_sum_of_money_is_refused_not_wrapped(books: Books) -> None:
    await books.connection.execute(sa.text("ALTER TABLE ledger.balance DISABLE TRIGGER USER"))
    await books.connection.execute(sa.text("UPDATE ledger.balance SET posted = 9223372036854775800"))
    answers = await books.apply([pay_in("in", 100)], [pay_in("in2", 1)])
    assert [error for error, _ in answers] == ["balance_out_of_range", None]
