"""What a desk's answers are worth: what it never got goes out anew, and what is about something else is not believed.

What it says was above the quota is taken back without being announced (A5.1b, A5.2c, P2.1.3-1c).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio import workflow
from temporalio.worker import _workflow_instance as instances

from domain.decisions import DecisionKind
from domain.fx_banking import FxAnswer
from storage.fx import call
from tests.calendars.planned import shanghai
from tests.conftest import Database
from tests.storage.fx_books import DESK, RULES
from tests.workflows.fx_house import MORNING, STATE, WAITS, FxHouse, begins, open_fx_house
from tests.workflows.test_settle_fx_at_desk import assert_dealt_once
from tests.workflows.test_settle_fx_quota import others_money, pay_out
from workflows.names import Process
from workflows.starting_fx import fx_order


@pytest.fixture
async def house(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[FxHouse]:
    async with open_fx_house(database, getattr(request, "param", MORNING)) as opened:
        yield opened


# What never arrived


async def test_what_never_reached_the_desk_goes_out_once_it_cannot_arrive_any_more_under_the_next_number(
    house: FxHouse,
) -> None:
    house.desk.weather.extend(["lost", "lost"])
    fx = await house.funded()
    assert (await house.settle(fx)).state == "settled"
    # Each was sent once; at the rate of the moment at which it is sent, and not of one that is over (A5.1b).
    assert house.desk.numbers == [house.number(fx, 2)]
    assert house.desk.requests[0].quote_id == house.desk.quotes[2].quote_id
    words = await house.books.value(
        "SELECT array_agg(coalesce(reason, outcome) ORDER BY request_number) FROM app.effect"
    )
    assert words == ["never_arrived", "never_arrived", "succeeded"]
    claims = await house.books.value("SELECT array_agg(claimed_at ORDER BY claimed_at) FROM app.effect")
    valid = timedelta(seconds=house.desk.capabilities.request_validity_seconds)
    assert all(later - earlier > valid for earlier, later in pairwise(claims))
    sent = "SELECT count(*) FROM app.operation WHERE action = 'send_fx' AND subject_id = :id"
    assert await house.books.value(sent, id=fx["id"]) == 3
    await assert_dealt_once(house, fx, attempt=2)


async def test_a_desks_not_found_that_is_heard_late_does_not_say_that_nothing_arrived_since(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The desk is asked at once, and the worker takes its answer up minutes later: the deal has arrived meanwhile."""
    desk, late = house.desk, [timedelta(0)]
    activate, query, taken = instances._WorkflowInstanceImpl.activate, desk.fx_query, desk.deal
    sent: list[Any] = []

    def activated_late(instance: Any, activation: Any) -> Any:
        activation.timestamp.FromMicroseconds(
            activation.timestamp.ToMicroseconds() + late[0] // timedelta(microseconds=1)
        )
        return activate(instance, activation)

    async def deal(request: Any) -> FxAnswer:
        sent.append(request)
        return await taken(request)

    async def fx_query(number: str) -> FxAnswer:
        answer = await query(number)
        if not late[0]:
            await desk.deal_late(sent[0])
            late[0] = timedelta(minutes=5)
        return answer

    monkeypatch.setattr(instances._WorkflowInstanceImpl, "activate", activated_late)
    monkeypatch.setattr(desk, "deal", deal)
    monkeypatch.setattr(desk, "fx_query", fx_query)
    desk.weather.append("lost")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, "settled", fx)
    await assert_dealt_once(house, fx)


async def never_got(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch, *, announced: bool = False, elsewhere: bool = False
) -> dict[str, Any]:
    """The desk is slower than it says: by the time that the next number is to go out, it has dealt the first.

    `announced`: it has said so besides, and people have found that unfounded. `elsewhere`: it was switched off by then.
    """
    desk, sent = house.desk, []
    query, taken = desk.fx_query, desk.deal

    async def deal(request: Any) -> FxAnswer:
        sent.append(request)
        return await taken(request)

    async def fx_query(number: str) -> FxAnswer:
        given_up = "SELECT count(*) FROM app.effect WHERE request_number = :n AND reason = 'never_arrived'"
        if await house.books.value(given_up, n=number) and not desk.numbers:
            await desk.deal_late(sent[0])
            if announced:
                said = {"bank_code": desk.code, "notice_id": "N1", "request_number": number, "announces": "succeeded"}
                await call(house.books.app, "app.record_callback", said | {"now": (await house.now()).isoformat()})
                await find_unfounded(house)
        return await query(number)

    monkeypatch.setattr(desk, "deal", deal)
    monkeypatch.setattr(desk, "fx_query", fx_query)
    desk.weather.append("lost")
    fx = await house.funded()
    await house.begin(fx, "sending")
    if elsewhere:
        await house.switch(DESK, on=False)
    return fx


async def find_unfounded(house: FxHouse) -> None:
    case_id = await house.books.value("SELECT id FROM app.case_record")
    await house.decide(DecisionKind.CASE_RESOLVE, case_id, resolution="unfounded")


@pytest.mark.long
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_after_a_number_that_its_desk_has_after_all_no_other_goes_out(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    desk, fx = house.desk, await never_got(house, monkeypatch, elsewhere=elsewhere)
    await house.come_to(WAITS, "operator", fx)
    assert await house.books.value("SELECT array_agg(kind) FROM app.case_record") == ["operator_needed"]
    # Even if people find that nothing was dealt: as long as the desk says that it was, nothing more goes out.
    await find_unfounded(house)
    await house.env.sleep(timedelta(hours=5))
    assert (desk.numbers, house.other.numbers) == ([house.number(fx)], [])
    assert await house.books.value("SELECT count(*) FROM app.effect") == 1


async def test_what_people_found_of_a_desks_word_sends_no_second_number_while_the_desk_says_so_still(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    fx = await never_got(house, monkeypatch, announced=True)
    await house.env.sleep(timedelta(hours=5))
    assert house.desk.numbers == [house.number(fx)]
    assert await house.books.value("SELECT count(*) FROM app.effect") == 1
    assert await house.books.value(STATE, id=fx["id"]) == "waiting"


@begins("2026-11-27 16:29:30")
async def test_what_never_arrived_before_the_closing_is_planned_anew_for_the_next_window(house: FxHouse) -> None:
    house.desk.weather.append("lost")
    fx = await house.funded()
    assert (await house.settle(fx)).state == "settled"
    assert await house.dealt_at(fx) >= shanghai("2026-11-30 09:30:00")
    await assert_dealt_once(house, fx, attempt=1)


@pytest.mark.long
async def test_a_number_that_the_desk_was_at_and_then_does_not_know_is_for_people(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It remembers numbers for a week: that it finds nothing an hour later says nothing of whether it has dealt."""
    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 60
    )
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(WAITS, "bank_processing", fx)
    await house.env.sleep(timedelta(minutes=30))
    house.desk.forget(house.number(fx))
    await house.come_to(WAITS, "operator", fx)
    await house.env.sleep(timedelta(hours=1))
    assert len(house.desk.requests) == 1
    assert await house.conclude("fx", fx["id"])
    assert (await house.end(fx)).state == "refused"


async def test_that_a_desk_was_at_it_outlives_the_process_to_which_it_first_said_so_late(house: FxHouse) -> None:
    house.desk.weather.append("lost_then_silent")
    # Time may not be skipped any more after it is ended.
    house.desk.capabilities = house.desk.capabilities.model_copy(update={"request_validity_seconds": 1})
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, "unknown", fx)
    deadline = (await house.found(fx))["waiting_for"]["deadline"]
    house.desk.arrive_late(house.number(fx))
    house.desk.silent = False
    await house.come_to(WAITS, "bank_processing", fx)
    assert (await house.found(fx))["waiting_for"]["deadline"] == deadline
    await house.lose(Process.SETTLE_FX, fx["id"])
    house.desk.forget(house.number(fx))
    assert await house.revive() == 1
    await house.until(WAITS, "operator", id=fx["id"])
    assert house.desk.numbers == []
    assert await house.books.value("SELECT count(*) FROM app.effect") == 1


async def test_that_a_desk_is_at_it_is_in_the_books_as_soon_as_it_says_so(house: FxHouse) -> None:
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx, "sending")
    await house.until(WAITS, "bank_processing", id=fx["id"])
    assert await house.books.value(STATE, id=fx["id"]) == "sending"


@pytest.mark.parametrize(
    ("state", "reason", "for_people"),
    [
        ("sending", "bank_answer", False), ("sending", "bank_processing", True), ("unknown", "bank_answer", False),
        ("unknown", "bank_processing", True), ("unknown", "operator", True),
    ],
)  # fmt: skip
async def test_what_waits_for_people_still_does_when_its_process_was_lost_and_is_revived(
    house: FxHouse, state: str, reason: str, for_people: bool
) -> None:
    """A revived process remembers nothing of what the desk has said before: the books do."""
    fx = await house.funded()
    await house.books.run("ALTER TABLE app.fx DISABLE TRIGGER legal_step")
    change = "UPDATE app.fx SET state = :state, wait_reason = :reason WHERE id = :id"
    await house.books.run(change, state=state, reason=reason, id=fx["id"])
    view = json.loads(await house.books.value("SELECT app.fx_view(f)::text FROM app.fx f WHERE id = :id", id=fx["id"]))
    assert fx_order(view, house.books.merchant_id).is_known_to_desk is for_people


@pytest.mark.parametrize(
    "changes",
    [
        {"foreign_minor": 99_999}, {"booked_at": datetime(2027, 1, 1, tzinfo=UTC)},
        *(pytest.param(change, marks=pytest.mark.long) for change in (
            {"foreign_currency": "HKD"}, {"rate_e8": 712_350_000}, {"cny_minor": 712_341}, {"kind": "reversal"},
            {"booked_at": datetime(2026, 11, 23, 0, 59, tzinfo=UTC)},
        )),
    ],
    ids="|".join,
)  # fmt: skip
async def test_an_answer_about_something_else_than_was_sent_is_not_believed_and_shown_to_people(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    real = house.desk._known

    async def of_something_else(number: str) -> FxAnswer:
        return (await real(number)).model_copy(update=changes)

    monkeypatch.setattr(house.desk, "_known", of_something_else)
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(WAITS, "operator", fx)
    assert await house.money() == (0, 100_000)
    assert await house.held() == 100_000
    monkeypatch.setattr(house.desk, "_known", real)
    assert (await house.end(fx)).state == "settled"
    await assert_dealt_once(house, fx)


async def test_a_split_of_which_its_process_knows_another_amount_is_asked_about_by_the_books(house: FxHouse) -> None:
    house.desk.weather.append("dealt_then_silent")
    fx = await house.funded(6_000_000)
    await house.begin(fx)
    await house.come_to(STATE, "unknown", fx)
    await house.lose(Process.SETTLE_FX, fx["id"])
    house.desk.silent = False
    found = await house.found(fx) | {"amount_minor": 6_000_000}
    order = fx_order(found, house.books.merchant_id)
    assert await house.processes.revive(Process.SETTLE_FX, fx["id"], order)
    await house.until(STATE, "settled", id=fx["id"])


async def test_how_long_desk_and_delivery_may_take_is_what_the_rules_say(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = RULES.model_copy(update={"answer_hours": 2, "delivery_hours": 30})
    monkeypatch.setattr("tests.workflows.fx_house.RULES", rules)
    within = (
        "SELECT round(extract(epoch FROM (body->'waiting_for'->>'deadline')::timestamptz - at) / 600)"
        " FROM app.event WHERE object_id = :id AND type = :type"
    )
    async with open_fx_house(database, MORNING) as house:
        house.desk.weather.append("processing")
        house.desk.delivers_after = None
        fx = await house.funded()
        await house.begin(fx)
        await house.come_to(STATE, "unknown", fx)
        assert await house.books.value(within, id=fx["id"], type="fx.unknown") == 2 * 6
        await house.desk.decide(house.number(fx))
        await house.come_to(STATE, "converted", fx)
        assert await house.books.value(within, id=fx["id"], type="fx.converted") == 30 * 6
        house.desk.delivers_after = timedelta(0)
        assert (await house.end(fx)).state == "settled"


# Above the quota


REVERSAL = "SELECT state FROM app.fx WHERE reversal_of = :id"


@pytest.mark.parametrize("delivered_after", [timedelta(0), timedelta(hours=5)])
async def test_an_excess_in_the_answer_is_taken_back_although_nobody_announces_it(
    house: FxHouse, delivered_after: timedelta
) -> None:
    fx = await house.funded()
    house.desk.delivers_after = delivered_after
    house.desk.found_excess[house.number(fx)] = 40_000
    assert (await house.settle(fx)).state == "settled"
    await house.come_to(REVERSAL, "settled", fx)
    assert (await house.found(fx))["reversed_minor"] == 40_000


async def test_a_reversal_for_which_its_bank_has_too_little_of_ours_waits_for_people_and_goes_on_by_itself(
    house: FxHouse,
) -> None:
    fx = await house.dealt()
    await pay_out(house, 700_000)
    house.desk.found_excess[house.number(fx)] = 40_000
    assert await house.processes.learn_excess(fx["id"])
    await house.until("SELECT wait_reason FROM app.fx WHERE reversal_of = :id", "operator", id=fx["id"])
    reversal = {"id": await house.books.value("SELECT id FROM app.fx WHERE reversal_of = :id", id=fx["id"])}
    await house.env.sleep(timedelta(hours=2))
    assert len(house.desk.requests) == 1
    assert (await house.events(reversal["id"])).count("fx.stopped") == 1
    await others_money(house)
    assert (await house.end(reversal)).state == "settled"


@pytest.mark.long
async def test_an_excess_that_is_announced_while_its_deal_is_unknown_is_asked_about_once_it_is_booked(
    house: FxHouse,
) -> None:
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, "unknown", fx)
    assert await house.processes.learn_excess(fx["id"])
    await house.env.sleep(timedelta(hours=3))
    house.desk.delivers_after = timedelta(hours=5)
    await house.desk.decide(house.number(fx))
    await house.come_to(STATE, "converted", fx)
    await house.env.sleep(timedelta(hours=2))
    house.desk.found_excess[house.number(fx)] = 40_000
    await house.come_to(REVERSAL, "settled", fx)
    assert (await house.end_of(Process.LEARN_EXCESS, fx["id"])).state in ("reversing", "nothing_new")
    assert await house.books.value("SELECT count(*) FROM app.fx WHERE reversal_of = :id", id=fx["id"]) == 1
