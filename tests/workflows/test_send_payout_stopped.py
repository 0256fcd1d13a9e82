"""What stops a payout before its bank, for a while or for good: freezes, orders, switched-off banks, its withdrawal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain.decisions import DecisionKind
from tests.storage.books import BANK
from tests.storage.test_payouts_settled import CALLBACK
from tests.workflows.conftest import House
from tests.workflows.payouts import number_of
from tests.workflows.scripted_bank import PROCESSING, SUCCEEDED, UNKNOWN
from tests.workflows.test_send_payout import REVIEW, STATE, WAITS, comes_to, commands_of, decide, end_of, told
from tests.workflows.test_send_payout_at_bank import CLOSED

K = DecisionKind


async def stop(house: House, how: str) -> None:
    """An act of people that reaches what the house's user still has to be paid."""
    later = (await house.now() + timedelta(days=20)).isoformat()
    order = {"issuer": "公安局", "number": "1", "expires_at": later}
    kind, detail = {
        "suspended": (K.USER_SUSPEND, {"function": "payout"}),
        "frozen": (K.FUNDS_FREEZE, {"review_at": later}),
        "held": (K.AUTHORITY_ORDER_REGISTER, order | {"demands": "hold"}),
    }[how]
    await decide(house, kind, house.books.user_id, **detail)


async def lift(house: House, how: str) -> None:
    later = (await house.now() + timedelta(days=20)).isoformat()
    release = {"issuer": "公安局", "number": "2", "demands": "release", "expires_at": later}
    kind, detail = {
        "suspended": (K.USER_RESUME, {}), "frozen": (K.FUNDS_RELEASE, {}),
        "held": (K.AUTHORITY_ORDER_REGISTER, release),
    }[how]  # fmt: skip
    await decide(house, kind, house.books.user_id, **detail)


STOPS = {"suspended": "freeze", "frozen": "freeze", "held": "authority_order"}


@pytest.mark.parametrize("how", STOPS)
async def test_what_is_placed_during_cooling_off_stops_a_payout_until_it_is_lifted(house: House, how: str) -> None:
    house.checks.judge({"outcome": "delay", "delay_hours": 24})
    payout = await house.accept_payout()
    await house.begin_payout(payout, "cooling_off")
    await stop(house, how)
    await comes_to(house, WAITS, STOPS[how], payout)
    assert house.bank.calls == []
    await lift(house, how)
    assert await end_of(house, payout) == ("succeeded", None)
    assert await house.money() == (0, 0, 200)
    events = await house.events(payout["id"])
    assert (events.count("payout.stopped"), events.count("payout.resumed")) == (1, 1)
    assert events.index("payout.stopped") < events.index("payout.resumed") < events.index("payout.succeeded")


async def test_lifting_a_freeze_does_not_resurrect_what_was_withdrawn_meanwhile(house: House) -> None:
    payout = await house.accept_payout()
    await stop(house, "frozen")
    await house.begin_payout(payout)
    await house.until(WAITS, "freeze", id=payout["id"])
    assert await told(house, payout, await decide(house, K.INSTRUCTION_WITHDRAW, payout["id"]))
    await house.until(STATE, "failed", id=payout["id"])
    await lift(house, "frozen")
    assert await end_of(house, payout) == ("failed", "withdrawn")
    assert await house.money() == (10_200, 0, 10_200)
    assert house.bank.calls == []


async def test_a_bank_that_is_switched_off_over_a_weekend_holds_a_payout_up_and_is_told_once(house: House) -> None:
    payout = await house.accept_payout()
    await decide(house, K.PARTNER_DISABLE, BANK)
    await house.begin_payout(payout)
    await house.until(WAITS, "partner", id=payout["id"])
    before = await commands_of(house, payout)
    await house.env.sleep(timedelta(days=2))
    assert await commands_of(house, payout) - before < 700
    await decide(house, K.PARTNER_ENABLE, BANK)
    assert await house.processes.tell_payout(payout["id"])
    assert await end_of(house, payout) == ("succeeded", None)
    events = await house.events(payout["id"])
    assert (events.count("payout.stopped"), events.count("payout.resumed")) == (1, 1)


async def test_what_a_closed_bank_says_after_all_to_have_paid_waits_for_an_operator_and_is_not_sent_again(
    house: House,
) -> None:
    house.bank.script("pay_out", CLOSED, SUCCEEDED)
    payout = await house.accept_payout()
    await house.begin_payout(payout)
    await house.until(STATE, "scheduled", id=payout["id"])
    item = {
        "now": (await house.now()).isoformat(), "bank_code": BANK, "notice_id": "late",
        "request_number": number_of(payout), "announces": "succeeded",
    }  # fmt: skip
    await house.until("SELECT count(*) FROM app.effect WHERE outcome = 'declined'", 1)
    async with house.books.app.begin() as connection:
        await connection.execute(CALLBACK, {"item": item})
    await comes_to(house, WAITS, "operator", payout)
    await house.env.sleep(timedelta(hours=5))
    assert len(house.bank.asked("pay_out")) == 1
    await decide(house, K.CASE_RESOLVE, await house.books.value("SELECT id FROM app.case_record"))
    assert await house.processes.tell_payout(payout["id"])
    assert await end_of(house, payout) == ("succeeded", None)


async def test_a_payout_that_is_stopped_by_one_thing_after_another_is_told_to_have_stopped_once(house: House) -> None:
    payout, user = await house.accept_payout(), house.books.user_id
    await decide(house, K.PARTNER_DISABLE, BANK)
    await house.begin_payout(payout)
    await house.until(WAITS, "partner", id=payout["id"])
    await decide(house, K.USER_SUSPEND, user, function="payout")
    await decide(house, K.PARTNER_ENABLE, BANK)
    assert await house.processes.tell_payout(payout["id"])
    await house.until(WAITS, "freeze", id=payout["id"])
    await decide(house, K.USER_RESUME, user)
    assert await house.processes.tell_payout(payout["id"])
    await house.until(STATE, "succeeded", id=payout["id"])
    assert (await house.events(payout["id"])).count("payout.stopped") == 1


@pytest.mark.parametrize("first", ["claim", "freeze"])
async def test_a_freeze_that_races_the_send_comes_first_or_second_and_never_in_between(
    house: House, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    real = house.books.instructions.claim_effect

    async def raced(command: Any) -> Any:
        monkeypatch.setattr(house.books.instructions, "claim_effect", real)
        if first == "claim":
            claimed = await real(command)
        await stop(house, "frozen")
        return claimed if first == "claim" else await real(command)

    monkeypatch.setattr(house.books.instructions, "claim_effect", raced)
    payout = await house.accept_payout()
    await house.begin_payout(payout)
    if first == "claim":
        await house.until(STATE, "succeeded", id=payout["id"])
    else:
        await house.until(WAITS, "freeze", id=payout["id"])
        assert house.bank.calls == []
        await lift(house, "frozen")
    assert await end_of(house, payout) == ("succeeded", None)
    assert len(house.bank.asked("pay_out")) == 1
    assert await house.money() == (0, 0, 200)


# Withdrawal


WAITING = {
    "awaiting_confirmation": "confirmation", "unavailable": "screening", "cooling_off": "cooling_off",
    "under_review": "review", "scheduled": "bank_window", "stopped": "partner",
}  # fmt: skip
VERDICTS = {
    "unavailable": {"outcome": "unavailable"}, "cooling_off": {"outcome": "delay", "delay_hours": 24},
    "under_review": REVIEW,
}  # fmt: skip


async def test_a_payout_is_withdrawn_wherever_it_waits_before_the_send(house: House) -> None:
    for count, (stage, wait_reason) in enumerate(WAITING.items(), start=1):
        house.checks.judge(VERDICTS.get(stage, {"outcome": "pass"}))
        now = await house.now()
        house.checks.open_bank(now if stage == "stopped" else now + timedelta(days=9))
        name_match = "differs" if stage == "awaiting_confirmation" else "match"
        payout = await house.accept_payout(payee={"name_match": name_match})
        if stage == "stopped":
            await decide(house, K.PARTNER_DISABLE, BANK)
        await house.begin_payout(payout)
        await house.until(WAITS, wait_reason, id=payout["id"])
        decision = await decide(house, K.INSTRUCTION_WITHDRAW, payout["id"])
        assert await told(house, payout, decision)
        await house.until(STATE, "failed", id=payout["id"])
        assert await end_of(house, payout) == ("failed", "withdrawn"), stage
        assert await house.money() == (10_200 * count, 0, 10_200 * count)
        assert (await house.events(payout["id"]))[-1] == "payout.failed"
    assert house.bank.calls == []


async def test_a_withdrawal_that_nobody_told_of_is_found_by_the_send_claim(house: House) -> None:
    payout = await house.accept_payout()
    await decide(house, K.INSTRUCTION_WITHDRAW, payout["id"])
    assert (await house.pay_out(payout)).reason == "withdrawn"
    assert house.bank.calls == []


async def test_what_was_sent_cannot_be_withdrawn_any_more(house: House) -> None:
    house.bank.script("pay_out", UNKNOWN)
    house.bank.script("query", PROCESSING)
    payout = await house.accept_payout()
    await house.begin_payout(payout, "sending")
    await house.bank.was_asked("query")
    with pytest.raises(ValueError, match="cannot take place"):
        await decide(house, K.INSTRUCTION_WITHDRAW, payout["id"])
    house.bank.script("query", SUCCEEDED)
    assert await end_of(house, payout) == ("succeeded", None)


async def test_a_decision_about_another_payout_moves_nothing(house: House) -> None:
    house.checks.open_bank(await house.now() + timedelta(days=1))
    payout, other = await house.accept_payout(), await house.accept_payout()
    decision = await decide(house, K.INSTRUCTION_WITHDRAW, other["id"])
    await house.begin_payout(payout, "scheduled")
    assert await told(house, payout, decision)
    assert await end_of(house, payout) == ("succeeded", None)
