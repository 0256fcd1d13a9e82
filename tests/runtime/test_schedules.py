"""The schedule that settles merchants, on a real server: kept as configured, and what it starts knows its date."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from temporalio import activity
from temporalio.client import ScheduleOverlapPolicy
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from activities import names as activity_names
from activities.interfaces import PaidPage, PayPage, SettlementDay, SettlementDayRequest
from domain.business_time import business_date
from domain.settlements import SettlementRules
from runtime.schedules import keep_schedule
from runtime.start_guard import GuardedRunner
from tests.storage.assessed import POLICY
from worker import PASSED_THROUGH, merchants_schedule
from workflows import names
from workflows.messages import SettledMerchants
from workflows.settle_merchants import SettleMerchants

TEMPORAL = Path(sys.executable).parent / "temporal"
RULES: SettlementRules = POLICY.settlements


@activity.defn(name=activity_names.SETTLEMENT_DAY)
async def no_working_day(request: SettlementDayRequest) -> SettlementDay:
    return SettlementDay()


@activity.defn(name=activity_names.PAY_SETTLEMENTS)
async def nothing_to_pay(page: PayPage) -> PaidPage:
    return PaidPage(is_last=True)


async def test_the_schedule_is_kept_as_configured_and_starts_a_run_that_knows_its_date() -> None:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(TEMPORAL), data_converter=pydantic_data_converter
    ) as env:
        client = env.client
        assert await keep_schedule(client, merchants_schedule(RULES))
        handle = client.get_schedule_handle(names.Process.SETTLE_MERCHANTS.value)
        await handle.pause(note="the bank is being changed")
        # Another start of the worker, with another time in the file; what people paused stays paused.
        assert await keep_schedule(client, merchants_schedule(RULES.model_copy(update={"run_at": "03:30"})))
        kept = await handle.describe()
        assert (kept.schedule.state.paused, kept.schedule.state.note) == (True, "the bank is being changed")
        assert kept.schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
        assert kept.schedule.policy.catchup_window == timedelta(days=7)
        next_run = kept.info.next_action_times[0]
        # 03:30 in Shanghai.
        assert (next_run.hour, next_run.minute) == (19, 30)
        async with Worker(
            client, task_queue=names.TASK_QUEUE, workflows=[SettleMerchants],
            activities=[no_working_day, nothing_to_pay],
            workflow_runner=GuardedRunner(
                restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
            ),
        ):  # fmt: skip
            await handle.trigger()
            for _ in range(100):
                if started := (await handle.describe()).info.recent_actions:
                    break
                await asyncio.sleep(0.1)
            run = client.get_workflow_handle(started[0].action.workflow_id, result_type=SettledMerchants)
            assert await run.result() == SettledMerchants(business_date=business_date(started[0].scheduled_at))


async def test_a_server_without_schedules_is_no_reason_not_to_start() -> None:
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(TEMPORAL.with_name("temporal-test-server"))
    ) as env:
        assert not await keep_schedule(env.client, merchants_schedule(RULES))
