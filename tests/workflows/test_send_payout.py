"""A payout before its bank: every wait and every way it goes on or ends there, over the real books."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain.decisions import DecisionKind
from domain.errors import EffectRefusedError
from storage.decisions import decide_directly
from sweeper import OLDER_THAN, Sweeper
from tests.storage.books import BANK, ELEMENTS
from tests.workflows.conftest import BINDING_LIFE, House
from tests.workflows.payouts import number_of
from workflows import names
from workflows.names import Process

K = DecisionKind
Payout = dict[str, Any]
WAITS = "SELECT wait_reason FROM app.payout WHERE id = :id"
STATE = "SELECT state FROM app.payout WHERE id = :id"
REVIEW = {"outcome": "review", "hits": [{"rule": "new_payee", "outcome": "review"}]}


async def decide(house: House, kind: DecisionKind, subject_id: str, **detail: Any) -> str:
    """Committed; nobody is told."""
    return await decide_directly(house.books.owner, kind, subject_id, await house.now(), detail=detail)


async def told(house: House, payout: Payout, decision_id: str) -> bool:
    return await house.processes.tell_decision(await house.view("payout", payout["id"]), decision_id)


async def comes_to(house: House, statement: str, wanted: str, payout: Payout) -> None:
    """Skips time until the books say so."""
    async with house.env.time_skipping_unlocked():  # type: ignore[attr-defined]
        await house.until(statement, wanted, id=payout["id"])


async def end_of(house: House, payout: Payout) -> tuple[str, str | None]:
    ended = await house.end_of(Process.SEND_PAYOUT, payout["id"])
    return ended.state, ended.reason


async def commands_of(house: House, payout: Payout) -> int:
    history = await house.handle(Process.SEND_PAYOUT, payout["id"]).fetch_history()
    return len(history.events)


# Straight through


async def test_a_payout_that_passes_is_paid_once_and_posted(house: House) -> None:
    payout = await house.accept_payout()
    assert await house.money() == (10_200, 10_200, 10_200)
    result = await house.pay_out(payout)
    assert (result.state, result.reason) == ("succeeded", None)
    found = await house.view("payout", payout["id"])
    assert (found["state"], found["bank_reference"], found["waiting_for"]) == ("succeeded", "BANKREF1", None)
    [sent] = house.bank.asked("pay_out")
    assert (sent.request_number, sent.amount_minor, sent.region) == (number_of(payout), 10_000, "CN")
    assert (sent.payee_name, sent.account_number) == (ELEMENTS["name"], "6217001234567891234")
    assert await house.money() == (0, 0, 200)
    assert await house.events(payout["id"]) == ["payout.accepted", "payout.scheduled", "payout.succeeded"]
    disclosed = await house.books.value(
        "SELECT json_build_array(recipient, fields, cross_border) FROM vault.disclosure"
    )
    assert disclosed == [BANK, ["account_number", "name"], False]


async def test_a_payout_beyond_the_mainland_is_disclosed_as_crossing_the_border(house: House) -> None:
    await house.books.run(
        "INSERT INTO app.consent (user_id, merchant_id, kind, version, channel, acted_at)"
        " VALUES (:u, :m, 'data_export', '1.0', 'app', '2026-11-22Z')",
        u=house.books.user_id, m=house.books.merchant_id,
    )  # fmt: skip
    abroad = {"region": "HK", "bank_id_kind": "hk_clearing", "bank_id": "004"}
    payout = await house.accept_payout(payee=abroad)
    assert (await house.pay_out(payout)).state == "succeeded"
    assert await house.books.value("SELECT cross_border FROM vault.disclosure")
    assert house.bank.asked("pay_out")[0].region == "HK"


# Confirmation


async def awaiting_confirmation(house: House) -> Payout:
    payout = await house.accept_payout(payee={"name_match": "differs"})
    await house.begin_payout(payout)
    await house.until("SELECT process_started_at IS NOT NULL FROM app.payout WHERE id = :id", True, id=payout["id"])
    return payout


async def test_a_payout_that_nobody_confirms_in_time_is_closed_and_its_money_is_free(house: House) -> None:
    payout = await awaiting_confirmation(house)
    assert await end_of(house, payout) == ("closed", "confirmation_expired")
    assert (await house.view("payout", payout["id"]))["reason"] == "confirmation_expired"
    assert await house.ended_after("payout", payout["id"]) >= timedelta(minutes=15)
    assert await house.money() == (10_200, 0, 10_200)
    assert house.bank.calls == []


async def test_a_payout_that_is_confirmed_goes_on_when_it_is_told_or_swept(house: House) -> None:
    payout = await awaiting_confirmation(house)
    await house.processes.tell_payout(payout["id"])  # of nothing
    await house.has_looked(names.Process.SEND_PAYOUT, payout["id"])
    now = await house.now()
    await house.books.instructions.confirm_payout(house.books.confirmation(payout["id"], now))
    later = now + OLDER_THAN + timedelta(seconds=1)
    assert await Sweeper(house.books.app, house.processes, lambda: later, BINDING_LIFE).sweep() == 1
    assert await end_of(house, payout) == ("succeeded", None)


async def test_a_confirmation_in_the_very_moment_of_its_deadline_is_not_lost(house: House) -> None:
    payout = await awaiting_confirmation(house)
    await house.books.instructions.confirm_payout(house.books.confirmation(payout["id"], await house.now()))
    # Nobody is told: the process finds out when it would close the payout.
    assert await end_of(house, payout) == ("succeeded", None)


# Rules and lists


async def test_a_refused_payout_ends_with_the_general_reason_only(house: House) -> None:
    house.checks.judge({"outcome": "refuse"})
    payout = await house.accept_payout()
    assert (await house.pay_out(payout)).reason == "risk_refused"
    assert (await house.view("payout", payout["id"]))["state"] == "refused"
    assert await house.money() == (10_200, 0, 10_200)
    assert house.bank.calls == []


async def test_lists_that_cannot_be_asked_stop_a_payout_until_they_can(house: House) -> None:
    house.checks.judge(*[{"outcome": "unavailable"}] * 12, {"outcome": "pass"})
    payout = await house.accept_payout()
    await house.begin_payout(payout)
    await house.until(WAITS, "screening", id=payout["id"])
    assert house.bank.calls == []
    assert await end_of(house, payout) == ("succeeded", None)
    waited = [b.now - a.now for a, b in zip(house.checks.assessed, house.checks.assessed[1:], strict=False)]
    assert timedelta(minutes=1) <= waited[0] < timedelta(minutes=2)
    assert timedelta(hours=1) <= waited[-1] < timedelta(hours=1, minutes=2)


async def test_a_delayed_payout_cools_off_for_its_time_and_costs_nothing_meanwhile(house: House) -> None:
    house.checks.judge({"outcome": "delay", "delay_hours": 24})
    payout = await house.accept_payout()
    await house.begin_payout(payout, "cooling_off")
    asleep = await commands_of(house, payout)
    assert await end_of(house, payout) == ("succeeded", None)
    assert await house.ended_after("payout", payout["id"]) >= timedelta(hours=24)
    # Its timer, its plan, its release and its end: nothing that would grow with the time slept.
    assert await commands_of(house, payout) - asleep < 40
    assert "payout.delayed" in await house.events(payout["id"])


async def test_lists_that_changed_before_the_send_are_applied_again(house: House, monkeypatch: Any) -> None:
    real, refused = house.books.instructions.claim_effect, []

    async def outdated_once(command: Any) -> Any:
        if not refused:
            refused.append(command)
            await house.books.run("SELECT nextval('app.screening_version')")
            raise EffectRefusedError("screening_outdated", "scheduled", sent_before=False)
        return await real(command)

    monkeypatch.setattr(house.books.instructions, "claim_effect", outdated_once)
    payout = await house.accept_payout()
    assert (await house.pay_out(payout)).state == "succeeded"
    assert [request.again for request in house.checks.assessed] == [False, True]
    assert len(house.bank.asked("pay_out")) == 1


# Review


async def under_review(house: House) -> Payout:
    house.checks.judge(REVIEW)
    payout = await house.accept_payout()
    await house.begin_payout(payout, "under_review")
    return payout


async def review_of(house: House, payout: Payout) -> str:
    return str(await house.books.value("SELECT review_id FROM app.payout WHERE id = :id", id=payout["id"]))


async def test_a_review_that_nobody_decides_is_escalated_and_then_refused(house: House) -> None:
    payout = await under_review(house)
    review_id = await review_of(house, payout)
    assert await end_of(house, payout) == ("refused", "review_expired")
    found = await house.books.value(
        "SELECT json_build_array(state, escalations, ended_at >= expires_at) FROM app.review WHERE id = :id",
        id=review_id,
    )
    assert found == ["expired", 1, True]
    assert await house.money() == (10_200, 0, 10_200)
    # All of its life, with two timers and what was asked when they were over.
    assert await commands_of(house, payout) < 80


@pytest.mark.parametrize("tell", ["told", "not_told"])
async def test_an_approved_payout_goes_on_also_if_its_process_was_never_told(house: House, tell: str) -> None:
    payout = await under_review(house)
    await decide(house, K.REVIEW_APPROVE, await review_of(house, payout))
    if tell == "told":
        assert await house.processes.tell_payout(payout["id"])
        await house.until(STATE, "succeeded", id=payout["id"])
    assert await end_of(house, payout) == ("succeeded", None)


async def test_a_rejected_payout_is_over_when_its_process_looks(house: House) -> None:
    payout = await under_review(house)
    await decide(house, K.REVIEW_REJECT, await review_of(house, payout))
    assert await house.processes.tell_payout(payout["id"])
    assert await end_of(house, payout) == ("refused", "review_rejected")
    assert house.bank.calls == []


# Slots


async def test_a_payout_sleeps_over_a_holiday_week_and_leaves_in_its_slot(house: House) -> None:
    opens = await house.now() + timedelta(days=9)
    house.checks.open_bank(opens)
    payout = await house.accept_payout()
    await house.begin_payout(payout, "scheduled")
    asleep = await commands_of(house, payout)
    assert (await house.view("payout", payout["id"]))["waiting_for"]["reason"] == "bank_window"
    assert await end_of(house, payout) == ("succeeded", None)
    claimed = await house.books.value("SELECT claimed_at FROM app.payout")
    assert opens <= claimed < opens + timedelta(minutes=1)
    assert await commands_of(house, payout) - asleep < 25


async def test_a_changed_plan_is_read_by_whoever_is_told_of_it(house: House) -> None:
    now = await house.now()
    house.checks.open_bank(now + timedelta(days=9), now + timedelta(hours=2))
    payout = await house.accept_payout()
    await house.begin_payout(payout, "scheduled")
    # What replanning leaves behind: another version, and the payout is told.
    await house.books.run("UPDATE app.payout SET plan_version = -1")
    assert await house.processes.tell_payout(payout["id"])
    await house.until("SELECT slot_at < :soon FROM app.payout", True, soon=now + timedelta(days=1))
    assert await end_of(house, payout) == ("succeeded", None)
    claimed = await house.books.value("SELECT claimed_at FROM app.payout")
    assert now + timedelta(hours=2) <= claimed < now + timedelta(days=1)
    assert (await house.events(payout["id"])).count("payout.rescheduled") == 1
