"""Pulling the plug in between: before, after, twice. At most one debit, and our books equal the bank's."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from domain.identifiers import BankStep, request_number
from tests.storage.books import BANK, LIMITS
from tests.workflows.booking_bank import BookingBank, KilledError, Weather
from tests.workflows.conftest import House

Plug = Literal["runs", "killed_before", "killed_after"]
RICH = LIMITS.model_copy(update={"per_day_minor": 10**12, "per_month_minor": 10**12})
PLUGS: list[list[Plug]] = [
    ["killed_before"], ["killed_after"], ["killed_before", "killed_after"], ["killed_after", "killed_after"],
]  # fmt: skip


class Plugs:
    """Pulls the plug before or after calls of one of our own steps, as listed, and then leaves it in."""

    def __init__(self, call: Callable[[Any], Awaitable[Any]], plugs: Iterable[Plug] = ()) -> None:
        self._call = call
        self.plugs = deque(plugs)

    async def __call__(self, command: Any) -> Any:
        plug = self.plugs.popleft() if self.plugs else "runs"
        if plug == "killed_before":
            raise KilledError
        answer = await self._call(command)
        if plug == "killed_after":
            raise KilledError
        return answer


async def assert_our_books_equal_the_banks(house: House, bank: BookingBank, payment: dict[str, Any]) -> None:
    state = (await house.payment(payment["id"]))["state"]
    debit, back = (request_number(step, payment["id"]) for step in (BankStep.DEBIT, BankStep.LATE_REFUND))
    given_back = sum(bank.booked[f"{back}{suffix}"] for suffix in ("", "01", "02", "03"))
    assert bank.booked[debit] <= 1
    assert (state, bank.booked[debit], given_back) in {
        ("succeeded", 1, 0), ("failed", 0, 0), ("closed", 0, 0), ("late_refunded", 1, 1),
    }  # fmt: skip
    assert await house.books.balance(f"reserve:{BANK}:CNY") == bank.balance_minor
    assert await house.books.balance("suspense:CNY") == 0
    succeeded = await house.books.value(
        "SELECT coalesce(sum(amount_minor), 0) FROM app.payment WHERE state = 'succeeded'"
    )
    assert succeeded == bank.balance_minor
    kept = await house.books.value("SELECT coalesce(sum(used_minor), 0) FROM app.limit_usage WHERE window_kind = 'day'")
    given_up = "SELECT coalesce(sum(amount_minor), 0) FROM app.payment WHERE state = 'late_refunded'"
    assert kept == succeeded + await house.books.value(given_up)


@pytest.fixture
def bank(house: House) -> BookingBank:
    house.bank.stand_in = bank = BookingBank()
    return bank


@pytest.mark.parametrize("plugs", PLUGS, ids="+".join)
async def test_a_kill_around_the_send_claim_debits_once(
    house: House, bank: BookingBank, monkeypatch: pytest.MonkeyPatch, plugs: list[Plug]
) -> None:
    payment = await house.accept_waived()
    monkeypatch.setattr(house.books.instructions, "claim_effect", Plugs(house.books.instructions.claim_effect, plugs))
    assert (await house.collect(payment)).state == "succeeded"
    await assert_our_books_equal_the_banks(house, bank, payment)
    assert bank.is_booked(request_number(BankStep.DEBIT, payment["id"]))


@pytest.mark.parametrize("plugs", PLUGS, ids="+".join)
async def test_a_kill_around_the_sending_debits_once(house: House, bank: BookingBank, plugs: list[Weather]) -> None:
    bank.weather.extend(plugs)
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "succeeded"
    await assert_our_books_equal_the_banks(house, bank, payment)


@pytest.mark.parametrize("plugs", PLUGS, ids="+".join)
async def test_a_kill_around_the_settlement_books_once(
    house: House, bank: BookingBank, monkeypatch: pytest.MonkeyPatch, plugs: list[Plug]
) -> None:
    payment = await house.accept_waived()
    monkeypatch.setattr(house.books.instructions, "settle", Plugs(house.books.instructions.settle, plugs))
    assert (await house.collect(payment)).state == "succeeded"
    await assert_our_books_equal_the_banks(house, bank, payment)
    assert await house.books.value("SELECT count(*) FROM ledger.transfer") == 2
    assert await house.events(payment["id"]) == ["payment.accepted", "payment.succeeded"]


@pytest.mark.parametrize("step", ["claim_effect", "settle", "bank"])
async def test_a_kill_around_any_step_of_a_refund_pays_it_once(
    house: House, bank: BookingBank, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    payment = await house.accept_waived()
    await house.collect(payment)
    calls = Plugs(getattr(house.books.instructions, step)) if step != "bank" else None
    if calls is not None:
        monkeypatch.setattr(house.books.instructions, step, calls)
    for number, plugs in enumerate(PLUGS, start=1):
        refund = await house.accept_refund(payment["id"], 1_000)
        (bank.weather if calls is None else calls.plugs).extend(plugs)  # type: ignore[arg-type]
        assert (await house.refund(refund)).state == "succeeded"
        assert bank.booked[request_number(BankStep.REFUND, refund["id"])] == 1
        assert await house.books.balance(f"reserve:{BANK}:CNY") == bank.balance_minor == 10_000 - 1_000 * number


WEATHER = st.lists(
    st.sampled_from(
        ["fair", "declined", "processing", "processing_then_declined", "lost", "unheard", "unheard_declined",
         "killed_before", "killed_after"]
    ),
    max_size=14,
)  # fmt: skip
OUR_PLUGS = st.lists(st.sampled_from(["runs", "runs", "killed_before", "killed_after"]), max_size=3)
LIFE_SECONDS = st.sampled_from([5, 60, 900])


@pytest.mark.long
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(weather=WEATHER, claim_plugs=OUR_PLUGS, settle_plugs=OUR_PLUGS, life_seconds=LIFE_SECONDS)
@example(weather=["processing", *["lost"] * 12], claim_plugs=[], settle_plugs=["killed_after"], life_seconds=5)
@example(
    weather=["killed_after", "lost", "fair", "declined"], claim_plugs=["killed_after"], settle_plugs=[], life_seconds=5
)
@example(weather=["processing", *["unheard"] * 9, "fair", "declined"], claim_plugs=[], settle_plugs=[], life_seconds=5)
async def test_whatever_the_weather_our_books_equal_the_banks(
    house: House,
    bank: BookingBank,
    *,
    weather: list[Weather],
    claim_plugs: list[Plug],
    settle_plugs: list[Plug],
    life_seconds: int,
) -> None:
    payment = await house.accept_waived(
        limit_set=RICH, order_expires_at=await house.now() + timedelta(seconds=life_seconds)
    )
    instructions = house.books.instructions
    bank.weather.clear()
    bank.weather.extend(weather)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instructions, "claim_effect", Plugs(instructions.claim_effect, claim_plugs))
        patch.setattr(instructions, "settle", Plugs(instructions.settle, settle_plugs))
        await house.collect(payment)
    await assert_our_books_equal_the_banks(house, bank, payment)
