"""Each fault of the simulated banks, by the card that shows it: what becomes of the instruction, what is booked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from banks.simulator.cards import FAULT_ACCOUNTS, FAULT_CARDS
from banks.simulator.protocol import Operation
from tests.end_to_end.audit import books_of_the_banks
from tests.end_to_end.play import Merchant, until
from tests.end_to_end.world import World

BINDING_REFUSED = {
    1: "name_mismatch",
    2: "id_number_mismatch",
    3: "card_number_invalid",
    4: "mobile_mismatch",
    5: "card_not_supported",
    6: "card_lost_or_frozen",
    7: "rejected_by_risk",
}
BINDING_OPENS_ALL_THE_SAME = (8, 9, 10, 11, 15)
CODE_OF_BINDING_REFUSED = {12: "CODE_WRONG", 13: "CODE_EXPIRED"}
DEBIT_DECLINED = {
    20: "insufficient_funds",
    21: "bank_limit_exceeded",
    22: "card_lost_or_frozen",
    23: "rejected_by_risk",
    24: "agreement_ended",
    25: "other",
}
# Processing, then no; and two that somebody tried to forge into a success.
DEBIT_FAILS_IN_THE_END = (31, 38, 43)
DEBIT_SUCCEEDS_IN_THE_END = (30, 32, 33, 34, 35, 36, 37, 39, 41, 42, 44, 45)
REFUND_ENDS = {50: "failed", 51: "succeeded", 52: "failed", 53: "succeeded", 54: "succeeded"}
PAYMENT_CODE_WORKS_IN_THE_END = (60, 61, 64)
PAYMENT_CODE_REFUSED = {62: "CODE_WRONG", 63: "CODE_EXPIRED"}
# Not before a minute is over: tests/end_to_end/test_waiting_out.py.
WAITED_OUT = (14, 40, 65)


def test_every_fault_card_is_tried() -> None:
    groups: list[Iterable[int]] = [BINDING_REFUSED, BINDING_OPENS_ALL_THE_SAME, CODE_OF_BINDING_REFUSED, DEBIT_DECLINED]
    groups += [DEBIT_FAILS_IN_THE_END, DEBIT_SUCCEEDS_IN_THE_END, REFUND_ENDS, PAYMENT_CODE_WORKS_IN_THE_END]
    groups += [PAYMENT_CODE_REFUSED, WAITED_OUT]
    # Those of payouts are tried in tests/contracts/test_connector_payouts.py.
    assert sorted(number for group in groups for number in group) == sorted(FAULT_CARDS.keys() - FAULT_ACCOUNTS.keys())
    assert all(FAULT_CARDS[n].operation is Operation.DEBIT for n in (*DEBIT_DECLINED, *DEBIT_SUCCEEDS_IN_THE_END))


def bank_of(card: int) -> str:
    return ("HBRB", "WLWB")[card % 2]


async def test_an_issuers_no_to_the_four_elements_is_a_refused_binding_with_its_reason(
    world: World, merchant: Merchant
) -> None:
    async def apply(card: int) -> tuple[str, str]:
        payer = await merchant.register(bank_of(card), card)
        ended = await payer.apply()
        assert (await merchant.send("POST", "/v1/payments/preview", _order(payer))).status_code == 200
        refused = await merchant.send("POST", "/v1/payments", await payer.order(1_000))
        assert refused.json()["code"] == "BINDING_NOT_OPEN"
        return ended["state"], ended["reason"]

    found = await _each(BINDING_REFUSED, apply)
    assert found == {card: ("declined", reason) for card, reason in BINDING_REFUSED.items()}
    assert await world.wrong() == []


@pytest.mark.long
async def test_a_binding_whose_issuer_is_silent_or_broken_opens_once_the_payer_has_typed_the_code(
    world: World, merchant: Merchant
) -> None:
    async def bind(card: int) -> str:
        payer = await merchant.register(bank_of(card), card)
        state: str = (await payer.bind())["state"]
        return state

    assert await _each(BINDING_OPENS_ALL_THE_SAME, bind) == dict.fromkeys(BINDING_OPENS_ALL_THE_SAME, "open")


async def test_a_code_that_the_issuer_does_not_take_opens_no_binding(world: World, merchant: Merchant) -> None:
    async def bind(card: int) -> tuple[str, str]:
        payer = await merchant.register(bank_of(card), card)
        await payer.apply()
        refused = await payer.send_code(await payer.texted("SG", payer.binding_id))
        return refused.json()["code"], (await payer.binding())["state"]

    found = await _each(CODE_OF_BINDING_REFUSED, bind)
    assert found == {card: (code, "awaiting_code") for card, code in CODE_OF_BINDING_REFUSED.items()}


async def test_a_declined_debit_is_a_failed_payment_with_its_reason_and_costs_nobody_anything(
    world: World, merchant: Merchant
) -> None:
    found = await _debits(world, merchant, DEBIT_DECLINED)
    assert found == {card: ("failed", reason, 0) for card, reason in DEBIT_DECLINED.items()}
    assert (await merchant.get("/v1/balances"))["balances"][0]["posted_minor"] == 0
    assert await world.wrong() == []


@pytest.mark.long
async def test_a_debit_that_fails_after_all_or_was_forged_into_a_success_is_a_failed_payment(
    world: World, merchant: Merchant
) -> None:
    found = await _debits(world, merchant, DEBIT_FAILS_IN_THE_END)
    assert found == dict.fromkeys(DEBIT_FAILS_IN_THE_END, ("failed", "other", 0))
    assert await world.wrong() == []


@pytest.mark.long
async def test_a_debit_whose_answer_was_lost_late_doubled_or_unreadable_succeeds_and_is_booked_once(
    world: World, merchant: Merchant
) -> None:
    found = await _debits(world, merchant, DEBIT_SUCCEEDS_IN_THE_END)
    assert found == dict.fromkeys(DEBIT_SUCCEEDS_IN_THE_END, ("succeeded", None, 1))
    assert await world.wrong() == []


@pytest.mark.long
async def test_a_payment_code_that_was_texted_or_judged_in_silence_still_pays_once(
    world: World, merchant: Merchant
) -> None:
    async def pay(card: int) -> tuple[str, int]:
        payer = await merchant.payer(bank_of(card), card)
        payment = await payer.pay_to_the_end(30_000, within_seconds=60)
        return payment["state"], await _times_debited(world, payment["id"])

    found = await _each(PAYMENT_CODE_WORKS_IN_THE_END, pay)
    assert found == dict.fromkeys(PAYMENT_CODE_WORKS_IN_THE_END, ("succeeded", 1))
    assert await world.wrong() == []


async def test_a_payment_code_that_the_issuer_does_not_take_pays_nothing(world: World, merchant: Merchant) -> None:
    async def pay(card: int) -> tuple[str, str, int]:
        payer = await merchant.payer(bank_of(card), card)
        payment = await payer.pay(30_000)
        refused = await payer.enter_code(payment["id"])
        state = (await merchant.payment(payment["id"]))["state"]
        return refused.json()["code"], state, await _times_debited(world, payment["id"])

    found = await _each(PAYMENT_CODE_REFUSED, pay)
    assert found == {card: (code, "awaiting_code", 0) for card, code in PAYMENT_CODE_REFUSED.items()}


@pytest.mark.long
async def test_a_refund_ends_as_its_bank_says_and_what_the_bank_refused_is_the_merchants_again(
    world: World, merchant: Merchant
) -> None:
    waiver = await world.waiver(merchant)

    async def refund(card: int) -> tuple[str, int, int]:
        payer = await merchant.payer(bank_of(card), card, waiver=waiver)
        payment = await payer.pay_to_the_end(10_000)
        accepted = (await merchant.refund(payment["id"], 4_000)).json()
        ended = await merchant.refund_ended(accepted["id"], 60)
        after = await merchant.payment(payment["id"])
        return ended["state"], after["refunded_minor"], after["refunding_minor"]

    found = await _each(REFUND_ENDS, refund)
    given_back = {"succeeded": 4_000, "failed": 0}
    assert found == {card: (state, given_back[state], 0) for card, state in REFUND_ENDS.items()}
    [pending] = [item for item in (await merchant.get("/v1/balances"))["balances"] if item["account"] == "pending"]
    # 60 fen of each 10,000 are the fee, of which 24 go back with 4,000.
    assert pending["posted_minor"] == pending["available_minor"] == 5 * 9_940 - 3 * (4_000 - 24)
    assert await world.wrong() == []


@pytest.mark.long
async def test_banks_that_are_down_for_a_while_delay_payments_and_lose_and_double_none(
    world: World, merchant: Merchant
) -> None:
    waiver = await world.waiver(merchant)
    payers = await asyncio.gather(*(merchant.payer(bank_of(n), waiver=waiver) for n in range(6)))
    await world.control("down", {"seconds": 4})
    ended = await asyncio.gather(*(payer.pay_to_the_end(within_seconds=60) for payer in payers))
    assert [payment["state"] for payment in ended] == ["succeeded"] * 6
    assert await world.wrong() == []


@pytest.mark.parametrize(
    "kind",
    [*(pytest.param(kind, marks=pytest.mark.long) for kind in ("answer_forged", "error_before")), "time_out_after"],
)
async def test_an_issuer_that_misbehaves_at_the_unsigning_knows_the_card_no_more_in_the_end(
    world: World, merchant: Merchant, kind: str
) -> None:
    payer = await merchant.payer("WLWB")
    await world.control("faults", {"operation": "unsigns", "kind": kind, "card_number": payer.card})
    await merchant.done("DELETE", f"/v1/users/{payer.user_id}/bindings/{payer.binding_id}")
    assert (await until(payer.binding, ("unbound",), 60))["state"] == "unbound"


async def _debits(world: World, merchant: Merchant, cards: Iterable[int]) -> dict[int, Any]:
    """State and reason of one payment free of code with each card, and how often the bank booked it."""
    waiver = await world.waiver(merchant)

    async def pay(card: int) -> tuple[str, str | None, int]:
        payer = await merchant.payer(bank_of(card), card, waiver=waiver)
        payment = await payer.pay_to_the_end(within_seconds=60)
        return payment["state"], payment["reason"], await _times_debited(world, payment["id"])

    return await _each(cards, pay)


async def _times_debited(world: World, payment_id: str) -> int:
    number = f"DB{payment_id.removeprefix('pay_')}"
    banks = (await books_of_the_banks(world.simulator))["banks"].values()
    return sum(bank["debits_per_request_number"].get(number, 0) for bank in banks)


async def _each(cards: Iterable[int], play: Any) -> dict[int, Any]:
    """All at once: what they wait for is mostly a bank's silence."""
    numbers = list(cards)
    return dict(zip(numbers, await asyncio.gather(*(play(number) for number in numbers)), strict=True))


def _order(payer: Any) -> dict[str, Any]:
    own = {"user_id": payer.user_id, "binding_id": payer.binding_id, "order_number": "order-of-nobody"}
    return own | {"amount_minor": 1_000, "currency": "CNY", "payee_kind": "merchant"}
