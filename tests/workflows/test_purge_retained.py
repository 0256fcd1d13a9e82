"""The daily purge as a process, over the years of a time-skipping server and real stores."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from activities.purging import PurgingRetained
from domain.business_time import SHANGHAI, business_date
from domain.retention import PurgeReport, RetainedKind
from runtime.schedules import keep_schedule
from runtime.start_guard import GuardedRunner
from tests.conftest import Database
from tests.storage.closing import binding
from tests.vault.retained import RULES, Retained, open_retained
from tests.workflows.conftest import TEST_SERVER
from vault.purging import KEYS_A_PAGE, PagePurged
from worker import PASSED_THROUGH, purge_schedule, purging_retained
from workflows import names, purge_retained
from workflows.messages import PurgedRetained
from workflows.purge_retained import PurgeRetained

P = names.Process
TEMPORAL = Path(sys.executable).parent / "temporal"


@asynccontextmanager
async def working(client: Client, activities: list[object]) -> AsyncIterator[None]:
    """A worker of this process alone."""
    runner = GuardedRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))
    async with Worker(
        client, task_queue=names.TASK_QUEUE, workflows=[PurgeRetained], activities=activities, workflow_runner=runner
    ):  # type: ignore[arg-type]
        yield


@pytest.fixture
async def retained(database: Database) -> AsyncIterator[Retained]:
    async with open_retained(database) as opened:
        yield opened


@pytest.fixture
async def env(retained: Retained) -> AsyncIterator[WorkflowEnvironment]:
    async with (
        await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=str(TEST_SERVER), data_converter=pydantic_data_converter
        ) as started,
        working(started.client, list(purging_retained(retained.purge, RULES))),
    ):
        yield started


async def at(env: WorkflowEnvironment, day: date) -> None:
    """Sleeps until twenty to four in the morning of a day, when the purge runs."""
    wanted = datetime.combine(day, time(3, 40), SHANGHAI)
    await env.sleep(max(wanted - await env.get_current_time(), timedelta(0)))


async def purge(env: WorkflowEnvironment, day: date) -> PurgedRetained:
    return await env.client.execute_workflow(
        PurgeRetained.run, id=names.workflow_id(P.PURGE_RETAINED, day.isoformat()), task_queue=names.TASK_QUEUE
    )


async def test_over_the_years_each_goes_on_its_day_and_what_is_held_when_it_is_lifted(
    env: WorkflowEnvironment, retained: Retained
) -> None:
    year = business_date(await env.get_current_time()).year
    booked = await retained.kept(RetainedKind.TRANSACTION, date(year, 12, 31))
    identity = await retained.kept(RetainedKind.IDENTITY, date(year + 1, 1, 1))
    held = await retained.kept(RetainedKind.TRANSACTION, date(year, 12, 31), user_id="usr_held")
    await hold(retained, "usr_held")
    eve, due, later = date(year + 10, 12, 31), date(year + 11, 1, 1), date(year + 12, 1, 1)
    await at(env, eve)
    assert await purge(env, eve) == PurgedRetained(run_on=eve)
    await at(env, due)
    assert await purge(env, due) == PurgedRetained(run_on=due, purged=1, held=1)
    assert [await retained.is_there(record_id) for record_id in (booked, identity, held)] == [False, True, True]
    await lift(retained, "usr_held")
    await at(env, later)
    assert await purge(env, later) == PurgedRetained(run_on=later, purged=2)
    # Once more it finds nothing, and says what the day came to.
    assert await purge(env, later) == PurgedRetained(run_on=later, purged=2)
    reports = await retained.books.value("SELECT array_agg(purged ORDER BY at) FROM retention.purge_report")
    assert reports == [0, 1, 2, 2]


async def test_what_no_purpose_needs_any_longer_goes_with_it_while_the_user_stays(
    env: WorkflowEnvironment, retained: Retained
) -> None:
    declined = await binding(retained.books)
    for state in ("applying", "declined"):
        await retained.books.run("UPDATE app.binding SET state = :s WHERE id = :b", s=state, b=declined["id"])
    day = business_date(await env.get_current_time()) + timedelta(days=40)
    await at(env, day)
    assert await purge(env, day) == PurgedRetained(run_on=day, erased=4)
    assert await retained.books.value("SELECT element_tokens = '{}' FROM app.binding WHERE id = :b", b=declined["id"])


async def hold(retained: Retained, user_id: str) -> None:
    """By what decisions do when they are carried out; this user is in no books."""
    placed = "SELECT retention.place_hold(:hold, :user, 'proceedings', NULL, :decision, now())"
    decision_id = await a_decision(retained)
    await retained.books.run(placed, hold=retained.books.new_id("rth"), user=user_id, decision=decision_id)


async def lift(retained: Retained, user_id: str) -> None:
    lifted = "SELECT retention.lift_holds(:user, :decision, now())"
    await retained.books.run(lifted, user=user_id, decision=await a_decision(retained))


async def a_decision(retained: Retained) -> str:
    """Of two people, about anything."""
    order_id = await retained.order()
    found = "SELECT decision_id FROM app.authority_order WHERE id = :id"
    return str(await retained.books.value(found, id=order_id))


async def test_what_is_more_than_a_page_goes_page_by_page_also_in_a_fresh_history(
    env: WorkflowEnvironment, retained: Retained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_retained, "PAGES_A_HISTORY", 1)
    year = business_date(await env.get_current_time()).year
    for _ in range(KEYS_A_PAGE + 3):
        await retained.kept(RetainedKind.TRANSACTION, date(year - 11, 5, 5))
    today = business_date(await env.get_current_time())
    assert await purge(env, today) == PurgedRetained(run_on=today, purged=KEYS_A_PAGE + 3)
    assert len(await retained.erasures.after(0)) == 2


async def test_a_run_without_a_date_or_for_a_day_that_has_not_come_ends_at_once(
    env: WorkflowEnvironment, retained: Retained
) -> None:
    record_id = await retained.kept(RetainedKind.TRANSACTION, date(2026, 5, 5))
    # The server's clock may leap ten years when nothing is left to wait for.
    for name in ("today", "2226-01-01"):
        with pytest.raises(WorkflowFailureError):
            await env.client.execute_workflow(
                PurgeRetained.run, id=f"purge-retained/{name}", task_queue=names.TASK_QUEUE
            )
    assert await retained.is_there(record_id)
    assert await retained.books.value("SELECT count(*) FROM retention.purge_report") == 0


class OnePageDue:
    """A store in which there is one page to purge."""

    def __init__(self) -> None:
        self._left = [PagePurged(2, 1)]

    async def page(self, on: date, rules: object, at: datetime) -> PagePurged:
        return self._left.pop() if self._left else PagePurged(0, 0)

    async def report(self, on: date, rules: object, at: datetime) -> PurgeReport:
        return PurgeReport(run_on=on, purged=2, held=0, unfinished=0)


async def test_the_schedule_starts_it_every_night_and_it_knows_its_date_also_in_a_fresh_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(purge_retained, "PAGES_A_HISTORY", 1)
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(TEMPORAL), data_converter=pydantic_data_converter
    ) as env:
        assert await keep_schedule(env.client, purge_schedule(RULES))
        handle = env.client.get_schedule_handle(P.PURGE_RETAINED.value)
        next_run = (await handle.describe()).info.next_action_times[0]
        # 03:40 in Shanghai.
        assert (next_run.hour, next_run.minute) == (19, 40)
        purging = PurgingRetained(OnePageDue(), RULES)
        async with working(env.client, [purging.purge_page, purging.report_purge]):
            await handle.trigger()
            for _ in range(100):
                if started := (await handle.describe()).info.recent_actions:
                    break
                await asyncio.sleep(0.1)
            run = env.client.get_workflow_handle(started[0].action.workflow_id, result_type=PurgedRetained)
            assert await run.result() == PurgedRetained(run_on=business_date(started[0].scheduled_at), purged=2)
